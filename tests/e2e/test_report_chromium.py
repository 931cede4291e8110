"""The gate's HTML page in a real browser: as a file, hostile, without script, by keyboard, on a phone, on paper."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tidegate.gate import parse_report, render_html

sys.path.append(str(Path(__file__).parents[1] / "unit" / "gate"))

from report_cases import OLD, every_kind, hostile, huge, judged_reports

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
)
JUDGED = judged_reports()
REPORTS = {
    **JUDGED,
    "kinds": every_kind(),
    "hostile": hostile(every_kind()),
    "hostile slices": hostile(JUDGED["FAIL"]),
    "huge": huge(),
    "old": parse_report(json.dumps(OLD).encode()),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The address of each report as a file."""
    folder = tmp_path_factory.mktemp("reports")
    for name, report in REPORTS.items():
        (folder / f"{name}.html").write_text(render_html(report), encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in REPORTS}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


def _look(browser: webdriver.Chrome, *, scheme: str = "light", width: int = 1280) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def _complaints(browser: webdriver.Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("name", list(REPORTS))
def test_pages_run_nothing_foreign_and_fit(browser: webdriver.Chrome, pages: dict[str, str], name: str, width: int) -> None:
    _look(browser, width=width)
    browser.get(pages[name])
    assert _complaints(browser) == []
    assert browser.execute_script("return document.scripts.length") == 1
    assert browser.execute_script("return document.querySelectorAll('img, a, iframe, link, object, form').length") == 0
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.find_element(By.CSS_SELECTOR, ".verdict b").text == REPORTS[name].verdict


def test_the_policy_of_the_page_stops_a_script_that_slips_in(browser: webdriver.Chrome, tmp_path: Path) -> None:
    page = render_html(JUDGED["PASS"]).replace(
        "</main>", "</main><script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\">"
    )
    (tmp_path / "slipped.html").write_text(page, encoding="utf-8")
    browser.get((tmp_path / "slipped.html").as_uri())
    assert browser.title.startswith("PASS")
    assert any("Content Security Policy" in message for message in _complaints(browser))


def test_without_its_script_everything_is_still_there(browser: webdriver.Chrome, pages: dict[str, str]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["FAIL"])
        plots = browser.find_elements(By.CSS_SELECTOR, "svg.plot")
        assert len(plots) == 4
        assert all(plot.size["height"] > 150 for plot in plots)
        assert browser.find_elements(By.CSS_SELECTOR, ".heat td.l3")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert _complaints(browser) == []


def test_figures_under_the_pointer_and_by_the_arrow_keys(browser: webdriver.Chrome, pages: dict[str, str]) -> None:
    _look(browser)
    browser.get(pages["FAIL"])
    tip = browser.find_element(By.ID, "tip")
    cell = browser.find_element(By.CSS_SELECTOR, ".heat td.l3")
    ActionChains(browser).move_to_element(cell).perform()
    assert tip.text.startswith("carrier = UA, ")
    plot = browser.find_element(By.CSS_SELECTOR, "[data-plot]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", plot)
    plot.send_keys(Keys.END)
    assert tip.text == "candidate: false alarms 1.00, found 1.00"
    plot.send_keys(Keys.HOME)
    assert tip.text == "champion: false alarms 0.00, found 0.00"
    plot.send_keys(Keys.ARROW_RIGHT)
    assert tip.text.startswith("champion: false alarms 0.0")
    plot.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    assert _complaints(browser) == []


def test_tables_are_sorted_by_their_heads(browser: webdriver.Chrome, pages: dict[str, str]) -> None:
    browser.get(pages["FAIL"])
    table = next(
        each
        for each in browser.find_elements(By.CSS_SELECTOR, "table[data-sort]")
        if "champion" in each.text and "row" in each.text
    )
    table.find_elements(By.CSS_SELECTOR, "thead button")[0].send_keys(Keys.ENTER)
    keys = [int(row.find_element(By.CSS_SELECTOR, "td").text) for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert keys == sorted(keys)
    table.find_elements(By.CSS_SELECTOR, "thead button")[0].click()
    assert table.find_element(By.CSS_SELECTOR, "thead th").get_attribute("aria-sort") == "descending"
    first = table.find_element(By.CSS_SELECTOR, "tbody td").text
    assert int(first) == max(keys)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser: webdriver.Chrome, pages: dict[str, str], scheme: str) -> None:
    """WCAG 2.1, 1.4.3: a ratio of 4.5; the formula is that of 'relative luminance' there."""
    _look(browser, scheme=scheme)
    for name in ("PASS", "FAIL", "INCONCLUSIVE", "INVALID"):
        browser.get(pages[name])
        faint = browser.execute_script(CONTRAST)
        assert faint == [], name


CONTRAST = """
const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function rgb(paints) {
  probe.clearRect(0, 0, 1, 1);
  for (const paint of paints) { probe.fillStyle = paint; probe.fillRect(0, 0, 1, 1); }
  return [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
const light = (color) => color.map((value) => value / 255)
  .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
  .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
const faint = [];
for (const element of document.querySelectorAll("main *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.getClientRects().length) continue;
  const behind = [];
  for (let each = element; each; each = each.parentElement) behind.unshift(getComputedStyle(each).backgroundColor);
  const style = getComputedStyle(element);
  const ink = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
  const [one, other] = [light(rgb([...behind, ink])), light(rgb(behind))];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (ratio < 4.5) faint.push([element.tagName, element.className.baseVal ?? element.className, element.textContent.slice(0, 30), ratio]);
}
return faint;
"""


def test_on_paper_folded_parts_are_open(browser: webdriver.Chrome, pages: dict[str, str]) -> None:
    browser.get(pages["FAIL"])
    assert browser.execute_script("return document.querySelectorAll('details[open]').length") == 0
    browser.execute_cdp_cmd("Page.printToPDF", {})
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
