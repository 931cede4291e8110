import subprocess
import sys
import threading

import pytest

from tidegate.clock import Clock
from tidegate.errors import BadInputError, ConflictError, NotFoundError, UsageError
from tidegate.records.run import RunState
from tidegate.store import fetch_object
from tidegate.tracking import Runs


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def runs(store, project):
    return Runs(store, Clock(), journals=store.root / "journal", project=project, author="ana")


def git(folder, *words):
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *words], check=True, capture_output=True
    )


def test_a_run_is_recorded(runs, store):
    with runs.start("delay", params={"depth": 6}) as run:
        run.params(rate=0.1)
        for step in range(3):
            run.log(loss=1.0 / (step + 1), step=step)
        run.tag(team="ops")
        run.artifact(b"bytes", "note.txt")
    found = runs.get(run.id)
    assert found.state is RunState.FINISHED
    assert (found.params, found.tags, found.author) == ({"depth": "6", "rate": "0.1"}, {"team": "ops"}, "ana")
    assert found.metrics["loss"].count == 3
    assert runs.artifact(run.id, "note.txt").read_bytes() == b"bytes"
    assert not list((store.root / "journal").glob("*"))


def test_steps_count_by_themselves(runs):
    with runs.start("delay") as run:
        run.log(loss=1)
        run.log(loss=2)
        run.log(loss=3, step=10)
        run.log(loss=4)
    assert runs.points(run.id, "loss").steps.tolist() == [0, 1, 10, 11]


def test_an_error_makes_the_run_fail_and_keeps_its_points(runs):
    run = runs.start("delay")
    run.log(loss=1.0)
    with pytest.raises(ZeroDivisionError), run:
        run.log(loss=1 / 0)
    found = runs.get(run.id)
    assert (found.state, found.metrics["loss"].count) == (RunState.FAILED, 1)
    assert found.tags["error"].startswith("ZeroDivisionError")


KILLED = """
import os, sys
from pathlib import Path
from tidegate.clock import Clock
from tidegate.store import open_store
from tidegate.tracking import Runs
store = open_store(Path(sys.argv[1]))
runs = Runs(store, Clock(), journals=store.root / "journal", project=Path(sys.argv[1]))
run = runs.start("delay")
for step in range(1000):
    run.log(loss=float(step), step=step)
os.kill(os.getpid(), 9)
"""


def test_a_killed_run_loses_no_point_and_is_marked_crashed(runs, store):
    subprocess.run([sys.executable, "-c", KILLED, str(store.root)], check=False)
    recovered = runs.recover()
    assert len(recovered) == 1
    found = runs.get(recovered[0])
    assert (found.state, found.metrics["loss"].count) == (RunState.CRASHED, 1000)
    assert runs.recover() == []


def test_what_is_logged_after_the_end_is_refused(runs):
    with runs.start("delay") as run:
        run.log(loss=1.0)
    with pytest.raises(ConflictError, match="has ended"):
        run.log(loss=2.0)
    run.finish()
    assert runs.get(run.id).metrics["loss"].count == 1


def test_threads_may_log_together(runs):
    with runs.start("delay") as run:
        threads = [
            threading.Thread(target=lambda name: [run.log(**{name: 1.0}) for _ in range(200)], args=(f"m{number}",))
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {name: summary.count for name, summary in runs.get(run.id).metrics.items()} == {
        f"m{number}": 200 for number in range(4)
    }


def test_looking_for_crashed_runs_never_takes_one_that_is_ending(runs, store):
    seen = []
    for _ in range(10):
        with runs.start("delay") as run:
            run.log(loss=1.0)
            looking = threading.Thread(target=lambda: [seen.extend(runs.recover()) for _ in range(20)])
            looking.start()
        looking.join()
        assert runs.get(run.id).state is RunState.FINISHED
    assert seen == []


def test_the_journal_of_an_unknown_run_is_left_alone(runs, store):
    stray = store.root / "journal" / "unknown-1.journal"
    stray.parent.mkdir()
    stray.write_bytes(b"")
    assert runs.recover() == []
    assert stray.exists()


def test_a_living_run_is_not_recovered(runs):
    with runs.start("delay") as run:
        assert runs.recover() == []
    assert runs.get(run.id).state is RunState.FINISHED


def test_without_git_the_run_says_that_it_does_not_know(runs):
    with runs.start("delay") as run:
        pass
    environment = runs.get(run.id).environment
    assert (environment.git_commit, environment.git_dirty, environment.patch_digest) == ("", None, "")
    assert environment.packages["numpy"]


def test_uncommitted_changes_are_kept_with_the_run(runs, store, project):
    git(project, "init", "-b", "main")
    (project / "tracked.py").write_text("x = 1\n")
    git(project, "add", ".")
    git(project, "commit", "-m", "first")
    with runs.start("delay") as clean:
        pass
    (project / "new file.py").write_text("y = 1\n")
    with runs.start("delay") as dirty:
        pass
    first, second = runs.get(clean.id).environment, runs.get(dirty.id).environment
    assert (first.git_dirty, second.git_dirty, first.git_commit) == (False, True, second.git_commit)
    assert fetch_object(store.bucket, second.patch_digest).stat().st_size > 0


def test_comparison_shows_only_what_differs(runs):
    ids = []
    for depth in (6, 8):
        with runs.start("delay", params={"depth": depth, "rate": 0.1}) as run:
            run.log(loss=depth / 10)
        ids.append(run.id)
    differences = {(item.section, item.name): item.values for item in runs.compare(ids).differences}
    assert differences == {("param", "depth"): ["6", "8"], ("metric", "loss"): ["0.6", "0.8"]}


def test_the_beginning_of_an_id_is_enough(runs):
    with runs.start("delay", name="mine") as run:
        pass
    with runs.start("delay", name="it's") as other:
        pass
    assert runs.get(run.id[:20]).id == runs.get("mine").id == run.id
    assert runs.get("it's").id == other.id
    with pytest.raises(UsageError, match="2 runs match"):
        runs.get(run.id[:3])
    for wild in ("%", run.id[:19] + "_", "", "'"):
        with pytest.raises(NotFoundError):
            runs.get(wild)


def test_bad_input_is_refused_and_loses_nothing(runs):
    with pytest.raises(UsageError, match="cannot name"):
        runs.start("a/b")
    with pytest.raises(NotFoundError):
        runs.get("nothing-like-that")
    with runs.start("delay", params={"depth": 6}) as run:
        run.log(loss=1.0)
        with pytest.raises(BadInputError, match="metrics are numbers"):
            run.log(loss="low")
        with pytest.raises(ConflictError):
            run.params(depth=7)
        with pytest.raises(UsageError, match="bytes need a name"):
            run.artifact(b"x")
        with pytest.raises(UsageError, match="no file"):
            run.artifact("/absent/file")
    assert runs.get(run.id).metrics["loss"].count == 1
