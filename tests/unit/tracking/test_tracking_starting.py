import shutil
import sqlite3

import pytest

from tidegate.clock import Clock
from tidegate.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from tidegate.records.run import RunState
from tidegate.tracking import Place, Runs, Wanted, open_in_time, shipping, start_run, starting


@pytest.fixture
def journals(store):
    return store.root / "journal"


@pytest.fixture
def runs(store, tmp_path, journals):
    return Runs(store, Clock(), journals=journals, project=tmp_path)


@pytest.fixture
def place(tmp_path, journals):
    return Place(journals, tmp_path, Clock(), "ana")


def test_an_offline_run_comes_to_the_store_later_and_twice_without_harm(runs, place, journals, capfd):
    with start_run(place, None, Wanted("delay", params={"depth": 6}, tags={"team": "ops"})) as run:
        for step in range(50):
            run.log(loss=step / 3)
        run.params(rate=0.1)
        run.artifact(b"bytes", "note.txt")
    assert "tidegate sync" in capfd.readouterr().err
    with pytest.raises(NotFoundError):
        runs.get(run.id)
    for _ in range(2):
        assert runs.sync().once().problems == []
    found = runs.get(run.id)
    assert (found.state, found.author, found.params, found.tags) == (
        RunState.FINISHED,
        "ana",
        {"depth": "6", "rate": "0.1"},
        {"team": "ops"},
    )
    assert (found.experiment, found.metrics["loss"].count, found.started_at <= found.ended_at) == ("delay", 50, True)
    assert found.environment.packages["numpy"]
    assert runs.artifact(run.id, "note.txt").read_bytes() == b"bytes"
    assert not list(journals.iterdir())


def test_an_offline_run_of_a_process_that_ended_comes_when_the_store_is_opened(runs, place):
    with start_run(place, None, Wanted("delay")) as run:
        run.log(loss=1.0)
    assert runs.recover() == []
    assert (runs.get(run.id).state, runs.get(run.id).metrics["loss"].count) == (RunState.FINISHED, 1)


def test_a_store_that_is_away_when_the_run_begins_gets_it_when_it_is_back(runs, store, monkeypatch, capfd):
    monkeypatch.setattr(starting, "_START_SECONDS", 0.3)
    monkeypatch.setattr(shipping, "_TAKE_SECONDS", 0.1)
    blocker = sqlite3.connect(store.root / "metadata.db", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    run = runs.start("delay", params={"depth": 6})
    run.log(loss=1.0)
    assert "did not answer" in capfd.readouterr().err
    blocker.execute("ROLLBACK")
    blocker.close()
    run.finish()
    found = runs.get(run.id)
    assert (found.state, found.params, found.metrics["loss"].count) == (RunState.FINISHED, {"depth": "6"}, 1)


def test_a_store_that_cannot_be_opened_is_said(journals, capfd):
    def away():
        raise UnavailableError("database-unavailable", "the database is away")

    assert open_in_time(away, journals) is None
    assert "records offline" in capfd.readouterr().err
    assert open_in_time(lambda: 3, journals) == 3
    with pytest.raises(UsageError):
        open_in_time(lambda: int(1 / 0) if not journals else (_ for _ in ()).throw(UsageError("x", "y")), journals)


def test_a_resumed_run_goes_on_after_its_last_step(runs):
    with runs.start("delay", params={"depth": 6}) as first:
        first.log(loss=1.0, step=7)
    with runs.start(resume=first.id, tags={"again": 1}) as run:
        assert runs.get(first.id).state is RunState.RUNNING
        run.log(loss=2.0)
        run.log(loss=9.0, step=7)
        with pytest.raises(ConflictError, match="cannot become"):
            run.params(depth=7)
    found = runs.get(first.id)
    assert (run.id, found.state, found.tags["again"]) == (first.id, RunState.FINISHED, "1")
    series = runs.points(first.id, "loss")
    assert list(zip(series.steps.tolist(), series.values.tolist(), strict=True)) == [(7, 1.0), (7, 9.0), (8, 2.0)]


def test_what_cannot_be_resumed_is_told(runs, store):
    with pytest.raises(NotFoundError, match="there is no run"):
        runs.start(resume="nothing")
    with pytest.raises(UsageError, match="cannot name"):
        runs.start(resume="../../etc")
    with pytest.raises(UsageError, match="exclude"):
        runs.start("delay", resume="a", join="b")
    with runs.start("delay") as run, pytest.raises(ConflictError, match="living process"):
        runs.start(resume=run.id)
    store.runs.delete([run.id], at=5)
    with pytest.raises(ConflictError, match="deleted"):
        runs.start(resume=run.id)


def test_a_run_is_resumed_offline_too(runs, place):
    with start_run(place, None, Wanted("delay", id="mine")) as run:
        run.log_series("bulk", [1.0, 2.0], steps=[3, 9])
    with start_run(place, None, Wanted("delay", resume="mine")) as run:
        run.log(loss=1.0)
    runs.sync().once()
    found = runs.get("mine")
    assert (found.state, found.metrics["loss"].last_step, found.metrics["bulk"].count) == (RunState.FINISHED, 10, 2)


def test_an_id_begins_a_run_and_then_resumes_it(runs):
    for loss in (1.0, 2.0):
        with runs.start("delay", id="slurm-42", params={"depth": 6}) as run:
            run.log(loss=loss)
    found = runs.get("slurm-42")
    assert (found.metrics["loss"].count, found.metrics["loss"].last_step, found.state) == (2, 1, RunState.FINISHED)


def test_ranks_join_a_run_and_only_its_owner_ends_it(runs, store, journals):
    with runs.start("delay", id="ddp") as owner:
        with runs.start(join="ddp") as rank:
            rank.log(loss=1.0, step=1)
            rank.params(rank1=1)
        assert runs.get("ddp").state is RunState.RUNNING
        assert runs.get("ddp").metrics["loss"].count == 1
        with pytest.raises(ZeroDivisionError), runs.start(join="ddp") as failing:
            failing.log(loss=1 / 0)
        assert runs.get("ddp").state is RunState.RUNNING
        owner.log(loss=2.0, step=1)
    found = runs.get("ddp")
    assert (found.state, found.metrics["loss"].count, found.params) == (RunState.FINISHED, 2, {"rank1": "1"})
    assert len(store.series.taken("ddp")) == 3
    assert not list(journals.iterdir())


def test_ranks_may_disagree_about_a_parameter_and_nothing_is_dropped(runs, capfd):
    with runs.start("delay", id="ddp", params={"seed": 1}), runs.start(join="ddp") as rank:
        rank.params(seed=2, other=3)
        rank.tag(host="b")
    found = runs.get("ddp")
    assert found.params == {"seed": "1", "other": "3"}
    assert found.tags == {"refused.params.seed": "2", "host": "b"}
    assert "kept as a tag" in capfd.readouterr().err


def test_a_rank_may_come_before_the_run(runs, monkeypatch):
    monkeypatch.setattr(shipping, "_LAST_SECONDS", 0.2)
    with runs.start(join="later") as rank:
        rank.log(loss=1.0)
    with runs.start("delay", id="later") as owner:
        owner.log(loss=2.0)
    runs.recover()
    assert runs.get("later").metrics["loss"].count == 2


def test_a_folder_from_another_machine_is_shipped_and_left_as_it_is(runs, tmp_path, journals):
    there = Place(tmp_path / "there", tmp_path, Clock())
    with start_run(there, None, Wanted("delay")) as run:
        run.log(loss=1.0)
        run.artifact(b"bytes", "note.txt")
    shutil.copytree(tmp_path / "there", tmp_path / "copied")
    before = {path: path.read_bytes() for path in (tmp_path / "copied").rglob("*") if path.is_file()}
    first = runs.sync(tmp_path / "copied").once()
    second = runs.sync(tmp_path / "copied" / run.id).once()
    assert (first.runs[0].points, first.runs[0].state, second.runs[0].points) == (1, "FINISHED", 0)
    assert {path: path.read_bytes() for path in (tmp_path / "copied").rglob("*") if path.is_file()} == before
    assert runs.artifact(run.id, "note.txt").read_bytes() == b"bytes"
    assert runs.get(run.id).metrics["loss"].count == 1
