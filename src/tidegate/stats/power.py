"""How many rows it takes."""

from __future__ import annotations

from math import ceil, isfinite

from tidegate.stats.distributions import special
from tidegate.stats.estimate import Estimate, critical

POWER = 0.8
_MOST = 100


def more_rows(estimate: Estimate, bound: float, rows: int, *, confidence: float, power: float = POWER) -> int | None:
    """About how many more rows would put ``bound`` outside the interval, with probability ``power``.

    The truth is taken to be the estimate and the standard error to shrink with the root of the rows. None where the estimate
    stands on the bound itself, or a hundred times the rows would not do.

    Source: Chow, Shao & Wang, Sample Size Calculations in Clinical Research, section 4.2.
    """
    gap = abs(estimate.value - bound)
    half = estimate.value - estimate.low if bound < estimate.value else estimate.high - estimate.value
    if not (isfinite(gap) and isfinite(half)) or gap == 0 or half <= 0:
        return None
    error = half / critical(confidence, estimate.df)
    ratio = (critical(confidence) + float(special().ndtri(power))) * error / gap
    needed = rows * ratio * ratio
    return max(ceil(needed) - rows, 1) if needed < _MOST * rows else None


def paired_rows(discordant: float, margin: float, *, alpha: float = 0.05, power: float = POWER) -> int:
    """Rows for proving "not worse by ``margin``" of two equally accurate models that disagree on a share of rows.

    One-sided at ``alpha``: n = (z_alpha + z_power)^2 discordant / margin^2.
    Source: Nam, Biometrics 53 (1997); normal approximation at equality.
    """
    quantiles = float(special().ndtri(1 - alpha) + special().ndtri(power))
    return ceil(quantiles * quantiles * discordant / (margin * margin))
