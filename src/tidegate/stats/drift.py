"""Change of a distribution: histograms over fixed bins, distances between them, and thresholds calibrated on healthy time.

A fixed threshold is wrong at every sample size but one: ten bins of 100 unchanged rows exceed ``JS > 0.1`` three times
in four. So the null distribution of a distance is taken from temporal windows of the reference itself, at the actual
number of rows; see ``calibrated_threshold``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tidegate.stats.distributions import special
from tidegate.stats.estimate import Floats

Counts: TypeAlias = NDArray[np.int64]
Distance: TypeAlias = Callable[[ArrayLike, ArrayLike], Any]

DRAWS = 2000


def quantile_edges(values: ArrayLike, bins: int) -> Floats:
    """Inner edges that cut ``values`` into at most ``bins`` bins of about equal counts; ties give fewer.

    The outer bins are open, so ``k`` edges make ``k + 1`` bins and every later value has one. NaN is left out;
    no finite value gives no edge.
    """
    data = np.asarray(values, dtype=np.float64).ravel()
    data = data[np.isfinite(data)]
    if data.size == 0:
        return np.empty(0)
    cuts: Floats = np.unique(np.quantile(data, np.linspace(0, 1, bins + 1)[1:-1]))
    return cuts[cuts > data.min()]


def histogram(values: ArrayLike, edges: ArrayLike) -> Counts:
    """Counts of ``values`` in the ``len(edges) + 1`` bins (-inf, e0), [e0, e1), ..., [ek, inf). NaN is left out."""
    cuts = np.asarray(edges, dtype=np.float64)
    data = np.asarray(values, dtype=np.float64).ravel()
    data = data[~np.isnan(data)]
    return np.bincount(np.searchsorted(cuts, data, side="right"), minlength=cuts.size + 1).astype(np.int64)


def category_counts(values: ArrayLike, categories: Sequence[str]) -> Counts:
    """Counts of each category, compared as text, and last of everything else (unseen values, nulls)."""
    found, counts = np.unique(np.asarray(values, dtype=str).ravel(), return_counts=True)
    seen = dict(zip(found.tolist(), counts.tolist(), strict=True))
    known = [int(seen.pop(str(category), 0)) for category in categories]
    return np.array([*known, sum(seen.values())], dtype=np.int64)


def js_distance(p_counts: ArrayLike, q_counts: ArrayLike) -> Any:
    """Jensen-Shannon distance (base 2, 0 to 1) of two histograms over the same bins; NaN if one of them is empty.

    The last axis holds the bins; leading axes broadcast.
    Source: Endres & Schindelin, A new metric for probability distributions, IEEE Trans. Inf. Theory 49 (2003).
    """
    p, q = _shares(p_counts), _shares(q_counts)
    m = (p + q) / 2
    divergence = (_relative_entropy(p, m) + _relative_entropy(q, m)) / (2 * np.log(2))
    return _scalar(np.sqrt(np.maximum(divergence, 0.0)))


def histogram_quantiles(counts: ArrayLike, edges: ArrayLike, at: ArrayLike) -> Floats:
    """Quantiles by linear interpolation inside bins; those that fall into an open outer bin are its one edge."""
    cuts = np.asarray(edges, dtype=np.float64)
    tally = np.asarray(counts, dtype=np.float64)
    total = tally.sum()
    if cuts.size == 0 or total == 0:
        return np.full(np.shape(at), np.nan)
    below = np.cumsum(tally)[:-1] / total
    return np.asarray(np.interp(np.asarray(at, dtype=np.float64), below, cuts), dtype=np.float64)


def quantile_deltas(p_counts: ArrayLike, q_counts: ArrayLike, edges: ArrayLike, at: ArrayLike = (0.1, 0.5, 0.9)) -> Floats:
    """How far each quantile of ``p`` lies above that of ``q``, in the feature's unit."""
    return histogram_quantiles(p_counts, edges, at) - histogram_quantiles(q_counts, edges, at)


def calibrated_threshold(
    window_counts: ArrayLike,
    n: int,
    alpha: float,
    rng: np.random.Generator,
    *,
    distance: Distance = js_distance,
    draws: int = DRAWS,
) -> float:
    """The distance that a healthy window of ``n`` rows exceeds with probability about ``alpha``.

    The null is the reference's own past: each temporal window is resampled to ``n`` rows (without replacement where it
    has that many) and compared with all the other windows pooled. The threshold is the larger of the empirical quantile and a
    prediction bound over windows, which goes on where w windows say nothing (alpha below 1/w): Student's t with
    Satterthwaite's degrees of freedom, on the root of the distance, which is nearly normal.

    Args:
        window_counts: [w, b] counts of w temporal windows over b bins.
        n: Rows of the window that is to be judged.
        alpha: Accepted probability of a false alarm.
        rng: Injected randomness.
        distance: A distance between histograms; leading axes broadcast.
        draws: Resamples over all windows together.

    Returns:
        The threshold; NaN when fewer than 3 windows have rows or ``n`` is 0: then nothing can be called healthy.

    Source: Satterthwaite, Biometrics Bulletin 2 (1946); prediction interval: Hahn & Meeker, Statistical Intervals, 4.
    """
    windows = np.asarray(window_counts, dtype=np.int64)
    windows = windows[windows.sum(axis=1) > 0]
    w = len(windows)
    if w < 3 or n <= 0:
        return float("nan")
    total = windows.sum(axis=0)
    each = max(draws // w, 20)
    values = np.stack([np.asarray(distance(_resample(window, n, each, rng), total - window)) for window in windows])
    empirical = float(np.quantile(values, 1 - alpha, method="higher"))
    return max(empirical, _prediction_bound(values, alpha))


def _prediction_bound(values: Floats, alpha: float) -> float:
    """Upper prediction bound of one new value from [w, r] resampled values: variance between windows plus within them."""
    roots = np.sqrt(values)
    w, r = roots.shape
    within = float(roots.var(axis=1, ddof=1).mean())
    between = max(float(roots.mean(axis=1).var(ddof=1)) - within / r, 0.0)
    spread = between * (1 + 1 / w) + within
    if spread == 0:
        return float(roots.mean() ** 2)
    uncertainty = (between * (1 + 1 / w)) ** 2 / (w - 1) + within**2 / (w * (r - 1))
    quantile = float(special().stdtrit(spread**2 / uncertainty, 1 - alpha))
    return float((roots.mean() + quantile * np.sqrt(spread)) ** 2)


def _resample(window: Counts, n: int, draws: int, rng: np.random.Generator) -> Counts:
    if window.sum() >= n:
        return rng.multivariate_hypergeometric(window, n, size=draws, method="marginals")
    return rng.multinomial(n, window / window.sum(), size=draws)


def _shares(counts: ArrayLike) -> Floats:
    tally = np.asarray(counts, dtype=np.float64)
    total = tally.sum(axis=-1, keepdims=True)
    return np.divide(tally, total, out=np.full(tally.shape, np.nan), where=total > 0)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    ratio = np.divide(p, q, out=np.ones(np.broadcast_shapes(p.shape, q.shape)), where=(p > 0) & (q > 0))
    terms: Floats = np.where(np.isnan(p + q), np.nan, p * np.log(ratio))
    return terms.sum(axis=-1)


def _scalar(value: Floats) -> Any:
    return float(value) if np.ndim(value) == 0 else value
