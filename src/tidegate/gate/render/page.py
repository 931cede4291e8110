"""A report as one HTML page: no script, no outside file, readable in light and dark and on paper."""

from __future__ import annotations

from html import escape

from tidegate.gate.render.lines import Line, asked, facts, number, rule_line, slice_lines, spread
from tidegate.records.report import Problem, Report, RuleResult
from tidegate.records.verdict import Verdict

_STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --dim: #5d6b79; --paper: #fff; --card: #f5f7f9; --line: #d8dee4;
  --PASS: #1a7f4b; --FAIL: #c0362c; --INCONCLUSIVE: #96690a; --INVALID: #7d3fb0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e9ef; --dim: #97a5b3; --paper: #12181e; --card: #1b232b;
  --line: #33404c; --PASS: #4cc38a; --FAIL: #ff7b6e; --INCONCLUSIVE: #e0b252; --INVALID: #c79bf0; } }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 3rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.15rem; font-weight: 600; margin: 0 0 .75rem; color: var(--dim); overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.verdict { border-left: .5rem solid var(--tone); background: var(--card); padding: 1rem 1.25rem; border-radius: .25rem; }
.verdict b { color: var(--tone); font-size: 1.6rem; letter-spacing: .02em; }
.verdict p { margin: .25rem 0 0; font-size: 1.1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); vertical-align: middle; }
th { font-weight: 600; color: var(--dim); font-size: .85rem; }
td.number { text-align: right; white-space: nowrap; }
td small, .dim { color: var(--dim); }
.tag { color: var(--tone); font-weight: 600; white-space: nowrap; }
svg { display: block; width: 15rem; height: 1.9rem; }
svg .zero { stroke: var(--dim); } svg .bound { stroke: var(--ink); stroke-dasharray: 3 2; }
svg .bar { stroke: var(--tone); stroke-width: 3; } svg circle { fill: var(--tone); }
details { margin: .5rem 0; } summary { cursor: pointer; }
footer { margin-top: 2.5rem; font-size: .85rem; color: var(--dim); overflow-wrap: anywhere; }
"""
_WIDTH, _HEIGHT = 240, 30
_EXPLAINED = {
    Verdict.PASS: "every rule of the policy is shown to hold.",
    Verdict.FAIL: "at least one rule is shown not to hold.",
    Verdict.INCONCLUSIVE: "no rule is broken, but the rows are too few to show that all hold.",
    Verdict.INVALID: "the evidence cannot be used, so nothing is concluded from it.",
}


def render_html(report: Report) -> str:
    """The report as a self-contained page. The same report gives the same bytes."""
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f'<section class="verdict" style="--tone: var(--{report.verdict})"><b>{report.verdict}</b><p>{escape(report.sentence)}</p></section>',
        _problems("What is wrong", report.problems),
        _rules(report),
        *(_slices(rule) for rule in report.rules if rule.slices),
        _problems("Worth knowing", report.warnings),
        _reading(report),
        _footer(report),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{report.verdict}: {escape(report.title)}</title><style>{_STYLE}</style>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n'
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _rules(report: Report) -> str:
    if not report.rules:
        return ""
    head = "<tr><th>rule</th><th>candidate</th><th>champion</th><th>gain (interval)</th><th></th><th>verdict</th></tr>"
    rows: list[str] = []
    for rule in report.rules:
        line = rule_line(rule, report.rows)
        name = f"{escape(line.name)}<br><small>{escape(line.test)}</small>"
        rows.append(_row(name, line) + f'<tr><td colspan="6"><small>{escape(line.reason)}</small></td></tr>')
    return f'<h2>Rules</h2><div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _slices(rule: RuleResult) -> str:
    lines = slice_lines(rule)
    stopped = sum(line.verdict is not Verdict.PASS for line in lines)
    head = "<tr><th>slice</th><th>candidate</th><th>champion</th><th>gain (interval)</th><th></th><th>verdict</th></tr>"
    shared = _reach(lines)
    rows = "".join(_row(f"{escape(line.name)}<br><small>{line.rows:,} rows</small>", line, shared) for line in lines)
    title = f"{escape(rule.metric)}, {escape(asked(rule))}: {len(lines)} slices, {stopped or 'none'} not passing"
    return (
        f"<details{' open' if stopped else ''}><summary>{title}</summary>"
        f'<div class="wide"><table>{head}{rows}</table></div></details>'
    )


def _row(name: str, line: Line, reach: tuple[float, float] | None = None) -> str:
    champion = number(line.champion.estimate) if line.champion else "-"
    tone = f'style="--tone: var(--{line.verdict})"'
    return (
        f'<tr {tone}><td>{name}</td><td class="number">{number(line.candidate.estimate)}</td><td class="number">{champion}</td>'
        f'<td class="number">{escape(spread(line.gain))}</td><td>{_forest(line, reach or _reach([line]))}</td>'
        f'<td class="tag">{line.verdict}</td></tr>'
    )


def _reach(lines: list[Line]) -> tuple[float, float]:
    """The scale that holds all intervals, the bounds and zero."""
    points = [0.0, *(line.bound for line in lines)]
    points += [end for line in lines for end in (line.gain.low, line.gain.high) if end is not None]
    left, right = min(points), max(points)
    room = 0.06 * ((right - left) or 1.0)
    return left - room, right + room


def _forest(line: Line, reach: tuple[float, float]) -> str:
    """One line of a forest plot: the interval of the gain, zero, and the bound as a dashed line."""
    gain = line.gain
    if gain.estimate is None or gain.low is None or gain.high is None:
        return ""
    left, right = reach

    def x(value: float) -> str:
        return f"{(value - left) / (right - left) * _WIDTH:.1f}"

    middle = _HEIGHT / 2
    label = escape(f"gain {spread(gain)}, bound {line.bound:g}", quote=True)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="0" y2="{_HEIGHT}"/>'
        f'<line class="bound" x1="{x(line.bound)}" x2="{x(line.bound)}" y1="0" y2="{_HEIGHT}"/>'
        f'<line class="bar" x1="{x(gain.low)}" x2="{x(gain.high)}" y1="{middle:g}" y2="{middle:g}"/>'
        f'<circle cx="{x(gain.estimate)}" cy="{middle:g}" r="5"/></svg>'
    )


def _problems(title: str, problems: list[Problem]) -> str:
    if not problems:
        return ""
    items = "".join(
        f'<li>{escape(problem.what)} <small class="dim">[{escape(problem.code)}]</small><br><small>{escape(problem.fix)}</small></li>'
        for problem in problems
    )
    return f"<h2>{title}</h2><ul>{items}</ul>"


def _reading(report: Report) -> str:
    """How to read the page, for a reader who is no statistician."""
    percent = f"{100 * report.confidence:g}%"
    methods = "".join(f"<li>{escape(rule.metric)}: {escape(rule.method)}</li>" for rule in report.rules if rule.method)
    return (
        "<details><summary>How to read this</summary>"
        f"<p>{report.verdict} means: {_EXPLAINED[report.verdict]}</p>"
        "<p>A gain is how much better the candidate is than the champion on the same rows, turned so that right and plus are good. "
        f"The dot is what was measured; the bar is the {percent} interval: where the true gain lies, by a method that is right in "
        f"{percent} of cases. The thin line is no difference, the dashed line the bound that the whole bar must clear to pass. "
        'For a rule of the kind "at least" or "at most" the gain is the candidate\'s distance from the value asked for.</p>'
        f"<ul>{methods}</ul></details>"
    )


def _footer(report: Report) -> str:
    parts = [facts(report), f"task {escape(report.task)}", f"seed {report.seed}"]
    if report.snapshot:
        parts.append(f"snapshot {escape(report.snapshot)}")
    if report.policy_digest:
        parts.append(f"policy <code>{escape(report.policy_digest[:12])}</code>")
    return f"<footer>{' · '.join(parts)}</footer>"
