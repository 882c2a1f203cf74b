"""Screenshots of MLflow's pages as `make ui` shows them: python docs/screenshots.py RUNS.png COMPARISON.png [SEARCH].

SEARCH is a filter of MLflow for the runs; `make study` prints one for its runs. Needs chromium and chromedriver.
"""

import argparse
import contextlib
import subprocess
import sys
import time
from pathlib import Path

import requests
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from facemask.experiments import view

PORT = 5099
PAGE = f"http://127.0.0.1:{PORT}"
RENDERING_SECONDS = 8
AXES = ("lr", "train_from"), ("accuracy", "int8_accuracy")  # parameters, metrics


def wait_for(server: subprocess.Popen) -> None:
    """Wait until MLflow answers; SystemExit if it ends instead."""
    while server.poll() is None:
        with contextlib.suppress(requests.RequestException):
            requests.get(f"{PAGE}/health", timeout=5).raise_for_status()
            return
        time.sleep(1)
    sys.exit(f"mlflow ui ended with status {server.returncode}; is port {PORT} taken?")


def take(browser: webdriver.Chrome, picture: Path) -> None:
    """Save a screenshot of the page once it is rendered."""
    time.sleep(RENDERING_SECONDS)
    browser.save_screenshot(str(picture))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("search", nargs="?", default="")
    args = parser.parse_args()
    pages = view.choose(PAGE, args.search)
    command = ["mlflow", "ui", "--backend-store-uri", "sqlite:///mlflow.db", "--port", str(PORT), "--workers", "1"]
    server = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for option in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1500,900"):
        options.add_argument(f"--{option}")
    try:
        wait_for(server)
        with webdriver.Chrome(options, Service("/usr/bin/chromedriver")) as browser:
            browser.implicitly_wait(60)
            browser.get(pages["runs"])
            browser.find_element(By.CSS_SELECTOR, "[aria-label='Close']").click()  # MLflow's assistant
            browser.find_element(By.CSS_SELECTOR, "[aria-label='Toggle sidebar']").click()
            browser.find_element(By.CSS_SELECTOR, "[role='row'] a[href*='/runs/']")  # until the runs are there
            take(browser, args.runs)
            browser.get(pages["compared"])
            browser.find_element(By.XPATH, "//button[contains(., 'Clear All')]").click()
            for field, names in zip(browser.find_elements(By.CSS_SELECTOR, "input[type=search]"), AXES, strict=True):
                for name in names:
                    field.send_keys(name)
                    browser.find_element(By.CSS_SELECTOR, f"[title='{name}']").click()
                field.send_keys(Keys.ESCAPE)
            take(browser, args.comparison)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
