"""Forest plots: ``[--o--]`` is the interval of a gain, ``|`` no difference, ``:`` the bound that it must clear.

Rules have different units, so each has a scale of its own; the slices of one rule share theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.gate.render.lines import Line

LEGEND = "[--o--] gain and interval (at least, at most: room to that value), | 0, : the bound to clear; right is better"


def reach_of(lines: Sequence[Line]) -> tuple[float, float]:
    """The scale that holds all intervals, the bounds and zero, with a little room."""
    points = [0.0, *(line.bound for line in lines)]
    points += [end for line in lines for end in (line.gain.low, line.gain.high) if end is not None]
    left, right = min(points), max(points)
    room = 0.06 * ((right - left) or 1.0)
    return left - room, right + room


def bar(line: Line, width: int, reach: tuple[float, float]) -> str:
    """One line in ``width`` characters; blank where there is no interval."""
    gain = line.gain
    if gain.estimate is None or gain.low is None or gain.high is None:
        return " " * width
    left, right = reach

    def place(value: float) -> int:
        return min(max(round((value - left) / (right - left) * (width - 1)), 0), width - 1)

    cells = [" "] * width
    low, high = place(gain.low), place(gain.high)
    cells[low : high + 1] = "-" * (high - low + 1)
    cells[low], cells[high] = "[", "]"
    cells[place(0.0)] = "|"
    if line.bound:
        cells[place(line.bound)] = ":"
    cells[place(gain.estimate)] = "o"
    return "".join(cells)
