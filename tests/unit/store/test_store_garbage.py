import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from tidegate.clock import DAY, HOUR, SECOND, Clock
from tidegate.errors import IntegrityError, RefusedError, UsageError
from tidegate.records.run import Artifact, Environment, Run, RunState
from tidegate.store import fetch_object, object_key, put_object
from tidegate.store.garbage import collect, explain, find_garbage
from tidegate.store.ports import Batch, Document
from tidegate.store.verify import changed_objects, object_digests
from tidegate.testing.series import of_points

NOW = Clock().now()


def aged(store, *digests):
    """Makes objects a month old."""
    for digest in digests:
        path = store.bucket.local(object_key(digest))
        os.utime(path, (time.time() - 30 * 86_400,) * 2)


def add_run(store, run_id, *, artifacts=(), patch="", experiment="e", points=0):
    environment = Environment(
        argv=[], directory="/", python="3", platform="p", processors=1, memory_bytes=1, packages={}, patch_digest=patch
    )
    store.runs.create(
        Run(id=run_id, experiment=experiment, name=run_id, state=RunState.RUNNING, started_at=1, environment=environment)
    )
    store.artifacts.put(run_id, [Artifact(path=f"f{number}", digest=digest, size=1) for number, digest in enumerate(artifacts)])
    if points:
        series = of_points("loss", *[(step, step, step / 7) for step in range(points)])
        store.series.ingest([Batch(run_id, "w", 1, [series])])


def held(store):
    return set(object_digests(store.bucket))


def test_what_something_refers_to_is_kept(any_store):
    store = any_store
    named = {
        name: put_object(store.bucket, name.encode())
        for name in ("artifact", "patch", "manifest", "body", "journal", "tag", "catalog")
    }
    loose = put_object(store.bucket, b"nobody wants this")
    add_run(store, "a", artifacts=[named["artifact"]], patch=named["patch"])
    store.runs.annotate("a", tags={"report": f"see {named['tag']}!"})
    store.bucket.put_if_absent("models/m/versions/1/manifest.json", msgspec.json.encode({"files": {"x": named["manifest"]}}))
    store.documents.add(Document("alert", "1", "m", "open", 1, {"evidence": [named["body"]]}, 1))
    (store.root / "journal" / "r").mkdir(parents=True)
    (store.root / "journal" / "r" / "1.journal").write_bytes(b"\x93\xd9\x40" + named["journal"].encode() + b"\xc0")
    store.bucket.put_if_absent("unknown/room/notes.txt", f"somebody keeps {named['catalog']} here".encode())
    aged(store, loose, *named.values())

    garbage = find_garbage(store, Clock())
    assert [item.digest for item in garbage.objects] == [loose]
    assert garbage.kept_objects == len(named)
    assert held(store) == {loose, *named.values()}  # a plan changes nothing
    done = collect(store, Clock(), garbage)
    assert (done.objects, done.object_bytes) == (1, 17)
    assert held(store) == set(named.values())
    assert not find_garbage(store, Clock())


def test_what_is_young_is_kept(store):
    young = put_object(store.bucket, b"young")
    garbage = find_garbage(store, Clock())
    assert (garbage.objects, garbage.young_objects) == ([], 1)
    assert "younger than the grace period" in " ".join(explain(garbage))
    aged(store, young)
    put_object(store.bucket, b"young")  # put again, and so it is young again
    assert find_garbage(store, Clock()).objects == []


def test_what_is_put_again_while_it_is_collected_stays(store):
    loose = put_object(store.bucket, b"loose")
    aged(store, loose)
    garbage = find_garbage(store, Clock())
    assert len(garbage.objects) == 1
    put_object(store.bucket, b"loose")
    assert collect(store, Clock(), garbage).objects == 0
    assert fetch_object(store.bucket, loose).read_bytes() == b"loose"


def test_deleted_runs_go_after_their_grace_and_take_their_objects_along(any_store):
    store = any_store
    shared, own, kept = (put_object(store.bucket, text) for text in (b"shared", b"own" * 1000, b"kept"))
    add_run(store, "gone", artifacts=[shared, own], points=3000, experiment="old")
    add_run(store, "stays", artifacts=[shared, kept], experiment="old")
    add_run(store, "waits", experiment="new")
    aged(store, shared, own, kept)
    store.runs.delete(["gone"], at=NOW - 8 * DAY)
    store.runs.delete(["waits"], at=NOW - 6 * DAY)
    garbage = find_garbage(store, Clock())
    assert ([run.id for run in garbage.runs], [item.digest for item in garbage.objects]) == (["gone"], [own])
    assert (garbage.runs[0].points, garbage.waiting_runs, garbage.bytes) == (3000, 1, 3000)
    done = collect(store, Clock(), garbage)
    assert (done.runs, done.objects) == (1, 1)
    assert held(store) == {shared, kept}
    assert [run.id for run in store.runs.search(deleted=None, limit=None)] == ["stays", "waits"]
    store.runs.delete(["waits"], at=None)
    assert store.runs.get("waits").deleted_at is None


def test_a_run_that_is_restored_in_between_stays(store):
    wanted = put_object(store.bucket, b"wanted")
    add_run(store, "a", artifacts=[wanted])
    aged(store, wanted)
    store.runs.delete(["a"], at=NOW - 30 * DAY)
    garbage = find_garbage(store, Clock())
    assert (len(garbage.runs), len(garbage.objects)) == (1, 1)
    store.runs.delete(["a"], at=None)
    done = collect(store, Clock(), garbage)
    assert (done.runs, done.objects) == (0, 0)
    assert store.runs.get("a").artifacts == {"f0": wanted}


def test_the_name_of_a_deleted_experiment_becomes_free(any_store):
    store = any_store
    add_run(store, "a", experiment="taken")
    number = store.experiments.find("taken").id
    store.experiments.delete(number, at=NOW - 8 * DAY)
    garbage = find_garbage(store, Clock())
    assert [item.name for item in garbage.experiments] == ["taken"]
    assert "its name becomes free" in " ".join(explain(garbage))
    assert collect(store, Clock(), garbage).experiments == 1
    assert store.experiments.create("taken", at=NOW).deleted_at is None


def test_the_room_comes_back(store):
    for number in range(40):
        add_run(store, f"r{number}", points=20_000)
    store.runs.delete([f"r{number}" for number in range(39)], at=NOW - 8 * DAY)
    done = collect(store, Clock(), find_garbage(store, Clock()))
    assert done.runs == 39
    assert done.database_before > 500_000
    assert done.database_after < done.database_before / 3
    assert (store.root / "metadata.db").stat().st_size == done.database_after
    assert len(store.series.points("r39", "loss")) == 20_000


@pytest.mark.parametrize(
    ("key", "data"), [("models/m/versions/1/manifest.json", b'{"files": {"x": "ab'), ("datasets/d/1.json", b"")]
)
def test_a_document_that_cannot_be_read_ends_the_collection(store, key, data):
    loose = put_object(store.bucket, b"loose")
    aged(store, loose)
    garbage = find_garbage(store, Clock())
    store.bucket.put_if_absent(key, data)
    with pytest.raises(IntegrityError):
        find_garbage(store, Clock())
    with pytest.raises(IntegrityError):
        collect(store, Clock(), garbage)
    assert held(store) == {loose}


def test_a_record_that_cannot_be_read_ends_the_collection(store):
    loose = put_object(store.bucket, b"loose")
    aged(store, loose)
    add_run(store, "a")
    with store.database.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET environment = '{\"argv\": [' WHERE id = 'a'")
    with pytest.raises(IntegrityError):
        find_garbage(store, Clock())


def test_a_bad_grace_is_refused(store):
    with pytest.raises(UsageError):
        find_garbage(store, Clock(), grace_us=-1)


def test_a_server_in_between_is_refused(store):
    remote = type(store)(**{**{name: getattr(store, name) for name in store.__dataclass_fields__}, "database": None})
    with pytest.raises(RefusedError):
        find_garbage(remote, Clock())


def test_a_replayed_clock_does_not_make_objects_old(store):
    put_object(store.bucket, b"young")
    future = Clock.replay(NOW + 100 * DAY)
    assert find_garbage(store, future).objects == []


@pytest.mark.parametrize("turn", range(3))
def test_writers_lose_nothing_while_garbage_is_collected(store, turn):
    """Four writers put what lies there unused, and say afterwards that they need it; meanwhile all that is unused goes."""
    contents = [f"{turn} content {number}".encode() for number in range(200)]
    aged(store, *[put_object(store.bucket, content) for content in contents])
    ready = threading.Barrier(5)

    def write(writer):
        ready.wait()
        digests = [put_object(store.bucket, content) for content in contents[writer::7]]
        store.artifacts.put(f"model-{writer}", [Artifact(path=digest, digest=digest, size=9) for digest in digests])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    removed = sum(collect(store, Clock(), find_garbage(store, Clock(), grace_us=60 * SECOND)).objects for _ in range(3))
    for thread in threads:
        thread.join()
    assert removed > 50
    wanted = {item.digest for writer in range(4) for item in store.artifacts.list(f"model-{writer}")}
    assert len(wanted) == sum(len(contents[writer::7]) for writer in range(4))
    assert wanted <= held(store)


KILLED = """
import sys, os, time
from pathlib import Path
from tidegate.clock import Clock
from tidegate.store import open_store
from tidegate.store.garbage import collect, find_garbage
store = open_store(Path(sys.argv[1]))
garbage = find_garbage(store, Clock())
print(len(garbage.objects), flush=True)
collect(store, Clock(), garbage, advance=lambda: time.sleep(0.002))
print("done", flush=True)
"""


@pytest.mark.parametrize("after", [0.0, 0.15])
def test_a_collection_that_is_killed_is_finished_by_the_next(store, after):
    kept = [put_object(store.bucket, f"kept {number}".encode()) for number in range(30)]
    loose = [put_object(store.bucket, f"loose {number}".encode()) for number in range(200)]
    aged(store, *kept, *loose)
    add_run(store, "stays", artifacts=kept)
    for number in range(20):
        add_run(store, f"gone{number}", artifacts=loose[number * 10 : number * 10 + 10], points=500)
    store.runs.delete([f"gone{number}" for number in range(20)], at=NOW - 8 * DAY)
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "200\n"
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert set(kept) <= held(store)
    assert changed_objects(store.bucket, object_digests(store.bucket)) == []
    for run in store.runs.search(deleted=None, limit=None):
        for digest in run.artifacts.values():
            assert fetch_object(store.bucket, digest)
    collect(store, Clock(), find_garbage(store, Clock()))
    assert held(store) == set(kept)
    assert not find_garbage(store, Clock())


def test_what_dead_writers_left_goes_after_a_day(store):
    put_object(store.bucket, b"x")
    folder = store.bucket.root / ".tmp"
    old, new = folder / ("a" * 32), folder / ("b" * 32)
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    done = collect(store, Clock(), find_garbage(store, Clock(), grace_us=HOUR))
    assert done.unfinished_bytes == 4
    assert (old.exists(), new.exists()) == (False, True)
    assert Path(folder).exists()
