import contextlib
import json
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UsageError
from tidegate.records.run import RunState
from tidegate.store import fetch_object
from tidegate.tracking.importing import import_source, open_tensorboard
from tidegate.tracking.importing.tfevents import crc32c, masked, read_records
from tidegate.tracking.importing.wire import WireError, fields, outline

LOGS = Path(__file__).parents[2] / "data/imports/tensorboard"


@pytest.fixture
def bring(store, clock):
    return lambda path: import_source(store, open_tensorboard(path), clock=clock)


@pytest.fixture
def logs(tmp_path):
    return Path(shutil.copytree(LOGS, tmp_path / "logs"))


def test_the_checksum_is_castagnoli_s():
    # RFC 3720, appendix B.4
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert masked(0) == 0xA282EAD8


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(data):
    read = 0
    with contextlib.suppress(WireError):
        for field in fields(data):
            read += len(field.data)
    assert read <= len(data)
    json.dumps(outline(data))


def test_each_folder_is_a_run_and_comes_whole(store, bring):
    report = bring(LOGS)
    assert report.problems == []
    runs = {run.name: run for run in store.runs.search(experiments=["tensorboard"])}
    assert set(runs) == {"run1", "run1/hp", "run1/nested", "tf2"}
    loss = store.series.points(runs["run1"].id, "loss")
    assert len(loss) == 25
    # Steps 10 to 14 were logged again after a restart.
    assert loss.values[loss.steps == 12].tolist() == [pytest.approx(1 / 13), 9.0]
    assert loss.times[loss.steps == 3].tolist() == [1_700_000_003_000_000]
    assert [repr(value) for value in store.series.points(runs["run1"].id, "odd").values.tolist()] == ["nan", "inf"]
    assert runs["run1"].state is RunState.FINISHED
    assert set(runs["run1"].artifacts) == {
        "tensorboard/histograms/h.jsonl",
        "tensorboard/images/img/1.png",
        "tensorboard/text/note/text_summary.jsonl",
    }
    text = fetch_object(store.bucket, runs["run1"].artifacts["tensorboard/text/note/text_summary.jsonl"]).read_text()
    assert "hello **w**" in text
    assert runs["run1/hp"].params == {"lr": "0.1", "opt": "adam", "b": "true"}
    assert store.series.points(runs["tf2"].id, "loss").values.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert store.series.points(runs["tf2"].id, "acc64").values.tolist() == [0.1]
    assert set(runs["tf2"].artifacts) == {"tensorboard/histograms/hist.jsonl", "tensorboard/text/note.jsonl"}
    assert all(count.imported == 0 for count in bring(LOGS).counts.values())


def test_a_torn_file_comes_up_to_the_tear_and_grows(store, bring, logs):
    path = next((logs / "run1").glob("*560.host"))
    whole = path.read_bytes()
    path.write_bytes(whole[:510])
    report = bring(logs)
    assert [problem for problem in report.problems if "ends within a record" in problem.why]
    run = next(run for run in store.runs.search(limit=None) if run.name == "run1")
    before = run.metrics["loss"].count
    path.write_bytes(whole)
    again = bring(logs)
    assert (again.runs, again.problems) == ([], [])
    assert store.runs.get(run.id).metrics["loss"].count == 25 > before


def test_a_flipped_bit_is_told(bring, logs):
    path = next((logs / "run1").glob("*560.host"))
    data = bytearray(path.read_bytes())
    data[200] ^= 4
    path.write_bytes(data)
    report = bring(logs)
    assert len(report.problems) == 1
    assert "wrong checksum" in report.problems[0].why


def test_a_folder_without_event_files_is_refused(bring, tmp_path):
    with pytest.raises(UsageError, match="no event file"):
        bring(tmp_path)


@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=20))
def test_no_damage_ends_an_import(tmp_path_factory, flips):
    logs = tmp_path_factory.mktemp("damaged")
    for path in LOGS.rglob("*.host"):
        records = [bytearray(record) for record in read_records(path) if isinstance(record, bytes)]
        for place, bits in flips:  # records that pass their checksums and mean something else
            record = records[place % len(records)]
            record[place % len(record)] ^= bits
        (logs / f"{path.parent.name}-{path.name}").write_bytes(b"".join(map(framed, records)))
    assert list(open_tensorboard(logs).items)


def framed(record):
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", masked(crc32c(length))) + record + struct.pack("<I", masked(crc32c(record)))
