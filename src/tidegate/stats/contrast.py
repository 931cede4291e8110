"""Intervals put together from those of two paired values: of their difference, and of one that is shifted by a share of one value."""

from __future__ import annotations

from math import isfinite, sqrt

from tidegate.stats.estimate import Estimate


def shifted(difference: Estimate, candidate: Estimate, champion: Estimate, share: float) -> Estimate:
    """The difference (candidate minus champion) plus ``share`` times the champion's value, with its interval.

    This is candidate - (1 - share) champion: the champion's share is as uncertain as the champion, and it moves together with
    the difference. Each end is put together from the ends of the parts and from the correlation of difference and champion, which
    follows from the three intervals: 2 cov(difference, champion) = var(candidate) - var(champion) - var(difference).
    Where it cannot be told, the worst correlation is taken.

    Source: Zou & Donner, Statistics in Medicine 27 (2008), 1693-1702; for dependent parts: Zou, Psychological Methods 12 (2007), equation 15.
    """
    ends = (champion.low * share, champion.high * share)
    moved = Estimate(champion.value * share, min(ends), max(ends), champion.df)
    together = _correlation(difference, candidate, champion) * (1 if share >= 0 else -1)
    value = difference.value + moved.value
    below = _joined(difference.value - difference.low, moved.value - moved.low, together)
    above = _joined(difference.high - difference.value, moved.high - moved.value, together)
    return Estimate(value, value - below, value + above, min(difference.df, champion.df))


def apart(first: float, second: float, correlation: float) -> float:
    """The half width of a difference, from those of two values that vary together; by Zou & Donner the two that point apart."""
    return sqrt(max(first * first - 2 * correlation * first * second + second * second, 0.0))


def _correlation(difference: Estimate, candidate: Estimate, champion: Estimate) -> float:
    """Of difference and champion, from the widths of three intervals; where it cannot be told, NaN (see ``_joined``)."""
    change, ours, theirs = ((each.high - each.low) / 2 for each in (difference, candidate, champion))
    if not (isfinite(change) and isfinite(ours) and isfinite(theirs)) or change <= 0 or theirs <= 0:
        return float("nan")
    return min(max((ours * ours - theirs * theirs - change * change) / (2 * change * theirs), -1.0), 1.0)


def _joined(first: float, second: float, correlation: float) -> float:
    if correlation != correlation:  # noqa: PLR0124 - NaN: the worst is that both err together
        return first + second
    return sqrt(max(first * first + second * second + 2 * correlation * first * second, 0.0))
