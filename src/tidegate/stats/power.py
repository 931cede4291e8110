"""How many rows it takes.

*Spread* is the standard error of a gain times the root of the rows: what one row would tell. *Distance* is how far the truth lies
on the good side of the bound. Everything here is the normal approximation.

Source: Chow, Shao & Wang, Sample Size Calculations in Clinical Research, section 4.2.
"""

from __future__ import annotations

from math import ceil, isfinite, sqrt

from tidegate.stats.distributions import special
from tidegate.stats.estimate import Estimate, critical
from tidegate.stats.proportions import restricted_variance

POWER = 0.8
_MOST = 100
_STEPS = 50


def more_rows(estimate: Estimate, bound: float, rows: int, *, confidence: float, power: float = POWER) -> int | None:
    """About how many more rows would put ``bound`` outside the interval, with probability ``power``.

    The truth is taken to be the estimate and the standard error to shrink with the root of the rows. None where the estimate
    stands on the bound itself, or a hundred times the rows would not do.
    """
    gap = abs(estimate.value - bound)
    half = estimate.value - estimate.low if bound < estimate.value else estimate.high - estimate.value
    if not (isfinite(gap) and isfinite(half)) or gap == 0 or half <= 0:
        return None
    error = half / critical(confidence, estimate.df)
    ratio = (critical(confidence) + float(special().ndtri(power))) * error / gap
    needed = rows * ratio * ratio
    return max(ceil(needed) - rows, 1) if needed < _MOST * rows else None


def rows_for(spread: float, distance: float, *, alpha: float, power: float = POWER, null: float | None = None) -> int:
    """Rows that put the lower end of the interval beyond the bound with probability ``power``; one-sided at ``alpha``.

    All but the rates are in the metric's unit, and positive. ``null``: the spread if the truth were the bound, where that is another.
    """
    over = -float(special().ndtri(alpha)) * (spread if null is None else null) + float(special().ndtri(power)) * spread
    return ceil((over / distance) ** 2)


def power_at(spread: float, distance: float, rows: int, *, alpha: float, null: float | None = None) -> float:
    """Probability that so many rows prove it."""
    score = distance * sqrt(rows) + float(special().ndtri(alpha)) * (spread if null is None else null)
    return float(special().ndtr(score / spread))


def detectable(spread: float, rows: int, *, alpha: float, power: float = POWER) -> float:
    """The least distance from the bound that so many rows prove with probability ``power``."""
    return float(special().ndtri(power) - special().ndtri(alpha)) * spread / sqrt(rows)


def paired_null(discordant: float, gain: float, bound: float) -> float:
    """The spread of a paired difference of shares if the truth were ``bound``, seen where models disagree on a share of rows.

    The score test's variance is that of its hypothesis: wider than the one at the truth where few rows differ.
    Source: Nam, Biometrics 53 (1997), sample size for the score test.
    """
    gained, lost = (discordant + gain) / 2, (discordant - gain) / 2
    return sqrt(max(restricted_variance(max(gained, 0.0), max(lost, 0.0), 1.0, bound), 0.0))


def paired_detectable(discordant: float, rows: int, *, alpha: float, power: float = POWER) -> float:
    """The least margin within which so many rows prove two equally accurate models; 1 where they prove none."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        needed = rows_for(sqrt(discordant), middle, alpha=alpha, power=power, null=paired_null(discordant, 0.0, -middle))
        low, high = (low, middle) if needed <= rows else (middle, high)
    return high


def power_each(parts: int, power: float = POWER) -> float:
    """The power that each of several tests needs so that all of them pass together with probability ``power``.

    All must pass (intersection-union), so the chances to miss one add up at worst: beta / parts each (Bonferroni's inequality).
    """
    return 1 - (1 - power) / parts
