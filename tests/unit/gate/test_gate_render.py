"""The same report in three forms: complete, safe, and the answer first."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule
from rich.console import Console

from tidegate.gate import check, render_html, render_markdown, render_rich, render_text
from tidegate.records.report import Report

ROWS = binary_rows(1200)
NASTY = "<script>alert('x')</script> | `a` **b**"


def _reports() -> dict[str, Report]:
    origin = np.where(ROWS["origin"] == "JFK", NASTY, ROWS["origin"]).astype(object)
    sliced = rule("brier", "not_worse", margin=0.001, slices=["origin"])
    return {
        "PASS": check(ROWS, policy(rule("log_loss"), rule("roc_auc", "floor", value=0.6))),
        "FAIL": check(ROWS | {"origin": origin}, policy(sliced, candidate="old", champion="new")),
        "INCONCLUSIVE": check({name: values[:200] for name, values in ROWS.items()}, policy(rule("f1", slices=["origin"]))),
        "INVALID": check(ROWS, policy(label="late")),
    }


class Page(HTMLParser):
    """Checks that tags are closed and collects what would run or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br", "line", "circle"}:
            self.open.append(tag)
        self.foreign += [tag] if tag in {"script", "link", "img", "iframe"} else []
        self.foreign += [name for name, value in attrs if name in {"src", "href"} or name.startswith("on")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.foreign += [name for name, _ in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE", "INVALID"])
def test_every_form_says_the_verdict_first(verdict: str) -> None:
    report = _reports()[verdict]
    assert report.verdict == verdict
    text = render_text(report)
    assert text.splitlines()[0].startswith(verdict)
    assert text.splitlines()[1] == report.sentence
    assert ("Ship:" if verdict == "PASS" else "Do not ship") in report.sentence
    assert verdict in render_markdown(report).splitlines()[0]
    console = Console(width=120, force_terminal=True, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(render_rich(report))
    shown = console.export_text()
    console.file.close()
    assert verdict in shown
    page = render_html(report)
    parser = Page()
    parser.feed(page)
    assert parser.open == []
    assert parser.foreign == []
    assert page.index(verdict) < page.index("Do not ship" if verdict != "PASS" else "Ship:")
    assert page == render_html(report)


def test_problems_and_slices_are_told() -> None:
    reports = _reports()
    for render in (render_text, render_markdown, render_html):
        assert "column-missing" in render(reports["INVALID"])
        assert "origin = EWR" in render(reports["INCONCLUSIVE"]).replace("\\", "")
    assert render_html(reports["FAIL"]).count("<svg") == 4
    assert "[" in render_markdown(reports["FAIL"]).split("```")[1]


def test_values_from_a_file_stay_text() -> None:
    report = _reports()["FAIL"]
    assert "<script>" not in render_html(report)
    assert "&lt;script&gt;" in render_html(report)
    assert "<script>" not in render_markdown(report)
    assert "**b**" not in render_markdown(report)
