"""Curves of a report as SVG: complete without a script, and readable by one (points in ``d``, scales in ``data-``)."""

from __future__ import annotations

import math
from typing import NamedTuple

from tidegate.gate.render.lines import number
from tidegate.gate.render.safe import html
from tidegate.gate.wording import rounded
from tidegate.records.report import Curve, Report

_WIDTH, _HEIGHT = 380, 320
_LEFT, _TOP, _RIGHT, _BOTTOM = 52, 12, 14, 44
_ACROSS, _UP = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_TICKS = 5
_OUTCOMES = {
    "right": "both right",
    "wrong": "both wrong",
    "gained": "only the candidate right",
    "lost": "only the champion right",
}
_TITLES = {
    "roc": ("Found against false alarms", "false alarms (share of negatives)", "found (share of positives)"),
    "pr": ("Precision against recall", "found (recall)", "right when it says yes (precision)"),
    "calibration": ("What it says against what happens", "mean prediction", "mean of the label"),
    "residuals": ("How wrong it is", "share of rows", "prediction minus label, at most"),
    "scatter": ("Both models on the same rows", "champion", "candidate"),
}


class Frame(NamedTuple):
    """The ranges of both axes."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> str:
        """Data to the picture's coordinates."""
        across = _LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * _ACROSS
        return f"{across:.1f} {_TOP + (self.y[1] - y) / (self.y[1] - self.y[0]) * _UP:.1f}"


class Series(NamedTuple):
    """One line or cloud of points: its name for readers and its class for the style."""

    name: str
    style: str
    x: list[float]
    y: list[float]
    rows: list[float]


def figures(report: Report) -> str:
    """Every curve as a figure; empty if there is none."""
    drawn = [_figure(curve) for curve in report.curves if curve.kind in _TITLES and curve.candidate_x]
    return f'<div class="figures">{"".join(drawn)}</div>' if drawn else ""


def _figure(curve: Curve) -> str:
    title, across, up = _TITLES[curve.kind]
    series = _scatter(curve) if curve.kind == "scatter" else _two(curve)
    frame = _frame(curve, series)
    caption = _caption(curve)
    marks = "".join(_marks(curve.kind, each, frame) for each in series)
    box = f"{_LEFT} {_TOP} {_ACROSS} {_UP}"
    scales = f'data-box="{box}" data-x="{frame.x[0]:g} {frame.x[1]:g}" data-y="{frame.y[0]:g} {frame.y[1]:g}"'
    legend = "".join(
        f'<span class="key {each.style}"><svg viewBox="0 0 22 10" aria-hidden="true">{_key(curve.kind, each.style)}</svg>{each.name}</span>'
        for each in series
    )
    return (
        f'<figure><figcaption>{title}</figcaption><p class="legend">{legend}</p>'
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html(f"{title}. {caption}")}" '
        f'data-plot data-across="{html(across)}" data-up="{html(up)}" {scales}>'
        f"{_axes(frame, across, up)}{_reference(curve.kind, frame)}{marks}</svg>"
        f"<p>{html(caption)}</p></figure>"
    )


def _two(curve: Curve) -> list[Series]:
    ours = Series("candidate", "ours", curve.candidate_x, curve.candidate_y, curve.candidate_weight)
    if not curve.champion_x:
        return [ours]
    return [Series("champion", "theirs", curve.champion_x, curve.champion_y, curve.champion_weight), ours]


def _scatter(curve: Curve) -> list[Series]:
    if not curve.label:
        return [Series("a row", "row", curve.candidate_x, curve.candidate_y, [])]
    found: list[Series] = []
    for word, name in _OUTCOMES.items():
        places = [place for place, label in enumerate(curve.label) if label == word]
        if places:
            found.append(Series(name, word, [curve.candidate_x[i] for i in places], [curve.candidate_y[i] for i in places], []))
    return found


def _frame(curve: Curve, series: list[Series]) -> Frame:
    x = [value for each in series for value in each.x]
    y = [value for each in series for value in each.y]
    if min(x) >= 0 and max(x) <= 1 and min(y) >= 0 and max(y) <= 1:
        return Frame((0.0, 1.0), (0.0, 1.0))
    if curve.kind == "residuals":
        return Frame((0.0, 1.0), _round_range(y))
    same = _round_range(x + y)
    return Frame(same, same)


def _round_range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    step = _step(low, high)
    return math.floor(low / step) * step, (math.floor(high / step) + 1) * step


def _step(low: float, high: float) -> float:
    """A distance of ticks that is 1, 2 or 5 times a power of ten."""
    rough = ((high - low) or abs(high) or 1.0) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough)


def _ticks(ends: tuple[float, float]) -> list[float]:
    step = 0.2 if ends == (0.0, 1.0) else _step(*ends)
    count = round((ends[1] - ends[0]) / step)
    return [ends[0] + place * step for place in range(count + 1)]


def _axes(frame: Frame, across: str, up: str) -> str:
    parts: list[str] = []
    for tick in _ticks(frame.x):
        x = frame.at(tick, frame.y[0]).split()[0]
        parts.append(
            f'<path class="grid" d="M{x} {_TOP}V{_TOP + _UP}"/><text x="{x}" y="{_TOP + _UP + 16}">{_tick(tick, frame.x)}</text>'
        )
    for tick in _ticks(frame.y):
        y = frame.at(frame.x[0], tick).split()[1]
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y}H{_LEFT + _ACROSS}"/>'
            f'<text class="end" x="{_LEFT - 6}" y="{float(y) + 4:.1f}">{_tick(tick, frame.y)}</text>'
        )
    middle = _TOP + _UP / 2
    parts.append(f'<text class="axis" x="{_LEFT + _ACROSS / 2:g}" y="{_HEIGHT - 8}">{html(across)}</text>')
    parts.append(f'<text class="axis" x="12" y="{middle:g}" transform="rotate(-90 12 {middle:g})">{html(up)}</text>')
    return f'<g aria-hidden="true">{"".join(parts)}</g>'


def _tick(value: float, ends: tuple[float, float]) -> str:
    digits = max(0, -math.floor(math.log10(_step(*ends))))
    return f"{value + 0.0:,.{digits}f}" if abs(value) < 1e7 else rounded(value, 3)


def _reference(kind: str, frame: Frame) -> str:
    """What the eye compares with: no better than chance, what is said happens, both say the same, no error."""
    if kind in {"roc", "calibration", "scatter"}:
        return f'<path class="even" d="M{frame.at(frame.x[0], frame.y[0])}L{frame.at(frame.x[1], frame.y[1])}"/>'
    if kind == "residuals" and frame.y[0] < 0 < frame.y[1]:
        return f'<path class="even" d="M{frame.at(0, 0)}L{frame.at(1, 0)}"/>'
    return ""


def _marks(kind: str, series: Series, frame: Frame) -> str:
    points = [frame.at(x, y) for x, y in zip(series.x, series.y, strict=True)]
    name = html(series.name)
    if kind == "scatter":
        return f'<path class="dots {series.style}" data-name="{name}" d="{"".join(f"M{point}h0" for point in points)}"/>'
    line = f'<path class="line {series.style}" data-name="{name}" d="M{"L".join(points)}"/>'
    if kind == "calibration":
        line += f'<path class="dots {series.style}" d="{"".join(f"M{point}h0" for point in points)}"/>'
    return line


def _key(kind: str, style: str) -> str:
    if kind == "scatter":
        return f'<path class="dots {style}" d="M11 5h0"/>'
    return f'<path class="line {style}" d="M1 5H21"/>'


def _caption(curve: Curve) -> str:
    """What the picture says, in words."""
    said = {
        "roc": "Nearer to the upper left corner is better; the thin line is guessing. " + _found_at(curve, 0.1),
        "pr": "Higher is better. " + _precise_at(curve, 0.5),
        "calibration": "On the thin line, what it says is what happens: below it says too much, above too little.",
        "residuals": "Nearer to 0 is better. " + _half_within(curve),
        "scatter": f"On the thin line both say the same. Shown: {curve.note}.",
    }[curve.kind]
    return said.strip()


def _found_at(curve: Curve, alarms: float) -> str:
    ours = _between(curve.candidate_x, curve.candidate_y, alarms)
    said = f"With {alarms:.0%} false alarms the candidate finds {ours:.0%} of the positives"
    return said + (f", the champion {_between(curve.champion_x, curve.champion_y, alarms):.0%}." if curve.champion_x else ".")


def _precise_at(curve: Curve, found: float) -> str:
    ours = _between(curve.candidate_x, curve.candidate_y, found)
    said = f"To find {found:.0%} of the positives, {ours:.0%} of what the candidate calls positive is"
    return said + (
        f", and {_between(curve.champion_x, curve.champion_y, found):.0%} of the champion's." if curve.champion_x else "."
    )


def _half_within(curve: Curve) -> str:
    def middle(y: list[float]) -> str:
        ends = [y[round(share * (len(y) - 1))] for share in (0.25, 0.75)]
        return f"{number(ends[0])} to {number(ends[1])}"

    said = f"Half of the candidate's errors lie from {middle(curve.candidate_y)}"
    return said + (f", of the champion's from {middle(curve.champion_y)}." if curve.champion_y else ".")


def _between(x: list[float], y: list[float], at: float) -> float:
    """The line's height at ``at``; ``x`` does not fall."""
    place = next((index for index, value in enumerate(x) if value >= at), len(x) - 1)
    if place == 0 or x[place] == x[place - 1]:
        return y[place]
    share = min(max((at - x[place - 1]) / (x[place] - x[place - 1]), 0.0), 1.0)
    return y[place - 1] + share * (y[place] - y[place - 1])
