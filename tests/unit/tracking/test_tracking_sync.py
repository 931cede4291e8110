import os
import shutil
import struct
import time
import zlib

import msgspec
import pytest

from tidegate.clock import MINUTE, Clock
from tidegate.errors import UsageError
from tidegate.records.run import Artifact, Run, RunState
from tidegate.store.journal import Bulk, Note, Opening, Points
from tidegate.tracking import Place, Runs, Wanted, start_run


@pytest.fixture
def journals(store):
    return store.root / "journal"


@pytest.fixture
def runs(store, tmp_path, journals):
    return Runs(store, Clock(), journals=journals, project=tmp_path)


def offline(folder, **how):
    return start_run(Place(folder, folder.parent, Clock()), None, Wanted("delay", **how))


def test_a_folder_without_journals_is_told(runs, tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        runs.sync(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no journal"):
        runs.sync(tmp_path / "empty")
    assert runs.sync().once().runs == []


def test_a_living_writer_s_folder_is_shipped_while_it_writes(runs, tmp_path):
    run = offline(tmp_path / "there")
    sync = runs.sync(tmp_path / "there")
    for step in range(3):
        run.log(loss=float(step))
        shipped = sync.once().runs[0]
        assert (shipped.points, shipped.writing, shipped.state) == (1, True, "RUNNING")
    run.finish()
    shipped = sync.once().runs[0]
    assert (shipped.points, shipped.writing, shipped.state) == (0, False, "FINISHED")
    assert runs.get(run.id).metrics["loss"].count == 3


def test_its_own_living_runs_are_left_alone(runs, journals):
    with runs.start("delay") as run:
        run.log(loss=1.0)
        assert runs.sync().once().problems == []
        assert runs.get(run.id).state is RunState.RUNNING
        assert len(list(journals.glob("*/*.journal"))) == 1
    assert runs.get(run.id).state is RunState.FINISHED


def test_a_run_that_was_killed_elsewhere_is_crashed_once_it_is_silent(runs, tmp_path):
    run = offline(tmp_path / "there")
    run.log(loss=1.0)
    run._journal.sync()
    shutil.copytree(tmp_path / "there", tmp_path / "copied")
    journal = next((tmp_path / "copied").glob("*/*.journal"))
    before = time.time() - 3600
    os.utime(journal, (before, before))
    assert runs.sync(tmp_path / "copied").once().runs[0].state == "CRASHED"
    # It lived all the time: the next copy brings it back, and nothing is lost or doubled.
    run.log(loss=2.0)
    run.finish()
    shutil.copytree(tmp_path / "there", tmp_path / "copied", dirs_exist_ok=True)
    assert runs.sync(tmp_path / "copied").once().runs[0].state == "FINISHED"
    assert runs.get(run.id).metrics["loss"].count == 2


def test_damage_is_told_and_the_file_is_kept(runs, journals, tmp_path):
    with offline(journals) as run:
        for step in range(20):
            run.log(loss=float(step))
    path = next(journals.glob("*/*.journal"))
    broken = bytearray(path.read_bytes())
    broken[-600] ^= 255
    path.write_bytes(broken)
    shutil.copytree(journals, tmp_path / "copied")
    elsewhere = runs.sync(tmp_path / "copied").once()
    assert "damaged in the middle" in elsewhere.problems[0]
    own = runs.sync().once()
    assert any("it is kept as" in problem for problem in own.problems)
    assert [kept.read_bytes() for kept in journals.glob("*/*.damaged")] == [bytes(broken)]
    found = runs.get(run.id)
    assert 0 < found.metrics["loss"].count < 20
    assert found.state is RunState.CRASHED
    assert runs.sync().once().problems == []


def test_an_artifact_whose_bytes_were_not_copied_is_told_and_comes_later(runs, tmp_path):
    with offline(tmp_path / "there") as run:
        run.log(loss=1.0)
        run.artifact(b"bytes", "note.txt")
        run.log(loss=2.0)
    shutil.copytree(tmp_path / "there", tmp_path / "copied", ignore=lambda _, names: {"objects"} & set(names))
    problems = runs.sync(tmp_path / "copied").once().problems
    assert "note.txt" in problems[0]
    shutil.copytree(tmp_path / "there", tmp_path / "copied", dirs_exist_ok=True)
    assert runs.sync(tmp_path / "copied").once().problems == []
    assert runs.get(run.id).metrics["loss"].count == 2
    assert runs.artifact(run.id, "note.txt").read_bytes() == b"bytes"


def test_a_deleted_run_refuses_and_nothing_is_dropped(runs, store, journals, tmp_path):
    with offline(tmp_path / "there") as run:
        run.log(loss=1.0)
    runs.sync(tmp_path / "there").once()
    store.runs.delete([run.id], at=1)
    with offline(tmp_path / "there", resume=run.id) as again:
        again.log(loss=2.0)
    report = runs.sync(tmp_path / "there").once()
    assert "is deleted" in report.problems[0]
    store.runs.delete([run.id], at=None)
    assert runs.sync(tmp_path / "there").once().problems == []
    assert runs.get(run.id).metrics["loss"].count == 2


def test_what_is_no_journal_is_told(runs, tmp_path):
    (tmp_path / "there" / "run").mkdir(parents=True)
    (tmp_path / "there" / "run" / "x.journal").write_bytes(b"something else, of whatever length it may be")
    assert "is no journal" in runs.sync(tmp_path / "there").once().problems[0]


def test_silent_runs_of_other_hosts_become_crashed_and_come_back(runs, store, tmp_path, journals):
    now = Clock().now()
    shown = [now]
    watching = Runs(store, Clock(lambda: shown[0]), journals=tmp_path / "another-host", project=tmp_path)
    with runs.start("delay") as run:
        run.log(loss=1.0)
        shown[0] = now + 4 * MINUTE
        assert watching.recover() == []
        shown[0] = now + 6 * MINUTE
        assert watching.recover() == [run.id]
        assert runs.get(run.id).state is RunState.CRASHED
        # It was only suspended: it is heard of again, and loses nothing.
        store.runs.hear(run.id, shown[0])
        assert runs.get(run.id).state is RunState.RUNNING
        assert watching.recover() == []
        run.log(loss=2.0)
        shown[0] = now + 60 * MINUTE
        watching.recover()
    found = runs.get(run.id)
    assert (found.state, found.metrics["loss"].count) == (RunState.FINISHED, 2)


def test_a_living_local_writer_is_never_crashed_whatever_the_clock_says(runs, store, journals, tmp_path):
    shown = [0]
    same_host = Runs(store, Clock(lambda: shown[0]), journals=journals, project=tmp_path)
    with runs.start("delay") as run:
        for jump in (0, 365 * 24 * 60 * MINUTE, -60 * MINUTE):
            shown[0] = Clock().now() + jump
            assert same_host.recover() == []
            assert runs.get(run.id).state is RunState.RUNNING


def test_runs_of_mlflow_clients_are_never_silent(runs, store):
    with runs.start("delay") as run:
        pass
    store.runs.change_state(run.id, RunState.RUNNING, 1)
    store.runs.hear(run.id, 0)
    assert runs.recover() == []
    assert runs.get(run.id).state is RunState.RUNNING


def hostile(folder, *frames, run_id="theirs"):
    """The folder of a run that somebody else has written by hand."""
    folder.mkdir(parents=True)
    run = Run(id=run_id, experiment="delay", name="theirs", state=RunState.RUNNING, started_at=1)
    opening = Opening(1, 1, run_id, "w", "elsewhere", 1, owner=True, run=run)
    payloads = [msgspec.msgpack.encode(frame) for frame in (opening, *frames)]
    data = b"".join(struct.pack("<II", len(payload), zlib.crc32(payload)) + payload for payload in payloads)
    (folder / "a.journal").write_bytes(data)
    return folder


@pytest.mark.parametrize("where", ["file", "folder", "named"])
def test_a_link_in_a_folder_from_elsewhere_brings_no_file_of_ours(runs, store, tmp_path, where):
    secret = tmp_path / "home" / "aa" / ("b" * 62)
    secret.parent.mkdir(parents=True)
    secret.write_text("a private key")
    artifact = Artifact(path="model", digest="aa" + "b" * 62, size=1)
    folder = hostile(tmp_path / "there" / "r", *([Note(2, artifacts=[artifact])] if where == "named" else []))
    if where == "folder":
        (folder / "objects").symlink_to(tmp_path / "home")
    else:
        (folder / "objects" / "sha256" / "aa").mkdir(parents=True)
        (folder / "objects" / "sha256" / "aa" / secret.name).symlink_to(secret)
    problems = runs.sync(tmp_path / "there").once().problems
    assert list(store.bucket.keys("objects/")) == []
    assert ("artifact" in "".join(problems)) == (where == "named")


@pytest.mark.parametrize(
    "frame",
    [
        Points(2, 1 << 63, 1, {"m": 1.0}),
        Points(2, 1, (1 << 64) - 1, {"m": 1.0}),
        Points(1 << 63, 1, 1, {"m": 1.0}),
        Points(2, 1, 1, {"m\0": 1.0}),
        Bulk(2, "m", b"abc", bytes(8), bytes(8)),
        Bulk(2, "m", bytes(16), bytes(8), bytes(8)),
        Bulk(2, "m", bytes(16), bytes(24), bytes(16)),
        Note(2, artifacts=[Artifact(path="p", digest="../../../../id_rsa", size=1)]),
        Note(2, tags={"a": "\0"}),
    ],
)
def test_what_no_journal_can_say_is_told_and_stops_nobody_else(runs, tmp_path, frame):
    hostile(tmp_path / "there" / "a", frame)
    hostile(tmp_path / "there" / "b", Points(2, 1, 1, {"m": 1.0}), run_id="honest")
    report = runs.sync(tmp_path / "there").once()
    assert len(report.problems) == 1
    assert runs.get("honest").metrics["m"].last == 1.0
    assert (tmp_path / "there" / "a" / "a.journal").exists()


@pytest.mark.parametrize("run_id", ["", "../../evil", "a/b", "x" * 101])
def test_an_id_that_would_lead_elsewhere_is_no_run(runs, tmp_path, run_id):
    hostile(tmp_path / "there" / "a", run_id=run_id)
    assert "no id of its run" in runs.sync(tmp_path / "there").once().problems[0]
    assert runs.search() == []


def test_a_pipe_is_no_journal(runs, tmp_path):
    (tmp_path / "there" / "r").mkdir(parents=True)
    os.mkfifo(tmp_path / "there" / "r" / "a.journal")
    with pytest.raises(UsageError, match="holds no journal"):
        runs.sync(tmp_path / "there")


def test_damage_full_of_what_looks_like_frames_is_looked_at_for_a_while_only(runs, tmp_path):
    folder = hostile(tmp_path / "there" / "r")
    with (folder / "a.journal").open("ab") as file:
        file.write(b"\1\0" + b"\x92\0" * (6 << 20))
    assert "damaged in the middle" in runs.sync(tmp_path / "there").once().problems[0]
