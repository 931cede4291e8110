"""Sums from which a smooth function of means gets its interval: they can be taken portion by portion, and of many groups at once.

A unit is what varies independently: a row, or the sum of a cluster's rows. A unit is k numbers; with weights or clusters the
first of them is its weight and the others are sums of weighted values, so that means become ratios of means of units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tidegate.stats.estimate import POWERS, Codes, Floats


class Moments(NamedTuple):
    """[size] groups of units: how many, the means of their k numbers, and summed products of deviations from these means."""

    number: Floats
    """[size]"""
    mean: Floats
    """[size, k]"""
    second: Floats
    """[size, k, k]"""
    third: Floats
    """[size, k, k, k]"""
    powers: Floats
    """[size, 5] sums of the first to fifth power of the units' sizes: how uneven they are."""

    def of(self, place: int) -> Moments:
        """One group alone."""
        return Moments(*(part[place : place + 1] for part in self))


def gather_moments(columns: Sequence[Floats], groups: Codes | None = None, size: int = 1, sizes: Floats | None = None) -> Moments:
    """Moments of units given as k arrays [n]. ``groups``: [n] codes below ``size``; ``sizes``: [n], None where all are alike."""
    length = len(columns[0])
    count = np.array([length], dtype=np.float64) if groups is None else np.bincount(groups, minlength=size).astype(np.float64)
    total = np.stack([group_sums(column, groups, size) for column in columns], axis=-1)
    mean = total / np.maximum(count, 1)[:, None]
    apart = [column - (mean[0, place] if groups is None else mean[:, place][groups]) for place, column in enumerate(columns)]
    k = len(columns)
    second, third = np.empty((size, k, k)), np.empty((size, k, k, k))
    for i in range(k):
        for j in range(i, k):
            product = apart[i] * apart[j]
            second[:, i, j] = second[:, j, i] = group_sums(product, groups, size)
            for m in range(j, k):
                found = product @ apart[m] if groups is None else group_sums(product * apart[m], groups, size)
                for one, two, three in ((i, j, m), (i, m, j), (j, i, m), (j, m, i), (m, i, j), (m, j, i)):
                    third[:, one, two, three] = found
    return Moments(count, mean, second, third, _powers(count, sizes, groups, size))


def merge_moments(first: Moments, second: Moments) -> Moments:
    """Moments of the units of both, group by group.

    Source: Chan, Golub & LeVeque, The American Statistician 37 (1983); third order: Pebay, Sandia report SAND2008-6212.
    """
    count = first.number + second.number
    share = np.divide(second.number, count, out=np.zeros_like(count), where=count > 0)[:, None]
    mean = first.mean + share * (second.mean - first.mean)
    squares, cubes = np.zeros_like(first.second), np.zeros_like(first.third)
    for part in (first, second):
        shift = part.mean - mean
        outer = np.einsum("si,sj->sij", shift, shift)
        squares += part.second + part.number[:, None, None] * outer
        mixed = np.einsum("si,sjm->sijm", shift, part.second)
        cubes += part.third + mixed + mixed.transpose(0, 2, 1, 3) + mixed.transpose(0, 2, 3, 1)
        cubes += part.number[:, None, None, None] * np.einsum("sij,sm->sijm", outer, shift)
    return Moments(count, mean, squares, cubes, first.powers + second.powers)


def group_sums(values: Floats, groups: Codes | None, size: int) -> Floats:
    """[size] sums of [n] values by group."""
    if groups is None:
        return np.array([values.sum()])
    return np.bincount(groups, weights=values, minlength=size).astype(np.float64)


def _powers(count: Floats, sizes: Floats | None, groups: Codes | None, size: int) -> Floats:
    if sizes is None:
        return np.repeat(count[:, None], POWERS, axis=1)
    found, power = np.empty((len(count), POWERS)), np.ones_like(sizes)
    with np.errstate(over="ignore"):  # what is infinite allows no interval later
        for place in range(POWERS):
            power = power * sizes
            found[:, place] = group_sums(power, groups, size)
    return found
