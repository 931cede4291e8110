"""A report in the terminal: plain text, and the same in colour."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tidegate.gate.render.lines import Line, facts, number, rule_line, slice_lines, spread
from tidegate.records.report import Problem, Report
from tidegate.records.verdict import Verdict

COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow", Verdict.INVALID: "magenta"}
_SLICES = 10
_HEAD = ("rule", "asked", "candidate", "champion", "gain (interval)", "verdict")


def render_text(report: Report) -> str:
    """The report as plain text, for pipes and log files. Gains are turned so that plus is good."""
    lines = [f"{report.verdict}  {report.title}", report.sentence, ""]
    if report.rules:
        lines += [*_columns(_table(report)), "", f"{facts(report)}; plus is good"]
    for heading, rows in _slice_tables(report):
        lines += ["", heading, *("  " + line for line in _columns(rows))]
    for label, problems in (("problem", report.problems), ("warning", report.warnings)):
        lines += [_problem(label, problem) for problem in problems]
    return "\n".join(lines).rstrip() + "\n"


def render_rich(report: Report) -> RenderableType:
    """The report for a terminal with colours."""
    colour = COLOURS[report.verdict]
    title = Text(f" {report.verdict} ", style=f"bold reverse {colour}")
    parts: list[RenderableType] = [
        Panel(
            Text(report.sentence), title=title, subtitle=Text(report.title, style="dim"), title_align="left", border_style=colour
        )
    ]
    if report.rules:
        parts += [_rich_table(_table(report)), Text(f"{facts(report)}; plus is good", style="dim")]
    for heading, rows in _slice_tables(report):
        parts += [Text("\n" + heading, style="bold"), _rich_table(rows)]
    for label, problems in (("problem", report.problems), ("warning", report.warnings)):
        parts += [Text(_problem(label, problem), style="magenta" if label == "problem" else "yellow") for problem in problems]
    return Group(*parts)


def _table(report: Report) -> list[tuple[str, ...]]:
    rules = [rule_line(rule, report.rows) for rule in report.rules]
    return [_HEAD, *((line.name, line.test, *_numbers(line), str(line.verdict)) for line in rules)]


def _slice_tables(report: Report) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Of each rule the slices that do not pass, with a heading; the first ten."""
    tables: list[tuple[str, list[tuple[str, ...]]]] = []
    for rule in report.rules:
        open_lines = [line for line in slice_lines(rule) if line.verdict is not Verdict.PASS]
        if not open_lines:
            continue
        heading = f"{rule.metric}: {len(open_lines)} of {len(rule.slices)} slices do not pass"
        heading += f"; the worst {_SLICES}" if len(open_lines) > _SLICES else ""
        rows = [(line.name, f"{line.rows:,} rows", *_numbers(line), str(line.verdict)) for line in open_lines[:_SLICES]]
        tables.append((heading, [("slice", "size", *_HEAD[2:]), *rows]))
    return tables


def _numbers(line: Line) -> tuple[str, str, str]:
    return number(line.candidate.estimate), number(line.champion.estimate) if line.champion else "-", spread(line.gain)


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rich_table(rows: list[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows[1:]:
        table.add_row(*(Text(cell) for cell in row[:-1]), Text(row[-1], style=COLOURS[Verdict(row[-1])]))
    return table


def _problem(label: str, problem: Problem) -> str:
    return f"{label} [{problem.code}]: {problem.what}" + (f"\n    fix: {problem.fix}" if problem.fix else "")
