"""What every ``RunStore`` must do."""

from __future__ import annotations

import math

from tidegate.errors import ConflictError, NotFoundError
from tidegate.records.run import Environment, MetricPoint, Run, RunState
from tidegate.store.ports import RunStore
from tidegate.testing.expecting import at_once, refused


def _run(run_id: str, experiment: str = "delay", at: int = 1, **params: str) -> Run:
    return Run(id=run_id, experiment=experiment, name=run_id, state=RunState.RUNNING, started_at=at, params=params)


class RunStoreSuite:
    """Needs the fixture ``runs``: an empty run store."""

    def test_a_run_comes_back_whole(self, runs: RunStore) -> None:
        """Parameters, tags, artifacts, environment and end."""
        runs.create(_run("a", depth="6"))
        environment = Environment(
            argv=["x"], directory="/", python="3", platform="p", processors=1, memory_bytes=1, packages={"numpy": "2"}
        )
        runs.annotate("a", tags={"team": "ops"}, artifacts={"plot.png": "d" * 64}, environment=environment)
        runs.finish("a", RunState.FINISHED, 9)
        run = runs.get("a")
        assert (run.params, run.tags, run.artifacts) == ({"depth": "6"}, {"team": "ops"}, {"plot.png": "d" * 64})
        assert (run.state, run.ended_at, run.environment) == (RunState.FINISHED, 9, environment)

    def test_points_keep_nan_infinity_and_order(self, runs: RunStore) -> None:
        """Every float is a value; points come by step."""
        runs.create(_run("a"))
        points = [MetricPoint("loss", 2, 1, math.nan), MetricPoint("loss", 1, 2, math.inf), MetricPoint("loss", 3, 3, 0.5)]
        runs.ingest("a", "w", 1, points)
        found = runs.points("a", "loss")
        assert [point.step for point in found] == [1, 2, 3]
        assert math.isinf(found[0].value)
        assert math.isnan(found[1].value)
        summary = runs.get("a").metrics["loss"]
        assert (summary.count, summary.last, summary.last_step, summary.min) == (3, 0.5, 3, 0.5)

    def test_a_batch_is_taken_once(self, runs: RunStore) -> None:
        """What a writer sends again, or late, is dropped."""
        runs.create(_run("a"))
        for seq in (5, 5, 4):
            runs.ingest("a", "w", seq, [MetricPoint("loss", 1, 1, 1.0)])
        runs.ingest("a", "other", 1, [MetricPoint("loss", 2, 1, 3.0)])
        assert len(runs.points("a", "loss")) == 2

    def test_the_last_value_is_that_of_the_greatest_step(self, runs: RunStore) -> None:
        """Not of the last write: steps may come out of order."""
        runs.create(_run("a"))
        runs.ingest("a", "w", 1, [MetricPoint("loss", 10, 1, 1.0)])
        runs.ingest("a", "w", 2, [MetricPoint("loss", 5, 9, 7.0)])
        summary = runs.get("a").metrics["loss"]
        assert (summary.last, summary.last_step, summary.max, summary.count) == (1.0, 10, 7.0, 2)

    def test_a_parameter_cannot_change(self, runs: RunStore) -> None:
        """A refused call adds nothing."""
        runs.create(_run("a", depth="6"))
        runs.annotate("a", params={"depth": "6"})
        with refused(ConflictError):
            runs.annotate("a", params={"depth": "7", "new": "x"})
        assert runs.get("a").params == {"depth": "6"}

    def test_a_run_ends_once(self, runs: RunStore) -> None:
        """A state that is final stays."""
        runs.create(_run("a"))
        runs.finish("a", RunState.FAILED, 1)
        with refused(ConflictError):
            runs.finish("a", RunState.FINISHED, 2)

    def test_an_unknown_run_is_not_found(self, runs: RunStore) -> None:
        """Nothing is made on the way."""
        for call in (
            lambda: runs.get("x"),
            lambda: runs.annotate("x", tags={"a": "b"}),
            lambda: runs.finish("x", RunState.FAILED, 1),
            lambda: runs.ingest("x", "w", 1, []),
            lambda: runs.points("x", "loss"),
        ):
            with refused(NotFoundError):
                call()
        assert runs.search() == []

    def test_search_filters_orders_and_limits(self, runs: RunStore) -> None:
        """Missing values come last, in both directions."""
        for number in range(6):
            runs.create(_run(f"r{number}", at=number, depth=str(number % 2)))
            runs.ingest(f"r{number}", "w", 1, [MetricPoint("loss", 1, 1, number / 10)])
        runs.create(_run("bare", at=99))
        found = runs.search(where="metrics.loss >= 0.2 and params.depth = '0'", order_by="metrics.loss desc")
        assert [run.id for run in found] == ["r4", "r2"]
        assert runs.search(limit=1)[0].id == "bare"
        assert runs.search(order_by="metrics.loss", limit=10)[-1].id == "bare"
        assert runs.search(order_by="metrics.loss desc", limit=10)[-1].id == "bare"
        assert [run.id for run in runs.search(where="name like 'ba%' or params.depth = '1'")] == ["bare", "r5", "r3", "r1"]
        assert runs.search(experiment="other") == []

    def test_values_in_a_filter_never_become_sql(self, runs: RunStore) -> None:
        """A quote in a value is a quote."""
        runs.create(_run("a", depth="x' OR '1'='1"))
        assert runs.search(where="params.depth = 'y'") == []
        assert len(runs.search(where="params.depth = 'x'' OR ''1''=''1'")) == 1

    def test_writers_at_the_same_time_lose_nothing(self, runs: RunStore) -> None:
        """Eight writers of ten batches each: eighty points."""
        runs.create(_run("a"))

        def write(number: int) -> None:
            for seq in range(1, 11):
                runs.ingest("a", f"w{number}", seq, [MetricPoint("loss", seq, 1, 1.0)])

        at_once(8, write)
        assert runs.get("a").metrics["loss"].count == 80
