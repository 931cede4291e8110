"""The web pages in a real browser: nothing complains, charts are drawn, in light and in dark, and keys work."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tidegate.server import create_app, listen, url_of
from tidegate.workspace import Workspace

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
)
PAGES = [
    "/", "/models", "/models/delay", "/models/delay/versions/1", "/monitoring", "/monitoring/delay", "/decisions", "/decisions/delay-0001",
    "/runs", "/data", "/data/flights-eval", "/data/flights-eval/1", "/health", "/search?q=train", "/releases", "/rollouts", "/models/delay/diff/1/2",
]  # fmt: skip


def _builder() -> Any:
    """The project that the unit tests of the server look at."""
    path = Path(__file__).parents[1] / "unit" / "server" / "server_project.py"
    spec = importlib.util.spec_from_file_location("server_project_for_chromium", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("chromium") / "flights"
    _builder().build_project(folder)
    opened = Workspace.open(folder, now="2013-07-01T00:00:00+00:00")
    yield opened
    opened.store.close()


@pytest.fixture(scope="module")
def site(workspace: Workspace) -> Iterator[str]:
    """The address of a server that runs beside the test."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(workspace), log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield url_of(listener).rstrip("/")
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    for program, package in ((CHROMIUM, "chromium"), (DRIVER, "chromium-driver")):
        if not program.exists():
            pytest.fail(
                f"{program} is missing: the web pages cannot be tested. Install the Debian package: apt-get install {package}"
            )
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


def _scheme(browser: webdriver.Chrome, name: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def _complaints(browser: webdriver.Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]


def _drawn(browser: webdriver.Chrome) -> int:
    """Waits until every chart of the page is drawn and says how many there are."""
    count = len(browser.find_elements(By.CSS_SELECTOR, "[data-chart]"))
    WebDriverWait(browser, 60).until(lambda it: len(it.find_elements(By.CSS_SELECTOR, "[data-drawn] .main-svg")) >= count)
    return count


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_load_without_a_complaint(browser: webdriver.Chrome, site: str, scheme: str) -> None:
    _scheme(browser, scheme)
    browser.get_log("browser")
    for path in PAGES:
        browser.get(site + path)
        _drawn(browser)
        assert _complaints(browser) == [], path
        assert browser.find_element(By.CSS_SELECTOR, "main").is_displayed()
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"), (
            f"{path} is wider than the window"
        )


def test_charts_are_drawn_in_the_colours_of_the_scheme(browser: webdriver.Chrome, site: str) -> None:
    _scheme(browser, "light")
    browser.get(f"{site}/monitoring/delay")
    assert _drawn(browser) == 6
    assert len(browser.find_elements(By.CSS_SELECTOR, "#performance-1 .scatterlayer .trace")) == 2
    assert browser.find_elements(By.CSS_SELECTOR, "#drift .heatmaplayer image")
    lines = "return getComputedStyle(document.querySelector('#performance-1 .scatterlayer path.js-line')).stroke"
    light = browser.execute_script(lines)
    _scheme(browser, "dark")
    WebDriverWait(browser, 30).until(lambda it: it.execute_script(lines) != light)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(18, 24, 30)"
    assert _complaints(browser) == []


def test_curves_of_a_run_and_of_a_comparison_are_drawn(browser: webdriver.Chrome, site: str, workspace: Workspace) -> None:
    runs = [run.id for run in workspace.runs.search(experiment="delay") if run.name.startswith("train")]
    browser.get(f"{site}/runs/{runs[0]}")
    assert _drawn(browser) == 2
    browser.get(f"{site}/compare?run={runs[0]}&run={runs[1]}")
    assert _drawn(browser) == 2
    assert len(browser.find_elements(By.CSS_SELECTOR, "#curve-1 .scatterlayer .trace")) == 2
    hostile = workspace.runs.search(experiment="hostile")[0].id
    browser.get(f"{site}/runs/{hostile}")
    _drawn(browser)
    assert browser.execute_script("return document.querySelectorAll('img[src=x], script:not([src]):not([type])').length") == 0
    assert _complaints(browser) == []


def test_gate_report_fits_its_frame(browser: webdriver.Chrome, site: str, workspace: Workspace) -> None:
    receipt = workspace.release.newest_receipt("delay", 2)
    browser.get(f"{site}/models/delay/receipts/{receipt}")
    frame = browser.find_element(By.CSS_SELECTOR, "iframe.report")
    assert browser.execute_script("return arguments[0].contentDocument", frame) is None, "neither can reach into the other"
    browser.switch_to.frame(frame)
    height = "return [innerHeight, document.documentElement.scrollHeight, document.body.getBoundingClientRect().height]"
    WebDriverWait(browser, 30).until(lambda it: 0 <= it.execute_script(height)[0] - it.execute_script(height)[2] < 12)
    assert browser.execute_script("try { return parent.document.title } catch (error) { return error.name }") == "SecurityError"
    assert browser.execute_script("return document.querySelectorAll('thead button').length") > 0, "its script runs"
    assert "PASS" in browser.find_element(By.CSS_SELECTOR, ".verdict").text
    assert browser.find_elements(By.CSS_SELECTOR, "svg .bar")
    browser.switch_to.default_content()
    assert _complaints(browser) == []


def test_keys_move_search_and_choose(browser: webdriver.Chrome, site: str) -> None:
    browser.get(f"{site}/runs")
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("/")
    focused = browser.switch_to.active_element
    assert focused.get_attribute("name") == "where"
    focused.send_keys(Keys.ESCAPE)
    body.send_keys("jjx")
    body.send_keys("jx")
    assert len(browser.find_elements(By.CSS_SELECTOR, "input[name=run]:checked")) == 2
    assert browser.find_element(By.CSS_SELECTOR, "[data-compare]").text == "Compare 2 runs"
    body.send_keys("?")
    assert browser.find_element(By.ID, "keys").is_displayed()
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    body.send_keys("gm")
    WebDriverWait(browser, 30).until(lambda it: it.current_url.endswith("/models"))
    browser.find_element(By.TAG_NAME, "body").send_keys("j")
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ENTER)
    WebDriverWait(browser, 30).until(lambda it: it.current_url.endswith("/models/delay"))
    assert _complaints(browser) == []
