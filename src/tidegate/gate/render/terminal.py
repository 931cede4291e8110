"""A report in the terminal: plain text, and the same in colour, as wide as the window."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text

from tidegate.gate.render.forest import LEGEND, bar, reach_of
from tidegate.gate.render.lines import Line, facts, number, rule_line, rules_in_order, shown_gain, side_words, slice_lines
from tidegate.gate.render.safe import cleaned
from tidegate.gate.wording import noun_of
from tidegate.records.report import Problem, Report, RuleResult
from tidegate.records.verdict import Verdict

COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow", Verdict.INVALID: "magenta"}
PLAIN_WIDTH = 140
_SLICES = 10
_SHOWN = 5
_BAR = (17, 41)
_LONGEST_NAME = 34


@dataclass(frozen=True, slots=True)
class Piece:
    """One printed line and the verdict that colours it; a verdict is shown bold where it is the ``head``."""

    text: str
    tone: Verdict | None = None
    head: bool = False
    dim: bool = False


def render_text(report: Report, *, width: int = PLAIN_WIDTH) -> str:
    """The report as plain text, for pipes and log files. Gains are turned so that plus is good."""
    return "\n".join(piece.text for piece in _pieces(cleaned(report), width)).rstrip() + "\n"


@dataclass(frozen=True, slots=True)
class _Coloured:
    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        yield Group(*(_coloured(piece) for piece in _pieces(self.report, options.max_width, wrapped=True)))


def render_rich(report: Report) -> RenderableType:
    """The report for a terminal with colours; it asks the terminal how wide it is."""
    return _Coloured(cleaned(report))


def _coloured(piece: Piece) -> Text:
    text = Text(piece.text, style="dim" if piece.dim else "", no_wrap=True, overflow="ignore")
    if piece.head and piece.tone:
        text.stylize(f"bold {COLOURS[piece.tone]}")
        text.stylize(f"bold reverse {COLOURS[piece.tone]}", 0, len(piece.tone))
    elif piece.tone and piece.text.endswith(piece.tone):
        text.stylize(COLOURS[piece.tone], len(piece.text) - len(piece.tone))
    elif piece.head:
        text.stylize("bold")
    return text


def _pieces(report: Report, width: int, *, wrapped: bool = False) -> list[Piece]:
    """Every line. A log's lines are as long as their sentence; a terminal's are broken between words."""

    def say(text: str, *, hang: int = 0, dim: bool = False) -> list[Piece]:
        lines = textwrap.wrap(text, max(width, 20), subsequent_indent=" " * hang, break_on_hyphens=False) if wrapped else [text]
        return [Piece(line, dim=dim) for line in lines]

    head = (
        textwrap.wrap(f"{report.verdict}  {report.sentence}", max(width, 20))
        if wrapped
        else [f"{report.verdict}  {report.sentence}"]
    )
    pieces = [Piece(head[0], tone=report.verdict, head=True), *(Piece(line) for line in head[1:])]
    pieces += [*say(report.title, dim=True), *say(facts(report), dim=True)]
    for problem in report.problems:
        pieces += [*say(_problem("problem", problem), hang=4)]
        pieces += say(f"    fix: {problem.fix}", hang=9) if problem.fix else []
    if report.rules:
        pieces += [Piece(""), *_rules(report, width)]
    for rule in rules_in_order(report):
        pieces += _slices(rule, noun_of(report.task, rule.test), width)
        pieces += _rows_shown(rule)
    if side_words(report):
        pieces += [Piece(""), *say(side_words(report))]
    if report.advice:
        pieces += [Piece(""), Piece("What would change the verdict", head=True)]
        pieces += [piece for sentence in report.advice for piece in say(f"- {sentence}", hang=2)]
    if report.warnings:
        pieces.append(Piece(""))
    for warning in report.warnings:
        pieces += say(_problem("warning", warning), hang=4)
    return pieces


def _rules(report: Report, width: int) -> list[Piece]:
    lines = [rule_line(rule, report.rows) for rule in report.rules]
    head = ("rule", "asked", "candidate", "champion", "gain (interval)")
    rows = [(_fit(line.name), line.asked, *_numbers(line)) for line in lines]
    pieces = _table([head, *rows], lines, [reach_of([line]) for line in lines], width)
    return (
        [*pieces, Piece(LEGEND if len(LEGEND) <= width else "right is better", dim=True)]
        if any(_has_bar(line) for line in lines)
        else pieces
    )


def _slices(rule: RuleResult, noun: str, width: int) -> list[Piece]:
    """The slices that do not pass; the first ten."""
    stopping = [line for line in slice_lines(rule) if line.verdict is not Verdict.PASS]
    if not stopping:
        return []
    name = rule_line(rule, 0).name
    heading = f"{name}: {len(stopping)} of {len(rule.slices)} slices do not pass"
    heading += f"; the worst {_SLICES}" if len(stopping) > _SLICES else ""
    head = ("slice", "size", "candidate", "champion", "gain (interval)")
    shown = stopping[:_SLICES]
    rows = [(_fit(line.name), f"{line.rows:,} {noun}", *_numbers(line)) for line in shown]
    return [Piece(""), Piece(heading, head=True), *_table([head, *rows], shown, [reach_of(shown)] * len(shown), width)]


def _rows_shown(rule: RuleResult) -> list[Piece]:
    if not rule.shown:
        return []
    more = f" (the first {_SHOWN} of {len(rule.shown)})" if len(rule.shown) > _SHOWN else ""
    rows = [
        f"  {row.key}: label {row.label or '-'}, candidate {row.candidate or '-'}"
        + (f", champion {row.champion}" if row.champion else "")
        + (f"; {row.note}" if row.note else "")
        for row in rule.shown[:_SHOWN]
    ]
    return [Piece(""), Piece(f"{rule_line(rule, 0).name}: rows that explain it{more}", head=True), *map(Piece, rows)]


def _table(rows: list[tuple[str, ...]], lines: list[Line], reaches: list[tuple[float, float]], width: int) -> list[Piece]:
    """Columns, then the forest plot and the verdict; where it does not fit, what is least missed goes first."""
    columns = list(range(len(rows[0])))
    room = 0
    for dropped in ((), (1,), (3,), (2,), (4,)):
        columns = [place for place in columns if place not in dropped]
        room = width - sum(max(len(row[place]) for row in rows) + 2 for place in columns) - len("INCONCLUSIVE") - 2
        if room >= _BAR[0]:
            break
    bars = min(room, _BAR[1]) if room >= _BAR[0] and any(_has_bar(line) for line in lines) else 0
    widths = [max(len(row[place]) for row in rows) for place in columns]
    pieces: list[Piece] = []
    for row, line, reach in zip(rows, (None, *lines), (None, *reaches), strict=True):
        cells = [row[place].ljust(size) for place, size in zip(columns, widths, strict=True)]
        if bars:
            cells.append(bar(line, bars, reach) if line and reach else "worse | better".center(bars))
        text = "  ".join([*cells, str(line.verdict) if line else "verdict"])
        pieces.append(Piece(text, tone=line.verdict if line else None, dim=line is None))
    return pieces


def _has_bar(line: Line) -> bool:
    return line.gain.low is not None and line.gain.high is not None


def _fit(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _numbers(line: Line) -> tuple[str, str, str]:
    return number(line.candidate.estimate), number(line.champion.estimate) if line.champion else "-", shown_gain(line.gain)


def _problem(label: str, problem: Problem) -> str:
    return f"{label} [{problem.code}]: {problem.what}"
