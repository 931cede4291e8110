"""Sums over clusters within groups, kept only for those that occur, so that portions of rows can be added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tidegate.stats.estimate import Codes, Floats
from tidegate.stats.moments import group_sums

_BITS = 40
"""Of a key, for the cluster; the others are the group's."""


class UnitSums(NamedTuple):
    """Sums of k columns over units: the rows of one cluster in one group. Sorted by group, then by cluster."""

    keys: Codes
    """[m]"""
    sums: Floats
    """[m, k]"""

    def of(self, place: int) -> Floats:
        """[units, k] sums of the units of one group."""
        start, end = np.searchsorted(self.keys, [place << _BITS, (place + 1) << _BITS])
        return self.sums[start:end]


class UnitPlaces(NamedTuple):
    """The different units of some rows, and which of them each row belongs to."""

    keys: Codes
    places: Codes

    def sums(self, columns: Sequence[Floats]) -> UnitSums:
        """Sums of [n] columns by unit."""
        return UnitSums(self.keys, np.stack([group_sums(column, self.places, len(self.keys)) for column in columns], axis=-1))


def find_units(clusters: Codes, groups: Codes | None = None) -> UnitPlaces:
    """The units of [n] rows by the codes of their cluster and group, 0 to below 2^40 and 2^23."""
    if groups is None:
        keys = clusters.astype(np.int64, copy=False)
        size = int(keys.max(initial=0)) + 1
        if size <= 2 * len(keys):  # counting beats sorting
            present = np.flatnonzero(np.bincount(keys, minlength=size))
            where = np.empty(size, dtype=np.int64)
            where[present] = np.arange(len(present))
            return UnitPlaces(present, where[keys])
    else:
        keys = (groups.astype(np.int64) << _BITS) | clusters
    found, places = np.unique(keys, return_inverse=True)
    return UnitPlaces(found, places)


def merge_units(first: UnitSums, second: UnitSums) -> UnitSums:
    """Sums of the rows of both."""
    keys, places = np.unique(np.concatenate([first.keys, second.keys]), return_inverse=True)
    sums = np.zeros((len(keys), first.sums.shape[1]))
    sums[places[: len(first.keys)]] = first.sums
    sums[places[len(first.keys) :]] += second.sums
    return UnitSums(keys, sums)
