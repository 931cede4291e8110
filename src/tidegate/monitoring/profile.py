"""Profiles: each column of a reference as counts per temporal window, small enough to keep and to compare with. Pure.

A number is counted in ten bins of equal counts over the whole reference; a text in its thirty most frequent values and one
bin for all others. The windows' counts are kept apart: their differences are what healthy change looks like, from which
``stats.drift`` calibrates thresholds.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.stats.drift import category_counts, histogram, quantile_edges

BINS = 10
TOP_CATEGORIES = 30
KNOWN_CATEGORIES = 20_000
"""More distinct values than this are an identifier: unseen ones mean nothing."""


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the reference: [w, b] counts of ``w`` temporal windows over ``b`` bins."""

    name: str
    kind: Literal["number", "category"]
    edges: list[float] = []
    categories: list[str] = []
    known: list[str] = []
    """Every value of a category column; empty if there are too many."""
    counts: list[list[int]] = []
    nulls: list[list[int]] = []
    """Per window: rows with a null, rows without."""
    unseen: list[float] = []
    """Per window: share of rows whose value occurs in no other window."""

    def count(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Counts of later values over the same bins; nulls are left out."""
        if self.kind == "number":
            return histogram(numbers(values), self.edges)
        return category_counts(texts(values), self.categories)


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """``monitoring/<model>/reference/<digest>.json``: what a reference looks like, column by column."""

    snapshot: str
    rows: int
    windows: int
    columns: dict[str, ColumnProfile]


def window_index(times: NDArray[Any], length: int, offset: int) -> NDArray[np.int64]:
    """For each time (datetime64) the number of its window, 0, 1, ..., in the order of time; empty windows have no number."""
    us = np.asarray(times, dtype="datetime64[us]").astype(np.int64)
    return np.unique((us - offset) // length, return_inverse=True)[1].astype(np.int64)


def profile_column(name: str, values: NDArray[Any], windows: NDArray[np.int64], *, text: bool) -> ColumnProfile:
    """The profile of one column; ``windows`` gives each row's window number, ``text`` says that it is a category."""
    missing = nulls(values)
    total = int(windows.max()) + 1 if windows.size else 0
    gaps = np.stack([np.bincount(windows[missing], minlength=total), np.bincount(windows[~missing], minlength=total)], axis=1)
    present, where = values[~missing], windows[~missing]
    if text:
        return _category_profile(name, texts(present), where, total, gaps.tolist())
    data = numbers(present)
    edges = quantile_edges(data, BINS)
    bins = np.searchsorted(edges, data, side="right")
    return ColumnProfile(
        name=name, kind="number", edges=edges.tolist(), counts=_table(where, bins, total, edges.size + 1), nulls=gaps.tolist()
    )


def _category_profile(
    name: str, values: NDArray[Any], windows: NDArray[np.int64], total: int, gaps: list[list[int]]
) -> ColumnProfile:
    distinct, codes = np.unique(values, return_inverse=True)
    order = np.argsort(-np.bincount(codes, minlength=distinct.size), kind="stable")
    rank = np.empty(distinct.size, dtype=np.int64)
    rank[order] = np.arange(distinct.size)
    bins = np.minimum(rank[codes], TOP_CATEGORIES) if distinct.size else np.empty(0, dtype=np.int64)
    top = distinct[order][:TOP_CATEGORIES]
    few = distinct.size <= KNOWN_CATEGORIES
    return ColumnProfile(
        name=name, kind="category", categories=top.tolist(), known=distinct.tolist() if few else [],
        counts=_table(windows, np.minimum(bins, top.size), total, top.size + 1), nulls=gaps,
        unseen=_unseen_shares(codes, windows, total) if few else [],
    )  # fmt: skip


def _unseen_shares(codes: NDArray[np.int64], windows: NDArray[np.int64], total: int) -> list[float]:
    """Per window the share of rows whose value occurs in this window alone."""
    pairs = np.unique(np.stack([codes, windows], axis=1), axis=0)
    homes = np.bincount(pairs[:, 0], minlength=int(codes.max()) + 1 if codes.size else 0)
    alone = homes[codes] == 1
    rows = np.maximum(np.bincount(windows, minlength=total), 1)
    return (np.bincount(windows[alone], minlength=total) / rows).tolist()


def _table(windows: NDArray[np.int64], bins: NDArray[Any], total: int, width: int) -> list[list[int]]:
    return np.bincount(windows * width + bins, minlength=total * width).reshape(total, width).tolist()


def nulls(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a column has None, NaN or NaT."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind == "O":
        return np.array([value is None or value != value for value in values], dtype=bool)  # noqa: PLR0124  NaN differs from itself
    return np.zeros(values.shape, dtype=bool)


def numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    """A column as float64; what is no number is NaN."""
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def texts(values: NDArray[Any]) -> NDArray[np.str_]:
    """A column as texts, without its nulls."""
    return values[~nulls(values)].astype(str)
