"""Rows that are counted by what they are: a sparse table of the codes that occur, by group and cluster, which can be added up.

A code says what one row adds to a metric (label, decision of one model, decision of the other); how many different ones there
are does not grow with the rows, so neither does the table, except by clusters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.stats.estimate import POWERS, Codes, Floats

_DENSE = 1 << 16
Whole = NDArray[np.int64]


class Tally(NamedTuple):
    """How often each code occurs; [U] each, sorted by group, then code, then cluster.

    Of rows with weights the sums of their first to fifth power [U, 5] and the largest [U] are kept, too, in units of ``unit`` (a power
    of two near the largest of all), so that no power is too large or too small to be held.
    """

    groups: Whole
    codes: Whole
    clusters: Whole | None
    counts: Whole
    powers: Floats | None = None
    largest: Floats | None = None
    unit: float = 1.0

    @property
    def amounts(self) -> Floats:
        """[U] sums of weights; without weights the counts."""
        return self.counts.astype(np.float64) if self.powers is None else self.powers[:, 0]

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return int(self.counts.sum())

    def only(self, chosen: Any) -> Tally:
        """Some of its lines."""
        found = [None if column is None else column[chosen] for column in self[:6]]
        return Tally(*found, unit=self.unit)  # pyright: ignore[reportArgumentType]

    def measured_in(self, unit: float) -> Tally:
        """The same weights in another unit."""
        if self.powers is None or self.largest is None or unit == self.unit:
            return self
        ratio = self.unit / unit
        return self._replace(powers=self.powers * ratio ** np.arange(1, POWERS + 1), largest=self.largest * ratio, unit=unit)


def tally(
    codes: Codes,
    *,
    base: int,
    groups: Codes | None = None,
    size: int = 1,
    clusters: Codes | None = None,
    weights: Floats | None = None,
) -> Tally:
    """Counts [n] codes below ``base``, by [n] groups below ``size`` and by clusters; one pass where the table is small."""
    unit = _unit(weights)
    weights = None if weights is None else weights / unit
    many = 1 if clusters is None else int(clusters.max(initial=-1)) + 1
    if base * size * max(many, 1) >= 1 << 62:
        wide = _tally_wide(codes, groups=groups, size=size, clusters=clusters, weights=weights)
        return wide._replace(unit=wide.unit * unit)
    keys = codes if groups is None else groups.astype(np.int64) * base + codes
    if clusters is not None:
        keys = keys.astype(np.int64) * many + clusters
    room = base * size * max(many, 1)
    present: Any
    if room <= max(_DENSE, 4 * codes.size):
        counts = np.bincount(keys, minlength=room)
        present = np.flatnonzero(counts)
        sums = None if weights is None else _dense_weights(keys, weights, present, room)
        counted = counts[present]
    else:
        present, inverse, counted = np.unique(keys, return_inverse=True, return_counts=True)
        sums = None if weights is None else _dense_weights(inverse, weights, np.arange(present.size), present.size)
    inner, cluster = np.divmod(present, many) if clusters is not None else (present, None)
    group, code = np.divmod(inner, base)
    whole = [each.astype(np.int64) for each in (group, code)]
    return Tally(whole[0], whole[1], cluster, counted.astype(np.int64), *(sums or (None, None)), unit=unit)


def merge(first: Tally, second: Tally) -> Tally:
    """The counts of two portions of rows together."""
    unit = max(first.unit, second.unit)
    first, second = first.measured_in(unit), second.measured_in(unit)
    groups, codes = (np.concatenate([a, b]) for a, b in zip(first[:2], second[:2], strict=True))
    clusters = None if first.clusters is None or second.clusters is None else np.concatenate([first.clusters, second.clusters])
    order = np.lexsort((codes, groups) if clusters is None else (clusters, codes, groups))
    groups, codes, clusters = groups[order], codes[order], None if clusters is None else clusters[order]
    fresh = np.ones(groups.size, dtype=np.bool_)
    fresh[1:] = (np.diff(groups) != 0) | (np.diff(codes) != 0) | (False if clusters is None else np.diff(clusters) != 0)
    starts = np.flatnonzero(fresh)

    def folded(place: int, how: Any = np.add) -> Any:
        one, two = first[place], second[place]
        if one is None or two is None:
            return None
        both = np.concatenate([one, two])[order]
        return how.reduceat(both, starts, axis=0) if starts.size else both

    kept = None if clusters is None else clusters[starts]
    return Tally(groups[starts], codes[starts], kept, folded(3), folded(4), folded(5, np.maximum), unit)


def part(whole: Tally, group: int) -> Tally:
    """The counts of one group."""
    a, b = np.searchsorted(whole.groups, [group, group + 1])
    return whole.only(slice(int(a), int(b)))


def _unit(weights: Floats | None) -> float:
    largest = 0.0 if weights is None else float(weights.max(initial=0.0))
    return float(2.0 ** np.round(np.log2(largest))) if largest > 0 else 1.0


def _dense_weights(keys: Codes, weights: Floats, present: Codes, room: int) -> tuple[Floats, Floats]:
    sums = [np.bincount(keys, weights=weights**power, minlength=room)[present] for power in range(1, POWERS + 1)]
    largest: Floats = np.zeros(room)
    np.maximum.at(largest, keys, weights)
    return np.stack(sums, axis=1).astype(np.float64), largest[present]


def _tally_wide(codes: Codes, *, groups: Codes | None, size: int, clusters: Codes | None, weights: Floats | None) -> Tally:
    """Where a key of group, code and cluster would not fit into 64 bits: codes are numbered by themselves first."""
    known, small = np.unique(codes, return_inverse=True)
    found = tally(small, base=known.size, groups=groups, size=size, clusters=clusters, weights=weights)
    return found._replace(codes=known.astype(np.int64)[found.codes])
