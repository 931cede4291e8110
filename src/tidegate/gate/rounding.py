"""Numbers as people read them."""

from __future__ import annotations


def rounded(value: float, digits: int = 4, *, sign: str = "") -> str:
    """A number with so many significant digits; a large one with all its digits before the point, never as 1.8e+05."""
    large = 10.0**digits <= abs(value) < 1e12
    return f"{value:{sign},.0f}" if large else f"{value + 0.0:{sign}.{digits}g}"
