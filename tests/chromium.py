"""Chromium, driven by Selenium, with a webcam that films a test picture."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def chromium(*options: str) -> Iterator["webdriver.Chrome"]:  # noqa: F821
    """A browser, until the end of the block; further options are those of its command line, without the dashes."""
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service

    chosen = webdriver.ChromeOptions()
    chosen.binary_location = "/usr/bin/chromium"
    for option in (
        "headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1400,1000",
        "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream", *options,
    ):  # fmt: skip
        chosen.add_argument(f"--{option}")
    chosen.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        driver = webdriver.Chrome(chosen, Service("/usr/bin/chromedriver"))
    except (WebDriverException, OSError) as error:
        pytest.fail(f"needs a browser: apt-get install chromium chromium-driver ({error})", pytrace=False)
    driver.implicitly_wait(20)
    try:
        yield driver
    finally:
        driver.quit()
