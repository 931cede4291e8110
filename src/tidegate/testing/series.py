"""What every ``SeriesStore`` must do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tidegate.errors import BadInputError, ConflictError, NotFoundError
from tidegate.records.run import RunState, Series
from tidegate.store.ports import Batch, RunStore, SeriesStore
from tidegate.testing.expecting import at_once, refused
from tidegate.testing.runs import a_run

_Point = tuple[int, int, float]


def of_points(metric: str, *points: _Point) -> Series:
    """A series of (step, time, value)."""
    return Series(
        metric,
        np.array([step for step, _, _ in points], np.int64),
        np.array([at for _, at, _ in points], np.int64),
        np.array([value for _, _, value in points], np.float64),
    )


def _line(metric: str, steps: Sequence[int]) -> Series:
    return of_points(metric, *((step, step * 1000, math.sin(step)) for step in steps))


def _take(series: SeriesStore, *given: Series, run: str = "a", writer: str = "w", seq: int = 0) -> None:
    assert series.ingest([Batch(run, writer, seq, given)]) == [None]


class SeriesStoreSuite:
    """Needs the fixtures ``series`` and ``runs``, both empty and of one store."""

    def test_points_keep_nan_infinity_and_order(self, series: SeriesStore, runs: RunStore) -> None:
        """Every float is a value; points come by step, time and value, and exactly the same one once."""
        runs.create(a_run("a"))
        points = [(2, 1, math.nan), (1, 2, math.inf), (3, 3, 0.5), (-(2**63), 0, -math.inf), (2**63 - 1, -(2**63), 1e-320)]
        _take(series, of_points("loss", *points, (3, 3, 0.25), (3, 2, 9.0)))
        _take(series, of_points("loss", (2, 1, math.nan), (3, 3, 0.5)))
        for _ in range(2):
            found = series.points("a", "loss")
            assert found.steps.tolist() == [-(2**63), 1, 2, 3, 3, 3, 2**63 - 1]
            assert found.times.tolist()[3:6] == [2, 3, 3]
            assert np.array_equal(found.values, [-math.inf, math.inf, math.nan, 9.0, 0.25, 0.5, 1e-320], equal_nan=True)
            series.seal("a")

    def test_a_metric_is_summarised(self, series: SeriesStore, runs: RunStore) -> None:
        """The last value is that of the greatest (step, time, value); NaN is neither least nor greatest."""
        runs.create(a_run("a"))
        _take(series, of_points("loss", (10, 1, 1.0), (5, 9, 7.0)), of_points("acc", (1, 1, math.nan)))
        _take(series, of_points("loss", (5, 10, math.nan), (10, 1, 0.5)), of_points("acc", (2, 1, 0.25), (2, 1, 0.75)))
        metrics = runs.get("a").metrics
        loss, acc = metrics["loss"], metrics["acc"]
        assert (loss.count, loss.last, loss.last_step, loss.last_at, loss.min, loss.max, loss.best) == (
            4,
            1.0,
            10,
            1,
            0.5,
            7,
            0.5,
        )
        assert (acc.count, acc.last, acc.last_step, acc.min, acc.max, acc.best) == (3, 0.75, 2, 0.25, 0.75, 0.75)

    def test_a_metric_of_nan_alone_has_neither_least_nor_greatest(self, series: SeriesStore, runs: RunStore) -> None:
        """Until a number comes."""
        runs.create(a_run("a"))
        _take(series, of_points("loss", (1, 1, math.nan)))
        _take(series, of_points("loss", (2, 1, math.nan)))
        found = runs.get("a").metrics["loss"]
        assert all(math.isnan(value) for value in (found.last, found.min, found.max, found.best))
        _take(series, of_points("loss", (0, 1, 3.0)))
        found = runs.get("a").metrics["loss"]
        assert math.isnan(found.last)
        assert (found.min, found.max) == (3.0, 3.0)

    def test_a_batch_is_taken_once(self, series: SeriesStore, runs: RunStore) -> None:
        """What a writer sends again, or late, is dropped, also within one call."""
        runs.create(a_run("a"))
        first, again, early = (Batch("a", "w", seq, [_line("loss", [step])]) for seq, step in ((5, 1), (5, 2), (4, 3)))
        assert series.ingest([first, again]) == [None, None]
        assert series.ingest([again, early]) == [None, None]
        _take(series, _line("loss", [9]), writer="other", seq=1)
        assert series.points("a", "loss").steps.tolist() == [1, 9]
        assert series.taken("a") == {"w": 5, "other": 1}

    def test_a_refused_batch_hurts_no_other(self, series: SeriesStore, runs: RunStore) -> None:
        """Each batch is taken whole or not at all, and told so."""
        for name in ("a", "gone"):
            runs.create(a_run(name))
        runs.delete(["gone"], at=1)
        good, bad = _line("loss", [1]), _line("nul\0", [1])
        answers = series.ingest(
            [
                Batch("unknown", "w", 1, [good]),
                Batch("a", "w", 1, [good]),
                Batch("gone", "w", 1, [good]),
                Batch("a", "bad", 1, [_line("other", [1]), bad]),
                Batch("a", "v", 1, [_line("loss", [2])]),
            ]
        )
        assert [type(answer) for answer in answers] == [NotFoundError, type(None), ConflictError, BadInputError, type(None)]
        assert series.points("a", "loss").steps.tolist() == [1, 2]
        assert series.taken("a") == {"w": 1, "v": 1}
        assert list(runs.get("a").metrics) == ["loss"]

    def test_what_is_absent(self, series: SeriesStore, runs: RunStore) -> None:
        """A metric that was never logged has no points; an unknown run is an error."""
        runs.create(a_run("a"))
        assert series.ingest([]) == []
        _take(series, of_points("empty"))
        assert len(series.points("a", "loss")) == 0
        assert len(series.envelope("a", "loss", pixels=10).first) == 0
        assert series.taken("a") == {}
        for call in (lambda: series.points("x", "loss"), lambda: series.envelope("x", "loss", pixels=5)):
            with refused(NotFoundError):
                call()

    def test_few_points_and_many_read_the_same(self, series: SeriesStore, runs: RunStore) -> None:
        """One by one, in thousands, backwards and over each other; before the run is sealed and after."""
        runs.create(a_run("a"))
        _take(series, _line("loss", range(5000, 9000)))
        _take(series, _line("loss", range(6000, 7500)[::-1]), _line("other", [1]))
        for start in range(0, 2400, 100):
            _take(series, _line("loss", range(start, start + 100)), _line("other", [start]))
        for _ in range(2):
            found = series.points("a", "loss")
            assert found.steps.tolist() == [*range(2400), *range(5000, 9000)]
            assert found.values.tolist() == [math.sin(step) for step in found.steps.tolist()]
            assert series.points("a", "loss", first=2390, last=5003).steps.tolist() == [*range(2390, 2400), *range(5000, 5004)]
            assert series.points("a", "loss", first=3000, last=4000).steps.tolist() == []
            assert series.points("a", "loss", first=8998).steps.tolist() == [8998, 8999]
            series.seal("a")
        _take(series, _line("loss", [2]), _line("loss", [9001]))
        assert len(series.points("a", "loss")) == 6401

    def test_an_envelope_is_exact(self, series: SeriesStore, runs: RunStore) -> None:
        """A spike is never lost, every point is in one stretch, and few points come as they are."""
        runs.create(a_run("a"))
        _take(series, of_points("loss", *((step, step, 1.0) for step in range(20_000))))
        _take(series, of_points("loss", (777, 778, 50.0), (15_000, 0, -50.0), (3, 4, math.nan)))
        for pixels in (1, 7, 20, 300, 5000):
            found = series.envelope("a", "loss", pixels=pixels)
            assert len(found.first) <= pixels
            assert int(found.counts.sum()) == 20_003
            assert (np.nanmin(found.low), np.nanmax(found.high), found.first[0], found.last[-1]) == (-50.0, 50.0, 0, 19_999)
            assert (found.first[1:] >= found.last[:-1]).all()
            spike = int(np.nanargmax(found.high))
            assert found.first[spike] <= 777 <= found.last[spike]
        zoomed = series.envelope("a", "loss", pixels=50, first=770, last=790)
        assert zoomed.first.tolist() == sorted([*range(770, 791), 777])
        assert zoomed.low.tolist() == zoomed.high.tolist() == zoomed.close.tolist()

    def test_sealing_changes_no_answer(self, series: SeriesStore, runs: RunStore) -> None:
        """Summaries, points and positions stay; a run without points can be sealed, and logged to afterwards."""
        runs.create(a_run("a"))
        series.seal("a")
        for seq in range(1, 6):
            _take(series, *(_line(f"m{number}", [seq]) for number in range(30)), seq=seq)
        before = runs.get("a")
        runs.change_state("a", RunState.FINISHED, 3)
        series.seal("a")
        series.seal("a")
        assert runs.get("a").metrics == before.metrics
        assert all(series.points("a", f"m{number}").steps.tolist() == [1, 2, 3, 4, 5] for number in range(30))
        assert series.taken("a") == {"w": 5}

    def test_purged_runs_leave_no_points(self, series: SeriesStore, runs: RunStore) -> None:
        """A new run of that id begins with nothing."""
        for name in ("a", "b"):
            runs.create(a_run(name))
            _take(series, _line("loss", range(1500)), _line("acc", [1]), run=name, seq=3)
        runs.delete(["a"], at=1)
        runs.purge(["a"])
        runs.create(a_run("a"))
        assert (len(series.points("a", "loss")), series.taken("a"), runs.get("a").metrics) == (0, {}, {})
        assert len(series.points("b", "loss")) == 1500

    def test_search_sees_the_summary(self, series: SeriesStore, runs: RunStore) -> None:
        """Runs without the metric come last in both directions, after NaN."""
        for number in range(6):
            runs.create(a_run(f"r{number}", at=number))
            _take(series, of_points("loss", (1, 1, number / 10)), run=f"r{number}")
        runs.create(a_run("nan", at=98))
        _take(series, of_points("loss", (1, 1, math.nan)), run="nan")
        runs.create(a_run("bare", at=99))
        assert [run.id for run in runs.search(where="metrics.loss >= 0.4", order_by="metrics.loss desc")] == ["r5", "r4"]
        for order in ("metrics.loss", "metrics.loss desc"):
            assert [run.id for run in runs.search(order_by=order)][-2:] == ["nan", "bare"]

    def test_writers_at_the_same_time_lose_nothing(self, series: SeriesStore, runs: RunStore) -> None:
        """Eight writers of the same metrics in other orders, each twice: every point is there once."""
        runs.create(a_run("a"))

        def write(number: int) -> None:
            names = ["loss", "acc", "lr"]
            for seq in range(1, 11):
                given = [_line(name, range(number * 10_000 + seq * 150, number * 10_000 + seq * 150 + 150)) for name in names]
                for _ in range(2):
                    _take(series, *(given if number % 2 else given[::-1]), writer=f"w{number}", seq=seq)

        at_once(8, write)
        for name in ("loss", "acc", "lr"):
            assert len(series.points("a", name)) == 12_000
            assert runs.get("a").metrics[name].count == 12_000
