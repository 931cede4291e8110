"""Searching 100,000 runs with 20 metrics each on SQLite: filter, sort, and a page of 50 runs with everything that hangs on them.

The runs are written straight into the tables. A search is timed whole, from the filter's text to records, in turn over a mix of
shapes; each shape asks for its first page and for its hundredth (or last), which starts where the one before it ended. Shapes that look at
every run stand outside the mix.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from measure import Row, spread
from tidegate.records.run import Run
from tidegate.store import Store, open_store
from tidegate.store.paging import Place, place_after

RUNS = 100_000
METRICS = 20
ROUNDS = 12
PAGE = 50
BEFORE = 99 * PAGE
START_US = 1_700_000_000_000_000


class Shape(NamedTuple):
    """One kind of search."""

    name: str
    where: str
    order_by: str
    experiment: str = ""


MIX = [
    Shape("sorted by what is filtered", "metrics.loss < 0.5", "metrics.loss"),
    Shape("half of the runs, sorted by another metric", "metrics.m5 > 0.5", "metrics.loss"),
    Shape("1 % of the runs, sorted by another metric", "metrics.m5 > 0.99", "metrics.loss desc"),
    Shape("two metrics", "metrics.m5 > 0.5 and metrics.m6 < 0.3", "metrics.loss"),
    Shape("a parameter", "params.depth = '6'", "metrics.loss"),
    Shape("a tag like", "tags.team like 'ops%'", "metrics.loss"),
    Shape("newest first", "", ""),
    Shape("newest first with a metric", "metrics.loss < 0.3", "start_time desc"),
    Shape("one experiment", "metrics.loss < 0.5", "metrics.m7", "exp-0"),
    Shape("no match", "metrics.loss < -1", "metrics.loss"),
]
WHOLE = [
    Shape("sorted by another aggregate", "", "min(metrics.loss)"),
    Shape("or", "metrics.m5 > 0.9 or params.depth = '6'", "metrics.loss"),
    Shape("a regular expression", "tags.team rlike '^ops-'", "metrics.loss"),
    Shape("sorted by name", "", "name"),
]


def measure() -> list[Row]:
    """Milliseconds: the 95th percentile of the mix, then the median of every shape."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        _fill(store)
        asked = [(shape, place) for shape in [*MIX, *WHOLE] for place in (Place(), _far(store, shape))]
        seconds: dict[tuple[Shape, Place], list[float]] = {key: [] for key in asked}
        for turn in range(ROUNDS + 1):
            for shape, place in asked:
                started = time.perf_counter()
                _ask(store, shape, place, PAGE)
                if turn:
                    seconds[shape, place].append(time.perf_counter() - started)
        store.close()
    rows = [
        _percentile("search, mix, first pages, p95", [seconds[shape, Place()] for shape in MIX]),
        _percentile("search, mix, pages 1 and 100, p95", [seconds[key] for key in asked if key[0] in MIX]),
    ]
    return rows + [
        Row(
            f"search: {shape.name}" + (f", page {place.total // PAGE + 1}" if place.total else ""),
            statistics.median(values) * 1000,
            "ms",
            spread(values, scale=1000),
            note="" if shape in MIX else "looks at every run; outside the mix",
        )
        for (shape, place), values in seconds.items()
    ]


def _percentile(name: str, groups: list[list[float]]) -> Row:
    values = [value for group in groups for value in group]
    return Row(
        name, statistics.quantiles(values, n=20)[-1] * 1000, "ms", spread(values, scale=1000), 20.0, f"{RUNS:,} runs x {METRICS}"
    )


def _far(store: Store, shape: Shape) -> Place:
    found = _ask(store, shape, Place(), BEFORE + 1)
    return place_after(found[: (len(found) - 1) // PAGE * PAGE], shape.order_by, Place())


def _ask(store: Store, shape: Shape, place: Place, limit: int) -> list[Run]:
    return store.runs.search(
        experiments=[shape.experiment] if shape.experiment else [],
        where=shape.where,
        order_by=shape.order_by,
        limit=limit,
        offset=place.offset,
        since=place.since,
    )


def _fill(store: Store) -> None:
    chance = np.random.default_rng(1)
    started = START_US + np.sort(chance.integers(0, 10**13, RUNS))
    ids = [f"{int(at):014x}{number:010x}" for at, number in zip(started, chance.permutation(RUNS), strict=True)]
    environment = json.dumps(
        {"argv": ["train.py"], "directory": "/", "python": "3.11", "platform": "linux", "processors": 4, "memory_bytes": 1}
        | {"packages": {f"package-{number}": "1.0" for number in range(60)}}
    )
    depth, experiment = chance.integers(1, 11, RUNS), np.minimum(chance.geometric(0.08, RUNS), 50)
    values = chance.random((METRICS, RUNS))
    names = ["loss", *[f"m{number}" for number in range(1, METRICS)]]
    teams = ["ops", "ops-eu", "core", "research"]
    statements: list[tuple[str, Any]] = [
        (
            "INSERT INTO experiments (id, name, created_at, updated_at, location, tags) VALUES (?, ?, 0, 0, '', '{}')",
            ((number, f"exp-{number - 1}") for number in range(1, 51)),
        ),
        (
            (
                "INSERT INTO runs (id, experiment_id, name, state, started_at, ended_at, deleted_at, author, environment)"
                " VALUES (?, ?, ?, 'FINISHED', ?, ?, ?, 'a', ?)"
            ),
            (
                (
                    ids[i],
                    int(experiment[i]),
                    f"run-{i % 977}",
                    int(started[i]),
                    int(started[i]) + 9,
                    None if i % 50 else 1,
                    environment,
                )
                for i in range(RUNS)
            ),
        ),
        (
            "INSERT INTO run_params (run_id, key, value) VALUES (?, ?, ?)",
            ((ids[i], key, value) for i in range(RUNS) for key, value in (("depth", str(depth[i])), ("seed", str(i)))),
        ),
        (
            "INSERT INTO run_tags (run_id, key, value) VALUES (?, ?, ?)",
            ((ids[i], key, value) for i in range(RUNS) for key, value in (("team", teams[i % 4]), ("note", f"note {i}"))),
        ),
        (
            "INSERT INTO metrics (run_id, name, points, last, last_step, last_at, min, max, best) VALUES (?, ?, 9, ?, 9, 9, ?, ?, ?)",
            (
                (ids[i], names[k], value, value * 0.9, value * 1.1, value * 1.1)
                for i in range(RUNS)
                for k, value in enumerate(values[:, i].tolist())
            ),
        ),
    ]
    if store.database is None:
        raise RuntimeError("this store has no database of its own")
    with store.database.write() as connection:
        cursor: Any = connection.connection.cursor()
        for statement, rows in statements:
            cursor.executemany(statement, rows)
