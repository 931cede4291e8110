"""Near duplicates: evaluation rows that resemble a training row.

Two rows are compared column by column: text, truth values, times and what is missing must be equal; numbers differ by |a - b| in units of
the column's spread (from its 1st to its 99th percentile on the evaluation rows). The similarity is one minus the mean of these
differences, in which all that must be equal counts as one column.

Source: Gower, A general coefficient of similarity and some of its properties, Biometrics 27 (1971), without its cap on one column;
the search: Maneewongvatana & Mount, k-d trees with sliding midpoints (1999), as ``scipy.spatial.KDTree``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.frames import Connection
from tidegate.stats.estimate import Floats

SAMPLE = 20_000
"""Evaluation rows that are looked at; of more, a fixed sample."""
CHUNK = 250_000
"""Training rows that are held at a time; all of them are looked at."""


class Compared(NamedTuple):
    """SQL of the columns by which rows are compared: numbers, and a hash of everything that must be equal."""

    numbers: list[str]
    equal: str


class Similar(NamedTuple):
    """[k] row numbers of the evaluation rows that were looked at, their similarity to the nearest training row (0: none in reach),
    and to the nearest other row of these.
    """

    rows: NDArray[np.int64]
    training: Floats
    own: Floats


def find_similar(con: Connection, evaluation: str, training: list[str], compared: Compared, near: float) -> Similar:
    """Compares a sample of ``evaluation`` with every row of the relations ``training``; they live on ``con``."""
    columns = len(compared.numbers) + 1 if compared.equal else len(compared.numbers)
    reach = (1 - near) * columns
    parts = ", ".join(
        [*(f"({sql})::DOUBLE AS x{place}" for place, sql in enumerate(compared.numbers)), f"{compared.equal or 0} AS block"]
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE near_sample AS SELECT * FROM (SELECT {parts}, row_number() OVER () - 1 AS n FROM {evaluation}) "
        f"ORDER BY hash(n), n LIMIT {SAMPLE}"
    )
    sample = con.execute("SELECT * FROM near_sample ORDER BY n").fetchnumpy()
    blocks, codes = np.unique(np.asarray(sample["block"]), return_inverse=True)
    numbers = _matrix(sample, len(compared.numbers))
    spread = _spread(numbers)
    points = _points(numbers / spread, codes, reach)
    nearest = np.full(len(points), np.inf)
    for relation in training:
        total: Any = con.execute(f"SELECT count(*) FROM {relation}").fetchone()
        for start in range(0, int(total[0]), CHUNK):
            chunk = con.execute(
                f"SELECT * EXCLUDE (n) FROM (SELECT {parts}, row_number() OVER () - 1 AS n FROM {relation}) "
                f"WHERE n >= {start} AND n < {start + CHUNK} AND block IN (SELECT block FROM near_sample)"
            ).fetchnumpy()
            theirs = np.searchsorted(blocks, np.asarray(chunk["block"]))
            others = _points(_matrix(chunk, len(compared.numbers)) / spread, theirs, reach)
            nearest = np.minimum(nearest, _distance(others, points, reach))
    own = _distance(points, points, reach, nth=2)
    return Similar(np.asarray(sample["n"], dtype=np.int64), *(_similarity(each, columns) for each in (nearest, own)))


def _matrix(columns: dict[str, Any], count: int) -> Floats:
    """[n, count] numbers; what is missing is 0, and is told by the block."""
    rows = len(columns["block"])
    if not count:
        return np.empty((rows, 0))
    return np.nan_to_num(np.stack([frames.plain(columns[f"x{place}"]) for place in range(count)], axis=1).astype(np.float64))


def _spread(numbers: Floats) -> Floats:
    """Of each column: from the 1st to the 99th percentile, else its range, else 1."""
    if not numbers.size:
        return np.ones(numbers.shape[1])
    low, high = np.quantile(numbers, [0.01, 0.99], axis=0)
    whole = np.ptp(numbers, axis=0)
    spread = np.asarray(np.where(high > low, high - low, whole), dtype=np.float64)
    spread[spread <= 0] = 1.0
    return spread


def _points(numbers: Floats, blocks: NDArray[np.integer[Any]], reach: float) -> Floats:
    """[n, d + 1]: rows of different blocks lie out of each other's reach."""
    return np.asarray(np.column_stack([numbers, blocks * (2 * reach + 1)]), dtype=np.float64)


def _distance(among: Floats, points: Floats, reach: float, nth: int = 1) -> Floats:
    """[n] sum of differences to the nearest (``nth``) of ``among``; infinite where none is in reach."""
    if len(among) < nth:
        return np.full(len(points), np.inf)
    from scipy.spatial import KDTree

    tree: Any = KDTree(among, balanced_tree=False)
    distances = tree.query(points, k=[nth], p=1, distance_upper_bound=reach * (1 + 1e-9) + 1e-12)[0]
    return np.asarray(distances[:, 0], dtype=np.float64)


def _similarity(distances: Floats, columns: int) -> Floats:
    return np.asarray(np.where(np.isfinite(distances), 1 - distances / columns, 0.0), dtype=np.float64)
