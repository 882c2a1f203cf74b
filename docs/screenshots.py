"""Photograph MLflow's own pages of a study: python docs/screenshots.py TAG TABLE.png PARALLEL.png.

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

STORE = "sqlite:///mlflow.db"
PORT = 5099
PAGE = f"http://127.0.0.1:{PORT}"
DRAWING_SECONDS = 8


def wait_for(server: subprocess.Popen) -> None:
    """Until MLflow answers; SystemExit if it ends instead."""
    while server.poll() is None:
        with contextlib.suppress(requests.RequestException):
            requests.get(f"{PAGE}/health", timeout=5).raise_for_status()
            return
        time.sleep(1)
    sys.exit(f"mlflow ui ended with status {server.returncode}; is port {PORT} taken?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tag")
    parser.add_argument("table", type=Path)
    parser.add_argument("parallel", type=Path)
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
    for option in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1600,900"):
        options.add_argument(f"--{option}")
    try:
        wait_for(server)
        with webdriver.Chrome(options, Service("/usr/bin/chromedriver")) as browser:
            for address, picture in (
                (f"experiments/{experiment}/runs?searchFilter={quote(chosen)}", words.table),
                (f"compare-runs?runs={compared}&experiments={quote(json.dumps([experiment]))}", words.parallel),
            ):
                browser.get(f"{PAGE}/#/{address}")
                time.sleep(DRAWING_SECONDS)
                browser.save_screenshot(str(picture))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
