"""What every search of runs must answer: the same as the filter's own evaluation, in the order that is promised."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

from tidegate.errors import UsageError
from tidegate.records.run import Run, RunInput, RunState
from tidegate.store.filter import Sort, matches, parse_filter, parse_order
from tidegate.store.paging import Place, Value, place_after
from tidegate.store.ports import Batch, RunStore, SeriesStore
from tidegate.testing.expecting import refused
from tidegate.testing.series import of_points

_STATES = [RunState.FINISHED, RunState.FAILED, RunState.RUNNING]


def value_of(run: Run, space: str, name: str) -> Any:
    """What a filter compares, of a run: see ``tidegate.store.filter.matches``."""
    if space == "attributes":
        if name == "lifecycle_stage":
            return "active" if run.deleted_at is None else "deleted"
        if name == "experiment_id":
            return int(run.experiment[3:]) + 1  # the order in which ``fill`` names them
        return str(run.state) if name == "state" else getattr(run, name)
    if space == "datasets":
        return [item.tags.get("mlflow.data.context") if name == "context" else getattr(item, name) for item in run.inputs]
    if space in {"params", "tags"}:
        return (run.params if space == "params" else run.tags).get(name)
    summary = run.metrics.get(name)
    aggregate = space.partition("(")[0] if "(" in space else "last"
    return None if summary is None else getattr(summary, aggregate)


def in_order(runs: list[Run], sorts: list[Sort]) -> list[Run]:
    """Sorted as a search has to: missing values last, NaN before them, ties newest first and then by id."""
    ordered = sorted(runs, key=lambda run: (-run.started_at, run.id))
    for sort in reversed(sorts):
        space = sort.space if sort.aggregate == "last" else f"{sort.aggregate}({sort.space})"
        values = {run.id: value_of(run, space, sort.name) for run in runs}
        present = [run for run in ordered if not _is_nan(values[run.id]) and values[run.id] is not None]
        present.sort(key=lambda run: values[run.id], reverse=sort.descending)
        if sort.descending:  # a reversed sort keeps the order of equals, too
            present = sorted(present, key=lambda run: _Reversed(values[run.id]))
        nan = [run for run in ordered if _is_nan(values[run.id])]
        ordered = [*present, *nan, *[run for run in ordered if values[run.id] is None]]
    return ordered


def _one_page_after_another(runs: RunStore, where: str, order: str) -> Iterator[str]:
    place = Place()
    while page := runs.search(where=where, order_by=order, limit=13, offset=place.offset, since=place.since):
        yield from (run.id for run in page)
        place = place_after(page, order, place)


class _Reversed:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.value < self.value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _run(run_id: str, experiment: str = "exp", at: int = 1, **more: Any) -> Run:
    return Run(id=run_id, experiment=experiment, name=run_id, state=RunState.RUNNING, started_at=at, **more)


def fill(runs: RunStore, series: SeriesStore, number: int = 60) -> list[Run]:
    """Adds runs with values that are missing, equal, NaN, infinite, long and strange, and gives them back as they are stored."""
    batches: list[Batch] = []
    for index in range(number):
        run_id = f"r{index:03}"
        params = {"depth": str(index % 4), "odd key": "%_*?[x]" if index % 3 else "it's", "large": f"{index % 2}" * 3000}
        tags = {"team": ["ops", "ops-eu", "Ops", "core"][index % 4], "größe": f"ß{index % 5}", "n": str(index)}
        if index % 5 == 0:
            del params["depth"]
        if index % 6 == 0:
            tags = {}
        inputs = [
            RunInput(name=f"set{index % 3}", digest="d" * 8, tags={"mlflow.data.context": "train" if index % 2 else "test"})
        ]
        runs.create(
            _run(run_id, f"exp{index % 3}", at=1000 * (index // 2), params=params, tags=tags, inputs=inputs if index % 4 else [])
        )
        loss = [0.5, float(index), math.nan, -math.inf, 0.25, math.inf, -0.0][index % 7]
        points = [of_points("loss", (1, 1, loss))]
        if index % 2:
            points.append(of_points("val loss", (1, 1, float(index)), (2, 2, float(-index))))
        batches.append(Batch(run_id, "w", 1, points))
        if index % 3:
            runs.change_state(run_id, _STATES[index % 2], 5000 + index)
    series.ingest(batches)
    runs.delete([f"r{index:03}" for index in range(0, number, 9)], at=7)
    return runs.search(limit=None, deleted=None)


FILTERS = [
    "",
    "metrics.loss < 0.5",
    "metrics.loss >= 0.5",
    "metrics.loss != 0.5",
    "metrics.loss = 0.5",
    "metrics.loss = 0",
    "metrics.nothing < 1",
    "metrics.nothing is null and metrics.`val loss` is not null",
    "min(metrics.`val loss`) < -20 and max(metrics.`val loss`) > 25",
    "best(metrics.`val loss`) > -30",
    "count(metrics.`val loss`) = 2 and count(metrics.loss) >= 1",
    "params.depth = '2'",
    "params.depth != '2'",
    "params.depth in ('1', '3')",
    "params.depth not in ('1', '3')",
    "params.depth is null",
    "not params.depth = '2'",
    "params.`odd key` = '%_*?[x]'",
    "params.`odd key` like '%[_]'",
    "params.`odd key` like '\\%%'",
    "params.`odd key` = 'it''s'",
    f"params.large = '{'1' * 3000}'",
    f"params.large like '{'1' * 300}%'",
    "tags.team like 'ops%'",
    "tags.team ilike 'OPS%'",
    "tags.team not like 'ops%'",
    "tags.team like '_ps'",
    "tags.`größe` ilike 'SS%' or tags.`größe` like 'ß1'",
    "tags.team rlike '^o.s$'",
    "tags.team not rlike 'eu'",
    "tags.n rlike '[13]$' and metrics.loss > 0",
    "datasets.name = 'set1'",
    "datasets.name != 'set1'",
    "datasets.context = 'train' and datasets.name in ('set1', 'set2')",
    "datasets.context is null",
    "id in ('r001', 'r002', 'nobody')",
    "experiment = 'exp1' and experiment_id > 0",
    "experiment like 'exp%' and not experiment = 'exp1'",
    "experiment rlike '[02]'",
    "name rlike '5$'",
    "state = 'FAILED'",
    "status != 'FAILED'",
    "started_at >= 10000 and started_at < 20000",
    "start_time > 10 and start_time <= 20",
    "start_time = 15 or start_time != 15.5",
    "ended_at > 5010",
    "not ended_at > 5010",
    "ended_at is null",
    "lifecycle_stage = 'active'",
    "author = ''",
    "metrics.loss > 0.3 and metrics.`val loss` < -3 and params.depth = '1'",
    "metrics.loss > 30 or params.depth = '1' and not (tags.team = 'core' or tags.team is null)",
    "not (metrics.loss < 0.5 or metrics.`val loss` is null)",
]
ORDERS = [
    "",
    "metrics.loss",
    "metrics.loss desc",
    "metrics.`val loss` desc, metrics.loss",
    "min(metrics.`val loss`)",
    "count(metrics.loss) desc, name",
    "params.depth",
    "params.depth desc, tags.team, id desc",
    "params.large, started_at",
    "tags.`größe` desc",
    "started_at",
    "started_at desc, id desc",
    "ended_at",
    "ended_at desc, state",
    "name desc",
    "experiment, metrics.loss",
    "experiment_id desc",
    "metrics.nothing",
]


class SearchSuite:
    """Needs the fixtures ``runs`` and ``series``: an empty store of runs and the one of their series."""

    def test_every_filter_in_every_order_finds_what_it_should(self, runs: RunStore, series: SeriesStore) -> None:
        """Each filter with some of the orders, and each order with some of the filters."""
        everything = fill(runs, series)
        active = [run for run in everything if run.deleted_at is None]
        for number, where in enumerate(FILTERS):
            tree = parse_filter(where)
            expected = [run for run in active if matches(tree, partial(value_of, run))]
            for order in ORDERS[number % 6 :: 6]:
                found = runs.search(where=where, order_by=order, limit=100)
                wanted = in_order(expected, parse_order(order))
                assert [run.id for run in found] == [run.id for run in wanted], (where, order)

    def test_pages_are_parts_of_the_whole(self, runs: RunStore, series: SeriesStore) -> None:
        """Whatever way leads to a page."""
        fill(runs, series)
        for where in (
            "",
            "metrics.loss < 0.5",
            "params.depth = '1'",
            "metrics.`val loss` < 0 or state = 'FAILED'",
            "state != 'x'",
        ):
            for order in ORDERS:
                whole = [run.id for run in runs.search(where=where, order_by=order, limit=None)]
                pages = [
                    run.id
                    for offset in range(0, len(whole) + 13, 13)
                    for run in runs.search(where=where, order_by=order, limit=13, offset=offset)
                ]
                assert pages == whole, (where, order)
                assert list(_one_page_after_another(runs, where, order)) == whole, (where, order)

    def test_a_place_of_the_wrong_kind_is_refused(self, runs: RunStore) -> None:
        """A text where numbers are sorted, and the other way round."""
        wrong: list[tuple[str, Value]] = [
            ("metrics.loss", "x"),
            ("params.depth", 1),
            ("", 2**63),
            ("min(metrics.loss)", ""),
            ("name", 0.5),
        ]
        for order, since in wrong:
            with refused(UsageError):
                runs.search(order_by=order, since=since)

    def test_a_page_starts_where_the_last_one_ended_whatever_came_in_between(self, runs: RunStore) -> None:
        """A newer run moves no other one onto the page before."""
        for number in range(10):
            runs.create(Run(id=f"r{number}", experiment="e", name="n", state=RunState.FINISHED, started_at=100 - number))
        first = runs.search(limit=4)
        runs.create(Run(id="new", experiment="e", name="n", state=RunState.FINISHED, started_at=1000))
        place = place_after(first, "", Place())
        second = runs.search(limit=4, offset=place.offset, since=place.since)
        assert [run.id for run in second] == ["r4", "r5", "r6", "r7"]

    def test_experiments_and_deletion_narrow_it(self, runs: RunStore, series: SeriesStore) -> None:
        """Several experiments are any of them; deleted runs come when they are asked for."""
        everything = fill(runs, series)
        for deleted, expected in (
            (None, everything),
            (True, [run for run in everything if run.deleted_at is not None]),
            (False, [run for run in everything if run.deleted_at is None]),
        ):
            for names in ([], ["exp1"], ["exp0", "exp2"], ["nobody"]):
                for order in ("", "metrics.loss desc", "tags.team", "name"):
                    found = runs.search(experiments=names, deleted=deleted, order_by=order, limit=1000)
                    wanted = in_order([run for run in expected if not names or run.experiment in names], parse_order(order))
                    assert [run.id for run in found] == [run.id for run in wanted], (deleted, names, order)

    def test_values_never_become_sql(self, runs: RunStore) -> None:
        """A quote in a value, a name or a pattern is a quote."""
        runs.create(_run("a", params={"depth": "x' OR '1'='1"}))
        assert runs.search(where="params.depth = 'y'") == []
        assert len(runs.search(where="params.depth = 'x'' OR ''1''=''1'")) == 1
        for odd in ("') OR 1=1 --", '"; DROP TABLE runs; --', "%' OR '1'='1", "\\", "x[", ":p1", "%(a)s", "{}"):
            name = odd.replace("`", "")
            text = odd.replace("'", "''")
            for where in (
                f"params.`{name}` = '{text}'",
                f"tags.`{name}` like '{text}'",
                f"metrics.`{name}` < 1",
                f"name ilike '{text}'",
            ):
                assert runs.search(where=where, order_by=f"metrics.`{name}`, params.`{name}` desc") == []
        assert len(runs.search()) == 1

    def test_what_cannot_be_read_is_refused(self, runs: RunStore) -> None:
        """Before anything is looked for."""
        for where, order in (("metrics.loss <", ""), ("", "metrics.loss up"), ("name rlike '(?=a)'", ""), ("(" * 1000, "")):
            with refused(UsageError):
                runs.search(where=where, order_by=order)

    def test_long_lists_are_possible(self, runs: RunStore) -> None:
        """MLflow's clients ask for runs by thousands of ids."""
        for number in range(3):
            runs.create(_run(f"r{number}", params={"x": f"v{number}"}))
        many = ", ".join(f"'r{number}'" for number in range(1, 5000))
        assert [run.id for run in runs.search(where=f"run_id in ({many})", order_by="id")] == ["r1", "r2"]
        values = ", ".join(f"'v{number}'" for number in range(2, 5000))
        assert [run.id for run in runs.search(where=f"params.x in ({values})")] == ["r2"]
