"""Photograph MLflow's own pages of a study: python docs/screenshots.py TAG RUNS.png COMPARISON.png.

TAG is what `make study` says at its end: `study@1a2b3c4`. Needs chromium and chromedriver.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import mlflow
import requests
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

STORE = "sqlite:///mlflow.db"
PORT = 5099
PAGE = f"http://127.0.0.1:{PORT}"
DRAWING_SECONDS = 8
AXES = ("image_size", "epochs", "lr"), ("test.accuracy",)  # parameters, metrics


def wait_for(server: subprocess.Popen) -> None:
    """Until MLflow answers; SystemExit if it ends instead."""
    while server.poll() is None:
        with contextlib.suppress(requests.RequestException):
            requests.get(f"{PAGE}/health", timeout=5).raise_for_status()
            return
        time.sleep(1)
    sys.exit(f"mlflow ui ended with status {server.returncode}; is port {PORT} taken?")


def photograph(browser: webdriver.Chrome, picture: Path) -> None:
    """Save what the page shows once it is drawn."""
    time.sleep(DRAWING_SECONDS)
    browser.save_screenshot(str(picture))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag")
    parser.add_argument("runs", type=Path)
    parser.add_argument("comparison", type=Path)
    words = parser.parse_args()
    mlflow.set_tracking_uri(STORE)
    chosen = f"tags.study = '{words.tag}'"
    runs = mlflow.search_runs(experiment_names=["facemask"], filter_string=chosen, output_format="list")
    if not runs:
        sys.exit(f"mlflow.db has no runs of {words.tag}; make study says the tag at its end")
    experiment = runs[0].info.experiment_id
    compared = quote(json.dumps([run.info.run_id for run in runs]))
    command = ["mlflow", "ui", "--backend-store-uri", STORE, "--port", str(PORT), "--workers", "1"]
    server = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for option in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1500,900"):
        options.add_argument(f"--{option}")
    try:
        wait_for(server)
        with webdriver.Chrome(options, Service("/usr/bin/chromedriver")) as browser:
            browser.implicitly_wait(30)
            browser.get(f"{PAGE}/#/experiments/{experiment}/runs?searchFilter={quote(chosen)}&compareRunsMode=CHART")
            browser.find_element(By.CSS_SELECTOR, "[aria-label='Close']").click()  # MLflow's assistant
            browser.find_element(By.CSS_SELECTOR, "[aria-label='Toggle sidebar']").click()
            photograph(browser, words.runs)
            experiments = quote(json.dumps([experiment]))
            browser.get(f"{PAGE}/#/compare-runs?runs={compared}&experiments={experiments}")
            browser.find_element(By.XPATH, "//button[contains(., 'Clear All')]").click()
            for field, names in zip(browser.find_elements(By.CSS_SELECTOR, "input[type=search]"), AXES, strict=True):
                for name in names:
                    field.send_keys(name)
                    time.sleep(1)  # until it offers the name
                    field.send_keys(Keys.ENTER)
                field.send_keys(Keys.ESCAPE)
            photograph(browser, words.comparison)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
