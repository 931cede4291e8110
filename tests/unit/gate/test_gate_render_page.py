"""The HTML page: whole without its script, safe, and readable by those who do not see it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace
from report_cases import every_kind, hostile, interval, judged_reports, result

from tidegate.gate import page_policy, render_html
from tidegate.records.report import Curve, Report, SliceResult
from tidegate.records.verdict import Verdict

REPORTS = judged_reports()
EMPTY = {"meta", "br", "path", "circle"}


class Page(HTMLParser):
    """Elements with their attributes, whether all are closed, and the text of each script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]].append(data)


@pytest.mark.parametrize("report", [*REPORTS.values(), every_kind(), hostile(every_kind()), hostile(REPORTS["FAIL"])])
def test_only_its_own_script_and_style_stand_in_it_and_nothing_is_loaded(report: Report) -> None:
    page = Page(render_html(report))
    for kind in ("script", "style"):
        assert len(page.inside[kind]) == 1
        digest = base64.b64encode(hashlib.sha256(page.inside[kind][0].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in page_policy()
    policies = [given["content"] for tag, given in page.found if given.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [page_policy()]
    assert "unsafe" not in page_policy()
    assert not {tag for tag, _ in page.found} & {"img", "link", "iframe", "a", "object", "form", "input", "base"}
    bad = {"src", "href", "style", "srcdoc", "action", "xlink:href"}
    assert [name for _, given in page.found for name in given if name in bad or name.startswith("on")] == []
    assert "url(" not in page.inside["style"][0]


def test_a_page_is_complete_without_its_script() -> None:
    text = render_html(REPORTS["FAIL"]).split("<script>")[0]
    page = Page(text + "</body></html>")
    assert sum(tag == "svg" and "data-plot" in given for tag, given in page.found) == 4
    assert sum(given.get("class") == "bar" for _, given in page.found) >= 3
    assert "hidden" not in {name for _, given in page.found for name in given}


def test_pictures_and_tables_say_in_words_what_they_show() -> None:
    page = Page(render_html(REPORTS["FAIL"]))
    for tag, given in page.found:
        if given.get("role") in {"img", "region"}:
            assert given.get("aria-label"), tag
        if tag == "svg":
            assert given.get("role") == "img" or given.get("aria-hidden") == "true"
        if tag == "th":
            assert given.get("scope") in {"col", "row"}
    labels = " ".join(given.get("aria-label") or "" for _, given in page.found)
    assert re.search(r"With 10% false alarms the candidate finds \d+% of the positives, the champion \d+%", labels)


def test_the_figures_of_a_method_stand_where_it_is_named() -> None:
    rule = result("superior", "accuracy", details={"mcnemar_midp_p": 0.03469, "bca_low": None}, method="Tango score interval")
    assert "Tango score interval<small>mcnemar midp p 0.03469</small>" in render_html(replace(REPORTS["PASS"], rules=[rule]))


def test_slices_are_a_heat_map_coloured_by_where_the_gain_lies() -> None:
    parts = [
        SliceResult(column="c", value=value, rows=50, verdict=Verdict(verdict), candidate=interval(0.5), champion=interval(0.5),
                    difference=interval(gain, 0.01) if gain is not None else interval(0.0), reason="")
        for value, gain, verdict in (("best", 0.05, "PASS"), ("good", 0.015, "PASS"), ("fair", 0.005, "INCONCLUSIVE"),
                                     ("poor", -0.005, "INCONCLUSIVE"), ("bad", -0.015, "FAIL"), ("worst", -0.05, "FAIL"))
    ]  # fmt: skip
    report = replace(every_kind(), rules=[result("not_worse", "accuracy", better="higher", slices=parts)])
    text = render_html(report)
    cells = dict(re.findall(r'<th scope="row">c = (\w+)</th><td class="number">50</td><td class="cell (\w\d)"', text))
    assert cells == {"best": "h3", "good": "h2", "fair": "h1", "poor": "l1", "bad": "l2", "worst": "l3"}
    order = re.findall(r'<th scope="row">c = (\w+)</th><td class="number">50</td><td class="cell', text)
    assert order == ["worst", "bad", "poor", "fair", "good", "best"]


def test_points_of_a_plot_stand_where_the_numbers_say() -> None:
    curve = Curve(kind="roc", candidate_x=[0, 0.25, 1], candidate_y=[0, 0.75, 1])
    text = render_html(replace(every_kind(), curves=[curve]))
    left, top, width, height = map(float, re.search(r'data-box="([^"]*)"', text)[1].split())
    points = [
        tuple(map(float, point))
        for point in re.findall(r"[ML]([\d.]+) ([\d.]+)", re.search(r'data-name="candidate" d="([^"]*)"', text)[1])
    ]
    expected = [(left + x * width, top + (1 - y) * height) for x, y in zip(curve.candidate_x, curve.candidate_y, strict=True)]
    assert points == [pytest.approx(point, abs=0.06) for point in expected]


def test_odd_ranges_are_drawn() -> None:
    for values in ([5.0, 5.0, 5.0], [-1e9, 0.0, 1e9], [0.001, 0.0011, 0.0012], [-3.0, -2.0, -1.0]):
        curves = [Curve(kind=kind, candidate_x=values, candidate_y=values) for kind in ("scatter", "calibration", "residuals")]
        assert "nan" not in render_html(replace(every_kind(), curves=curves)).split("<script>")[0].lower()
