"""The confidence sequences of a rollout as text: one line for each stretch of the evidence, ``:`` is the bound."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.records.rollout import Condition, Look
from tidegate.serving.rollout.decide import tell

LEGEND = "[--o--] what is known after so many rows: estimate and interval; | 0, : the bound; held is left of it, harm right of it"

_ENDLESS = ">"


def picture(course: Sequence[Look], *, width: int = 60) -> list[str]:
    """Lines for each condition of the newest look: its sentence, then how it came to be. ``course`` is in the order of time."""
    lines: list[str] = []
    for position, condition in enumerate(course[-1].conditions if course else []):
        path = [look.conditions[position] for look in course]
        lines += [f"{condition.answer}: {tell(condition)}", *_bars(path, width), ""]
    return lines


def _bars(path: Sequence[Condition], width: int) -> list[str]:
    known = [each for each in path if each.value is not None and each.low is not None]
    if not known:
        return [f"  {path[-1].note or 'no rows yet'}"]
    ends = [end for each in known for end in (each.low, each.high, each.value) if end is not None]
    left, right = min(0.0, path[-1].bound, *ends), max(0.0, path[-1].bound, *ends)
    room = 0.04 * (right - left)
    return [f"  {each.rows:>9,}  {_bar(each, width, left - room, right + room)}".rstrip() for each in known]


def _bar(condition: Condition, width: int, left: float, right: float) -> str:
    def place(value: float) -> int:
        return min(max(round((value - left) / (right - left) * (width - 1)), 0), width - 1)

    assert condition.low is not None
    assert condition.value is not None
    cells = [" "] * width
    low, high = place(condition.low), place(right if condition.high is None else condition.high)
    cells[low : high + 1] = "-" * (high - low + 1)
    cells[low], cells[high] = "[", _ENDLESS if condition.high is None else "]"
    cells[place(0.0)] = "|"
    cells[place(condition.bound)] = ":"
    cells[place(condition.value)] = "o"
    return "".join(cells)
