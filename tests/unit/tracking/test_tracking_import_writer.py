import math

import numpy as np
import pytest

from tidegate.records.run import Run, RunInput, RunState, Series
from tidegate.store import fetch_object
from tidegate.tracking.importing import ImportedExperiment, ImportedRun, Problem, Source, import_source
from tidegate.tracking.importing.records import Attachment

START = 1_700_000_000_000_000


def series(metric, *points):
    steps, times, values = zip(*points, strict=True)
    return Series(metric, np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))


def a_run(**changes):
    about = {
        "id": "r1",
        "experiment": "old",
        "name": "first",
        "state": RunState.FINISHED,
        "started_at": START,
        "ended_at": START + 9,
    }
    return Run(**(about | changes))


def an_import(run, *points, files=(), kept=None, problems=()):
    return ImportedRun(run, [series("loss", *points)] if points else [], files, kept or {}, problems)


@pytest.fixture
def bring(store, clock, tmp_path):
    def bring(*items, dry_run=False):
        return import_source(store, Source("mlflow", tmp_path, len(items), iter(items)), clock=clock, dry_run=dry_run)

    return bring


def sums_up(report):
    return all(count.found == count.imported + count.known + count.kept + count.unreadable for count in report.counts.values())


def test_everything_of_a_run_comes_and_comes_once(store, bring, tmp_path):
    (tmp_path / "plot.png").write_bytes(b"png")
    run = a_run(
        params={"lr": "0.1"}, tags={"team": "x"}, author="ada", inputs=[RunInput(name="train", digest="d1", source_type="code")]
    )
    points = [(0, START, 1.0), (1, START + 1, math.nan), (1, START + 1, math.nan), (2, START + 2, -math.inf), (0, START + 5, 3.0)]
    found = an_import(run, *points, files=[Attachment("plots/plot.png", tmp_path / "plot.png")])
    first = bring(ImportedExperiment("old", START - 5, {"owner": "me"}), found)
    assert first.runs == ["r1"]
    assert first.problems == []
    assert sums_up(first)
    assert (first.counts["points"].found, first.counts["points"].imported, first.counts["points"].known) == (5, 4, 1)
    stored = store.runs.get("r1")
    assert (stored.params, stored.author, stored.state, stored.ended_at) == ({"lr": "0.1"}, "ada", RunState.FINISHED, START + 9)
    assert stored.tags["tidegate.imported_from"].startswith("mlflow:")
    assert stored.inputs == run.inputs
    assert fetch_object(store.bucket, stored.artifacts["plots/plot.png"]).read_bytes() == b"png"
    assert store.experiments.find("old").tags["owner"] == "me"
    kept = store.series.points("r1", "loss")
    assert kept.steps.tolist() == [0, 0, 1, 2]
    assert kept.times.tolist() == [START, START + 5, START + 1, START + 2]
    again = bring(ImportedExperiment("old", START - 5, {"owner": "me"}), found)
    assert again.runs == []
    assert sums_up(again)
    assert all(count.imported == 0 for count in again.counts.values())
    assert store.runs.get("r1") == stored


def test_a_later_import_adds_only_new_points_and_the_end(store, bring):
    bring(an_import(a_run(state=RunState.RUNNING, ended_at=None), (0, START, 1.0)))
    report = bring(an_import(a_run(), (0, START, 1.0), (1, START + 1, 0.5)))
    assert report.counts["points"].imported == 1
    stored = store.runs.get("r1")
    assert (stored.state, stored.ended_at) == (RunState.FINISHED, START + 9)
    assert store.series.points("r1", "loss").values.tolist() == [1.0, 0.5]


def test_a_dry_run_tells_the_same_and_writes_nothing(store, bring):
    found = an_import(a_run(params={"a": "1"}), (0, START, 1.0))
    told = bring(found, dry_run=True)
    assert store.runs.search(limit=None, deleted=None) == []
    assert store.experiments.list() == []
    assert bring(found).counts == told.counts


def test_deleted_runs_and_experiments_stay_deleted_and_can_be_added_to(store, bring):
    run = a_run(deleted_at=START + 20)
    bring(ImportedExperiment("old", START, {}, START + 30), an_import(run, (0, START, 1.0)))
    assert store.runs.get("r1").deleted_at == START + 20
    assert store.experiments.find("old").deleted_at == START + 30
    report = bring(
        ImportedExperiment("old", START, {}, START + 30),
        an_import(run, (0, START, 1.0), (1, START, 2.0)),
        an_import(a_run(id="r2"), (0, START, 4.0)),
    )
    assert report.problems == []
    assert report.counts["points"].imported == 2
    assert store.experiments.find("old").deleted_at == START + 30
    assert store.runs.get("r1").deleted_at == START + 20
    assert store.runs.get("r2").deleted_at == START + 30
    assert len(store.series.points("r1", "loss")) == 2


def test_a_run_that_somebody_deleted_here_stays_deleted(store, bring):
    found = an_import(a_run(), (0, START, 1.0))
    bring(found)
    store.runs.delete(["r1"], at=START + 100)
    bring(an_import(a_run(), (0, START, 1.0), (1, START, 1.0)))
    assert store.runs.get("r1").deleted_at == START + 100
    store.runs.delete(["r1"], at=None)
    bring(found)
    assert store.runs.get("r1").deleted_at is None


def test_a_run_of_the_same_id_from_elsewhere_is_left_alone(store, bring):
    store.runs.create(a_run(params={"mine": "1"}))
    report = bring(an_import(a_run(params={"theirs": "1"}), (0, START, 1.0)))
    assert [problem.where for problem in report.problems] == ["r1"]
    assert store.runs.get("r1").params == {"mine": "1"}
    assert sums_up(report)


def test_what_has_no_place_is_a_file_or_a_tag(store, bring):
    run = a_run(params={"nul": "a\0b", "long": "x" * (1 << 21), "fine": "1"}, tags={"half": "\ud800"})
    report = bring(an_import(run)._replace(series=[series("bad\nname", (0, START, 1.5))]))
    assert report.problems == []
    assert (report.counts["params"].kept, report.counts["tags"].kept, report.counts["points"].kept) == (2, 1, 1)
    assert sums_up(report)
    stored = store.runs.get("r1")
    assert stored.params == {"fine": "1"}
    assert set(stored.artifacts) == {"imported/params.json", "imported/tags.json", "imported/metrics.jsonl"}
    assert b"1.5" in fetch_object(store.bucket, stored.artifacts["imported/metrics.jsonl"]).read_bytes()
    changed = bring(an_import(a_run(params={"fine": "2"})))
    assert changed.counts["params"].kept == 1
    assert store.runs.get("r1").tags["changed.fine"] == "2"


def test_a_file_that_is_gone_is_told_and_the_rest_comes(store, bring, tmp_path):
    missing = Attachment("gone.bin", tmp_path / "gone.bin")
    report = bring(Problem("runs", "r0", "torn"), an_import(a_run(), (0, START, 1.0), files=[missing]))
    assert [(problem.kind, problem.where) for problem in report.problems] == [
        ("runs", "r0"),
        ("artifacts", str(tmp_path / "gone.bin")),
    ]
    assert report.counts["points"].imported == 1
    assert sums_up(report)


def test_an_import_that_was_cut_off_is_completed(store, bring, monkeypatch):
    found = an_import(a_run(deleted_at=START + 20), (0, START, 1.0))
    with monkeypatch.context() as patch:
        patch.setattr(store.series, "ingest", lambda batches: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            bring(found)
    assert store.runs.get("r1").deleted_at is None
    bring(found)
    assert store.runs.get("r1").deleted_at == START + 20
    assert len(store.series.points("r1", "loss")) == 1
