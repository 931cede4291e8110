"""The same report in three forms: complete, safe, and the answer first."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule
from report_cases import HOSTILE, OLD, every_kind, hostile, huge, interval, judged_reports, result
from rich.console import Console

from tidegate.gate import check, parse_report, render_html, render_markdown, render_rich, render_text, report_bytes
from tidegate.gate.render.lines import needed, rule_line
from tidegate.records.report import Report

REPORTS = judged_reports()


def coloured(report: Report, width: int = 120) -> str:
    console = Console(width=width, force_terminal=True, record=True, file=io.StringIO())
    console.print(render_rich(report))
    return console.export_text()


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE", "INVALID"])
def test_every_form_says_the_verdict_and_the_sentence_first(verdict: str) -> None:
    report = REPORTS[verdict]
    assert report.verdict == verdict
    assert report.sentence.startswith("Ship:" if verdict == "PASS" else "Do not ship")
    assert render_text(report).splitlines()[0] == f"{verdict}  {report.sentence}"
    assert coloured(report).startswith(f"{verdict}  {report.sentence[:30]}")
    lines = render_markdown(report).splitlines()
    assert lines[0] == "<!-- tidegate-gate: new -->"
    assert verdict in lines[1]
    assert lines[3].startswith("**Ship" if verdict == "PASS" else "**Do not ship")
    page = render_html(report)
    assert page.index(f"<b>{verdict}</b>") < page.index("<p>Ship:" if verdict == "PASS" else "<p>Do not ship")


@pytest.mark.parametrize("render", [render_text, render_markdown, render_html])
def test_everything_that_a_report_holds_is_shown_by_every_form(render) -> None:
    report = every_kind()
    text = render(report).replace("\\", "")
    for found in report.rules:
        assert found.metric in text
        assert found.verdict in text
    wanted = ["mae (against the anchor)", "at most 1% of the rows", "at most 0.1 apart", "at most 1.5 times the champion's",
              "at most 10 MB", "at most 30 days old", "at least 95% of the rows", "every one right", "callers need no change",
              "input x", "30 rows, only the champion on 20", "Collect about 1,200 more rows.", "leakage", "lineage-unknown"]  # fmt: skip
    missing = [words for words in wanted if words not in text.replace("&#x27;", "'")]
    assert missing == []
    if render is not render_text:
        for words in (
            "carrier = UA",
            "0.01",
            "Code",
            "Data",
            "Model",
            "Predictions",
            "judged by 3 times before",
            "flights-eval@",
        ):
            assert words in text, words


def test_a_problem_comes_before_the_rules() -> None:
    for render in (render_text, render_markdown, render_html):
        text = render(every_kind())
        assert text.index("rows of the training") < text.index("golden rows")
        assert "column-missing" in render(REPORTS["INVALID"])


def test_the_slice_that_stops_comes_first() -> None:
    report = REPORTS["FAIL"]
    for render in (render_text, render_markdown, render_html):
        text = render(report)
        assert text.index("carrier = UA") < (text.find("carrier = AA") if "carrier = AA" in text else len(text))
    assert "<details><summary>brier: 3 slices that pass" in render_markdown(report)


def test_the_same_report_gives_the_same_text() -> None:
    again = parse_report(report_bytes(REPORTS["FAIL"]))
    for render in (render_text, render_markdown, render_html):
        assert render(again) == render(REPORTS["FAIL"])


def test_reports_of_the_first_schema_are_still_shown() -> None:
    report = parse_report(json.dumps(OLD).encode())
    for render in (render_text, render_markdown, render_html):
        text = render(report).replace("\\", "")
        assert "log_loss is 0.51 against 0.58" in text
        assert "+0.07 (+0.05 to +0.09)" in text
    assert "JFK" in render_html(report)
    assert json.loads(report_bytes(report))["schema"] == 1


@pytest.mark.parametrize("render", [render_text, render_markdown, render_html])
def test_no_form_grows_without_bound(render) -> None:
    text = render(huge())
    assert len(text.encode()) < {render_markdown: 65_536, render_html: 500_000, render_text: 200_000}[render]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_terminal_is_not_wider_than_it_is(width: int) -> None:
    for report in (*REPORTS.values(), every_kind()):
        lines = coloured(report, width).splitlines()
        too_wide = [line for line in lines if len(line.rstrip()) > width and "│" not in line]
        assert too_wide == [], too_wide


def test_a_narrow_terminal_keeps_name_and_verdict() -> None:
    lines = coloured(REPORTS["FAIL"], 60).splitlines()
    assert any("brier" in line and line.rstrip().endswith("FAIL") for line in lines)
    assert any("[" in line and "o" in line for line in coloured(REPORTS["FAIL"], 100).splitlines())


def test_nothing_in_a_name_moves_the_cursor() -> None:
    for text in (render_text(hostile(every_kind())), render_text(hostile(REPORTS["FAIL"]))):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "evil.example" in text


def test_a_report_without_a_champion_is_shown() -> None:
    rows = binary_rows(500)
    report = check(rows, policy(rule("roc_auc", "floor", value=0.6), champion=""))
    assert report.flips is None
    for render in (render_text, render_markdown, render_html):
        assert "roc" in render(report)
    assert HOSTILE not in render_html(hostile(report))


@pytest.mark.parametrize("render", [render_text, render_markdown, render_html])
@pytest.mark.parametrize(
    ("task", "told", "noun"), [("ranking", "60 queries (300 rows)", "queries"), ("scores", "60 items (300 rows)", "items")]
)
def test_every_form_counts_what_the_task_compares(render, task: str, told: str, noun: str) -> None:
    rng = np.random.default_rng(3)
    rows = {"q": np.repeat(np.arange(60), 5), "new": rng.normal(size=300), "old": rng.normal(size=300)}
    rows |= {"y": rng.integers(0, 3, 300), "site": np.repeat(np.array(["a", "b"], dtype=object)[np.arange(60) % 2], 5)}
    keys = {"label": "y", "query": "q"} if task == "ranking" else {"key": "q"}
    asked = {"task": task, "candidate": "new", "champion": "old", **keys}
    metric = "ndcg@3" if task == "ranking" else "mean_score"
    found = check(rows, asked | {"rules": [rule(metric, slices=["site"])]})
    text = render(found)
    assert (found.rows, found.units) == (300, 60)
    assert f"{told}, 95% intervals" in text
    assert f"30 {noun}" in text or f"| slice | {noun} |" in text
    assert "slice | rows" not in text


def test_a_gap_held_against_the_champions_shows_by_how_much_it_is_wider() -> None:
    slices = REPORTS["FAIL"].rules[1].slices
    assert len(slices) > 1
    wider = result("gap", "recall", "PASS", margin=0.1, champion=interval(0.2), difference=interval(0.02, 0.03), slices=slices)
    line = rule_line(wider, 100)
    assert (line.asked, line.gain.estimate, line.bound) == ("wider than the champion's by at most 0.1", -0.02, -0.1)
    assert needed(wider, line) == "its gain is -0.02 (-0.05 to +0.01) and must be shown to lie above -0.1"
    assert (line.gain.low, line.gain.high) == (-0.05, pytest.approx(0.01))
