import shutil
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UsageError
from tidegate.records.run import RunState
from tidegate.tracking.importing import import_source, open_wandb
from tidegate.tracking.importing.wandb_log import read_log

WANDB = Path(__file__).parents[2] / "data/imports/wandb"
FOLDER = "offline-run-20261121_155433-3wtaogr2"


@pytest.fixture
def bring(store, clock):
    return lambda path: import_source(store, open_wandb(path), clock=clock)


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(WANDB, tmp_path / "project/wandb")
    return tmp_path / "project/wandb" / FOLDER


def framed(records):
    """The records as W&B frames them: blocks of 32 KiB, each piece with its checksum."""
    out = bytearray(struct.pack("<4sHB", b":W&B", 0xBEE1, 0))
    for record in records:
        rest, first = record, True
        while first or rest:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                continue
            piece, rest = rest[: room - 7], rest[room - 7 :]
            kind = (1 if first else 4) if not rest else (2 if first else 3)
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            first = False
    return bytes(out)


@given(
    sizes=st.lists(st.sampled_from([0, 1, 30, 32740, 32754, 32755, 40000, 70000]) | st.integers(0, 300), max_size=8),
    cut=st.floats(0, 1),
)
def test_records_come_back_and_of_a_torn_file_those_before_the_tear(tmp_path, sizes, cut):
    records = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    data = framed(records)
    path = tmp_path / "run.wandb"
    path.write_bytes(data)
    assert list(read_log(path)) == records
    torn = max(7, int(len(data) * cut))
    path.write_bytes(data[:torn])
    found = [record for record in read_log(path) if isinstance(record, bytes)]
    assert found == records[: len(found)]
    if torn < len(data):
        assert len(found) < len(records)


def test_damage_is_told_and_what_follows_its_block_is_found_again(tmp_path):
    records = [bytes([number]) * 20_000 for number in range(10)]
    data = bytearray(framed(records))
    data[100] ^= 1
    path = tmp_path / "run.wandb"
    path.write_bytes(data)
    found = list(read_log(path))
    assert any(isinstance(item, str) and "checksum" in item for item in found)
    assert [item for item in found if isinstance(item, bytes)] == records[2:]


def test_an_offline_run_comes_whole(store, bring):
    report = bring(WANDB)
    # The files of its two artifacts were in a cache that is gone.
    assert sorted(problem.where for problem in report.problems) == [
        "artifacts/ds/note.txt",
        "artifacts/run-3wtaogr2-tab/tab.table.json",
    ]
    run = store.runs.get(report.runs[0])
    assert (run.experiment, run.name, run.state, run.author) == ("proj", "first", RunState.FINISHED, "me")
    assert run.params == {"lr": "0.1", "opt.name": "adam", "opt.betas": "[0.9, 0.99]", "late": "3"}
    wanted = {"mlflow.note.content": "some notes", "wandb.group": "g1", "wandb.job_type": "train", "wandb.tag.a": "true"}
    assert wanted.items() <= run.tags.items()
    loss = store.series.points(run.id, "loss")
    assert loss.steps.tolist() == list(range(25))
    assert loss.values.tolist() == [1 / (step + 1) for step in range(25)]
    assert loss.times.tolist() == sorted(loss.times.tolist())
    assert store.series.points(run.id, "sub.acc").values.tolist() == [step / 25 for step in range(25)]
    assert store.series.points(run.id, "flag").values.tolist()[:2] == [1.0, 0.0]
    assert [repr(value) for value in store.series.points(run.id, "odd").values.tolist()] == ["nan", "inf", "-inf"]
    assert store.series.points(run.id, "val/loss").steps.tolist() == [41]
    assert run.metrics["best"].last == 0.1
    assert any(name.startswith("system/") for name in run.metrics)
    assert any(name.startswith("media/images/") for name in run.artifacts)
    assert {"output.log", "wandb/history.jsonl", "wandb/summary.json", "wandb/records.jsonl", "wandb/output.log"} <= set(
        run.artifacts
    )
    assert all(count.imported == 0 for count in bring(WANDB).counts.values())


def test_a_torn_run_comes_up_to_the_tear_and_later_whole(store, bring, copied):
    log = copied / "run-3wtaogr2.wandb"
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])
    report = bring(copied.parent)
    assert [problem for problem in report.problems if "ends within a record" in problem.why]
    run = store.runs.get(report.runs[0])
    assert run.state is RunState.CRASHED
    assert 0 < run.metrics["loss"].count < 25
    log.write_bytes(whole)
    bring(copied.parent)
    run = store.runs.get(run.id)
    assert (run.state, run.metrics["loss"].count) == (RunState.FINISHED, 25)


def test_links_are_followed_within_the_project_alone(store, bring, copied, tmp_path):
    (copied.parent.parent / "note.txt").write_text("mine")
    (copied / "files/note.txt").symlink_to(copied.parent.parent / "note.txt")
    (tmp_path / "private").write_text("secret")
    (copied / "files/private").symlink_to(tmp_path / "private")
    report = bring(copied.parent.parent)
    run = store.runs.get(report.runs[0])
    assert "note.txt" in run.artifacts
    assert "private" not in run.artifacts
    assert any("it leads out of" in problem.why for problem in report.problems)


def test_a_resumed_run_is_one_run(store, bring, copied):
    shutil.copytree(copied, copied.with_name("offline-run-20261122_000000-3wtaogr2"))
    report = bring(copied.parent)
    assert len(report.runs) == 1
    assert store.runs.get(report.runs[0]).metrics["loss"].count == 25


def test_what_is_no_run_is_refused(bring, tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        bring(tmp_path)
    (tmp_path / "run-x.wandb").write_bytes(b"no log at all")
    report = bring(tmp_path)
    assert {problem.kind for problem in report.problems} == {"runs"}
    with pytest.raises(UsageError):
        list(read_log(tmp_path / "run-x.wandb"))


@given(flips=st.lists(st.tuples(st.integers(7, 15_669), st.integers(1, 255)), min_size=1, max_size=30), mend=st.booleans())
def test_no_damage_ends_an_import(tmp_path_factory, flips, mend):
    folder = Path(shutil.copytree(WANDB, tmp_path_factory.mktemp("damaged") / "wandb"))
    log = folder / FOLDER / "run-3wtaogr2.wandb"
    data = bytearray(log.read_bytes())
    if mend:  # records that pass their checksums and mean something else
        records = [bytearray(record) for record in read_log(log) if isinstance(record, bytes)]
        for place, bits in flips:
            record = records[place % len(records)]
            record[place % len(record)] ^= bits
        data = framed(map(bytes, records))
    else:
        for place, bits in flips:
            data[place] ^= bits
    log.write_bytes(data)
    items = list(open_wandb(folder).items)
    assert items
