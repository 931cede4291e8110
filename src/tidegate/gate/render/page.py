"""A report as one HTML page: no outside file, readable without its script, in light and dark, on a phone and on paper.

The page says itself (Content-Security-Policy) that only its own style and script may do anything, by their digests.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from tidegate.gate.render.lines import facts, named, number
from tidegate.gate.render.plots import figures
from tidegate.gate.render.safe import cleaned, html
from tidegate.gate.render.tables import (
    confusion_table,
    diffs,
    explored_table,
    flips_table,
    heat_map,
    rows_shown,
    rules_table,
)
from tidegate.records.report import Problem, Report, RuleResult
from tidegate.records.verdict import Verdict

_FOLDER = Path(__file__).parent
_EXPLAINED = {
    Verdict.PASS: "every rule of the policy is shown to hold.",
    Verdict.FAIL: "at least one rule is shown not to hold.",
    Verdict.INCONCLUSIVE: "no rule is broken, but the rows are too few to show that all hold.",
    Verdict.INVALID: "the evidence cannot be used, so nothing is concluded from it.",
}


def render_html(report: Report) -> str:
    """The report as a self-contained page. The same report gives the same bytes."""
    report = cleaned(report)
    pictures = figures(report)
    body = [
        _answer(report),
        _problems("What is wrong", report.problems),
        _advice(report),
        rules_table(report),
        rows_shown(report),
        heat_map(report),
        f"<h2>Pictures</h2>{pictures}" if pictures else "",
        confusion_table(report),
        flips_table(report),
        explored_table(report),
        diffs(report),
        _problems("Worth knowing", report.warnings),
        _reading(report),
        _footer(report),
    ]
    script, style = _own("report.js"), _own("report.css")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{page_policy()}">'
        f"<title>{report.verdict}: {html(report.title)}</title><style>{style}</style>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n<main>\n'
        + "\n".join(part for part in body if part)
        + f"\n</main>\n<script>{script}</script>\n</body></html>\n"
    )


def _answer(report: Report) -> str:
    answer = f'<div class="verdict {report.verdict}"><b>{report.verdict}</b><p>{html(report.sentence)}</p></div>'
    return f"<header><h1>{html(report.title)}</h1>{answer}</header>"


@cache
def page_policy() -> str:
    """The Content-Security-Policy of the page: its own script and style, by digest, and nothing else. A server sends it, too."""
    return f"default-src 'none'; script-src '{_digest('report.js')}'; style-src '{_digest('report.css')}'; base-uri 'none'; form-action 'none'"


@cache
def _own(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _digest(name: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(_own(name).encode()).digest()).decode()


def _advice(report: Report) -> str:
    if not report.advice:
        return ""
    items = "".join(f"<li>{html(sentence)}</li>" for sentence in report.advice)
    return f'<section class="advice"><h2>What would change the verdict</h2><ul>{items}</ul></section>'


def _problems(title: str, problems: list[Problem]) -> str:
    if not problems:
        return ""
    items = "".join(
        f"<li>{html(problem.what)} <code>{html(problem.code)}</code>"
        + (f"<small>What to do: {html(problem.fix)}.</small>" if problem.fix else "")
        + "</li>"
        for problem in problems
    )
    return f'<section><h2>{title}</h2><ul class="problems">{items}</ul></section>'


def _reading(report: Report) -> str:
    """How to read the page, for a reader who is no statistician."""
    percent = f"{100 * report.confidence:g}%"
    methods = "".join(
        f"<li>{html(named(rule))}: {html(rule.method)}{_figures(rule)}</li>" for rule in report.rules if rule.method
    )
    return (
        "<details><summary>How to read this</summary>"
        f"<p>{report.verdict} means: {_EXPLAINED[report.verdict]}</p>"
        "<p>A gain is how much better the candidate is than the champion on the same rows, turned so that right and plus are good. "
        f"The dot is what was measured; the bar is the {percent} interval: where the true gain lies, by a method that is right in "
        f"{percent} of cases. The thin line is no difference, the dashed line the bound that the whole bar must clear to pass. "
        'For a rule of the kind "at least" or "at most" the gain is the candidate\'s distance from the value asked for.</p>'
        + (f"<p>How each interval was computed:</p><ul>{methods}</ul>" if methods else "")
        + "</details>"
    )


def _figures(rule: RuleResult) -> str:
    """Further figures of a method, for those who check it."""
    known = [f"{name.replace('_', ' ')} {number(value)}" for name, value in sorted(rule.details.items()) if value is not None]
    return f"<small>{html(' · '.join(known))}</small>" if known else ""


def _footer(report: Report) -> str:
    parts = [facts(report), f"task {html(report.task)}", f"seed {report.seed}"]
    if report.snapshot:
        parts.append(f"snapshot {html(report.snapshot)}")
    if report.anchor:
        parts.append(f"anchor {html(report.anchor)}")
    if report.policy_digest:
        parts.append(f"policy <code>{html(report.policy_digest[:12])}</code>")
    if report.wear is not None:
        parts.append(
            f"these rows were judged by {report.wear.uses:,} times before; chance that one of these passed wrongly: at most "
            f"{100 * report.wear.alpha_spent:.3g}%"
        )
    return f"<footer>{' · '.join(parts)}</footer>"
