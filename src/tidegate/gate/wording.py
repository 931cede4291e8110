"""Numbers and lists as people read them."""

from __future__ import annotations

from collections.abc import Sequence

_NOUNS = {"ranking": "queries", "scores": "items"}


def noun_of(task: str, test: str = "") -> str:
    """What evidence is counted in: rows, queries or items. Labels are counted by row, whatever the task."""
    return "rows" if test == "label_coverage" else _NOUNS.get(task, "rows")


def amount(task: str, rows: int, units: int | None) -> str:
    """How much evidence there is, such as ``200 queries (1,000 rows)``. ``units``: queries or items, None where rows are compared."""
    if units is None:
        return f"{rows:,} rows"
    return f"{units:,} {noun_of(task)}" + (f" ({rows:,} rows)" if rows != units else "")


def rounded(value: float, digits: int = 4, *, sign: str = "") -> str:
    """A number with so many significant digits; a large one with all its digits before the point, never as 1.8e+05."""
    large = 10.0**digits <= abs(value) < 1e12
    return f"{value:{sign},.0f}" if large else f"{value + 0.0:{sign}.{digits}g}"


def about(count: int) -> str:
    """A count that is estimated: two significant digits, as the estimate is no better than that."""
    return f"{int(float(f'{count:.2g}')):,}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def capital(text: str) -> str:
    """A text as the beginning of a sentence."""
    return f"{text[0].upper()}{text[1:]}"
