"""A report in Markdown, for a pull request's comment."""

from __future__ import annotations

from tidegate.gate.render.lines import Line, asked, facts, number, rule_line, slice_lines, spread
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict

SIGNS = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.INCONCLUSIVE: "⏳", Verdict.INVALID: "⛔"}
_SLICES = 10
_WIDTH = 31


def render_markdown(report: Report) -> str:
    """The report as GitHub-flavoured Markdown: the sentence first, then rules, a forest plot in text, open slices, warnings."""
    parts = [f"## {SIGNS[report.verdict]} {report.verdict}: {_escape(report.title)}", f"**{_escape(report.sentence)}**"]
    parts += [f"- ⛔ `{problem.code}`: {_escape(problem.what)}. {_escape(problem.fix)}" for problem in report.problems]
    if report.rules:
        lines = [rule_line(rule, report.rows) for rule in report.rules]
        parts.append(
            _table("rule | asked | candidate | champion | gain (interval)", [(line.name, line.test, line) for line in lines])
        )
        parts.append("```text\n" + "\n".join(_forest(lines)) + "\n```")
        parts.append(f"{facts(report)}; plus is good. `|` is no difference, `:` the bound that the interval must clear.")
    for rule in report.rules:
        open_lines = [line for line in slice_lines(rule) if line.verdict is not Verdict.PASS]
        if open_lines:
            title = f"{rule.metric}, {asked(rule)}: {len(open_lines)} of {len(rule.slices)} slices do not pass"
            body = _table(
                "slice | rows | candidate | champion | gain (interval)",
                [(x.name, f"{x.rows:,}", x) for x in open_lines[:_SLICES]],
            )
            parts.append(f"<details open><summary>{_escape(title)}</summary>\n\n{body}\n\n</details>")
    parts += [f"> ⚠️ `{warning.code}`: {_escape(warning.what)}" for warning in report.warnings]
    if report.snapshot:
        parts.append(
            f"<sub>evaluated on {_escape(report.snapshot)}, policy {report.policy_digest[:12]}, seed {report.seed}</sub>"
        )
    return "\n\n".join(parts) + "\n"


def _table(head: str, rows: list[tuple[str, str, Line]]) -> str:
    lines = [f"| {head} | verdict |", "|---|---|---:|---:|---|---|"]
    for first, second, line in rows:
        cells = (
            _escape(first),
            _escape(second),
            number(line.candidate.estimate),
            number(line.champion.estimate) if line.champion else "-",
            spread(line.gain),
            f"{SIGNS[line.verdict]} {line.verdict}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _forest(lines: list[Line]) -> list[str]:
    """Each line on its own scale, as metrics have different units: ``[--o--]`` is the interval of the gain."""
    width = max(len(line.name) for line in lines)
    return [f"{line.name.ljust(width)}  {_bar(line)}  {spread(line.gain)}" for line in lines]


def _bar(line: Line) -> str:
    gain = line.gain
    if gain.estimate is None or gain.low is None or gain.high is None:
        return " " * _WIDTH
    points = (gain.low, gain.high, line.bound, 0.0)
    left, right = min(points), max(points)
    reach = (right - left) or 1.0
    left, reach = left - 0.05 * reach, 1.1 * reach

    def place(value: float) -> int:
        return min(max(round((value - left) / reach * (_WIDTH - 1)), 0), _WIDTH - 1)

    cells = [" "] * _WIDTH
    cells[place(0.0)] = "|"
    cells[place(line.bound)] = ":" if line.bound else "|"
    for spot in range(place(gain.low), place(gain.high) + 1):
        cells[spot] = "-"
    cells[place(gain.low)], cells[place(gain.high)] = "[", "]"
    cells[place(gain.estimate)] = "o"
    return "".join(cells)


def _escape(text: str) -> str:
    """Keeps a value from a file from becoming markup."""
    return "".join(
        f"\\{letter}" if letter in "\\`*_[]|#~" else {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " "}.get(letter, letter)
        for letter in text
    )
