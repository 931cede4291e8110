"""Snapshots: equal content is one snapshot, bytes are verified, the user's files are never touched."""

from __future__ import annotations

import errno
import os
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tidegate import digest, frames
from tidegate.clock import Clock
from tidegate.data import ContractError, Datasets, parse_contract
from tidegate.data.datasets import manifest_key
from tidegate.errors import (
    BadInputError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    TidegateError,
    UnavailableError,
    UsageError,
)
from tidegate.store import Store
from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.objects import object_key
from tidegate.store.ports import Progress

CONTRACT = parse_contract(
    """
kind: DataContract
name: people
version: 2.0
schema:
  - name: people
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: zip, logicalType: string}
      - {name: paid, logicalType: number, customProperties: [{property: availability, value: later}]}
"""
)
GOOD = "id,zip,paid\n1,00123,5.5\n2,98765,\n"


@pytest.fixture
def datasets(store: Store, clock: Clock) -> Datasets:
    return Datasets(store.bucket, store.catalog, clock, author="ann")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(GOOD)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "images"
    (place / "deep" / "er").mkdir(parents=True)
    (place / "a.bin").write_bytes(b"a")
    (place / "deep" / "er" / "b.bin").write_bytes(b"b")
    (place / "deep" / "same.bin").write_bytes(b"a")
    (place / ".hidden").write_bytes(b"")
    return place


def damage(bucket: Any, digest_: str, data: bytes | None) -> None:
    path = bucket.local(object_key(digest_))
    path.unlink()
    if data is not None:
        path.write_bytes(data)


def test_a_file_becomes_a_profiled_snapshot(datasets: Datasets, table: Path, clock: Clock) -> None:
    before = table.stat()
    snapshot = datasets.snapshot(table, "people", contract=CONTRACT, message="first")
    assert (snapshot.ref, snapshot.rows, snapshot.author, snapshot.message) == ("people@1", 2, "ann", "first")
    assert snapshot.created_at == clock.now()
    assert [entry.path for entry in snapshot.files] == ["people.csv"]
    assert snapshot.files[0].digest == digest.of_file(table)
    zip_, paid = snapshot.columns[1:]
    assert (zip_.type, zip_.nulls, zip_.distinct, zip_.minimum, zip_.maximum) == ("VARCHAR", 0, 2, "00123", "98765")
    assert (paid.type, paid.nulls, paid.minimum) == ("DOUBLE", 1, "5.5")
    assert (table.stat().st_mtime_ns, table.read_text()) == (before.st_mtime_ns, GOOD)


def test_equal_content_is_the_snapshot_that_is_there(datasets: Datasets, table: Path) -> None:
    first = datasets.snapshot(table, "people")
    assert datasets.snapshot(table, "people", message="again") == first
    checked = datasets.snapshot(table, "people", contract=CONTRACT)
    assert (checked.number, checked.digest) == (2, first.digest)  # the same data, now under a contract
    table.write_text(GOOD + "3,1,1\n")
    assert datasets.snapshot(table, "people").number == 3
    table.write_text(GOOD)
    assert datasets.snapshot(table, "people").number == 4  # only the latest is compared: history is a history


def test_equal_frames_give_equal_bytes_in_the_order_of_their_rows(datasets: Datasets) -> None:
    rows = {"n": np.arange(300_000)[::-1].copy(), "text": np.array([f"t{i % 7}" for i in range(300_000)], dtype=object)}
    first = datasets.snapshot(rows, "frame")
    assert datasets.snapshot(pl.DataFrame(rows), "frame").number == 1
    with frames.connect() as con:
        found = datasets.read(con, first).project("n").fetchnumpy()["n"]
    assert (found == rows["n"]).all()
    assert datasets.snapshot({"n": np.sort(rows["n"]), "text": rows["text"]}, "frame").number == 2


def test_a_folder_is_taken_whole_and_restored(datasets: Datasets, folder: Path, tmp_path: Path, store: Store) -> None:
    seen: list[tuple[int, int]] = []
    snapshot = datasets.snapshot(folder, "images", progress=lambda done, total: seen.append((done, total)))
    assert [entry.path for entry in snapshot.files] == [".hidden", "a.bin", "deep/er/b.bin", "deep/same.bin"]
    assert (snapshot.rows, snapshot.columns, snapshot.size) == (None, [], 3)
    assert seen == sorted(seen)
    assert seen[-1] == (3, 3)
    assert len(list(store.bucket.keys("objects/"))) == 3  # equal bytes once
    target = tmp_path / "back"
    back: list[tuple[int, int]] = []
    datasets.restore(snapshot, target, progress=lambda done, total: back.append((done, total)))
    assert (back, back[-1]) == (sorted(back), (3, 3))
    datasets.restore(snapshot, target)
    assert {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()} == {
        ".hidden": b"", "a.bin": b"a", "deep/er/b.bin": b"b", "deep/same.bin": b"a",
    }  # fmt: skip
    assert datasets.snapshot(target, "images") == snapshot
    assert os.access(target / "a.bin", os.W_OK)


def test_restoring_never_overwrites(datasets: Datasets, folder: Path, tmp_path: Path) -> None:
    snapshot = datasets.snapshot(folder, "images")
    target = tmp_path / "back"
    (target / "deep").mkdir(parents=True)
    (target / "deep" / "same.bin").write_bytes(b"mine")
    with pytest.raises(ConflictError) as caught:
        datasets.restore(snapshot, target)
    assert caught.value.code == "restore-would-overwrite"
    assert [path.name for path in target.rglob("*") if path.is_file()] == ["same.bin"]
    assert (target / "deep" / "same.bin").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "make",
    [
        lambda p: (p / "link").symlink_to(p / "a.bin"),
        lambda p: (p / "dir").symlink_to(p / "deep"),
        lambda p: os.mkfifo(p / "pipe"),
    ],
)
def test_links_and_pipes_in_a_folder_are_refused(datasets: Datasets, folder: Path, make: Any) -> None:
    make(folder)
    with pytest.raises(BadInputError) as caught:
        datasets.snapshot(folder, "images")
    assert caught.value.code == "not-a-file"
    assert datasets.list() == []


def test_references_lead_to_snapshots_without_the_catalog(datasets: Datasets, table: Path, store: Store) -> None:
    for lines in ("id\n1\n", "id\n2\n", "id\n3\n"):
        table.write_text(lines)
        datasets.snapshot(table, "people")
    datasets.snapshot(table, "other")
    store.catalog.clear()
    assert [datasets.get(ref).number for ref in ("people", "people@latest", "people@3", "people@v2")] == [3, 3, 3, 2]
    assert [snapshot.number for snapshot in datasets.list("people")] == [3, 2, 1]
    assert datasets.names() == ["other", "people"]
    assert datasets.reindex() == 4
    assert len(store.catalog.list("dataset", "people")) == 3
    assert datasets.list("nothing") == []
    for ref, kind, says in (
        ("people@9", NotFoundError, "has the numbers 1 to 3"),
        ("peeple", NotFoundError, "did you mean 'people'"),
        ("people@champion", UsageError, "snapshots have numbers"),
        ("../x", UsageError, "dots"),
    ):
        with pytest.raises(kind) as caught:
            datasets.get(ref)
        assert says in caught.value.why + caught.value.fix


def test_verify_names_what_is_changed_and_what_is_missing(datasets: Datasets, folder: Path, table: Path, store: Store) -> None:
    snapshot = datasets.snapshot(folder, "images")
    assert datasets.verify(snapshot) == []
    damage(store.bucket, snapshot.files[1].digest, b"x")
    damage(store.bucket, snapshot.files[2].digest, None)
    problems = datasets.verify(snapshot)
    assert [problem.partition(": object")[0] for problem in problems] == [
        "images@1: a.bin", "images@1: deep/er/b.bin", "images@1: deep/same.bin",
    ]  # fmt: skip
    assert "changed" in problems[0]
    assert "missing" in problems[1]
    checked = datasets.snapshot(table, "people", contract=CONTRACT)
    damage(store.bucket, checked.contract, b"kind: Other")
    assert [problem.partition(": object")[0] for problem in datasets.verify(checked)] == ["people@1: contract"]


def test_changed_bytes_are_never_read(datasets: Datasets, table: Path, store: Store, tmp_path: Path) -> None:
    snapshot = datasets.snapshot(table, "people")
    datasets.path(snapshot)
    damage(store.bucket, snapshot.files[0].digest, GOOD.replace("1", "7").encode())
    with frames.connect() as con, pytest.raises(IntegrityError):
        datasets.read(con, snapshot)
    with pytest.raises(IntegrityError):
        datasets.restore(snapshot, tmp_path / "back")
    assert not (tmp_path / "back" / "people.csv").exists()


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("people.csv", "../people.csv"),
        lambda text: text[:-20],
        lambda text: text.replace('"number": 1', '"number": 2'),
    ],
)
def test_a_changed_document_is_refused(datasets: Datasets, table: Path, store: Store, edit: Any) -> None:
    datasets.snapshot(table, "people")
    assert isinstance(store.bucket, FolderBucket)
    path = store.bucket.local(manifest_key("people", 1))
    changed = edit(path.read_text())
    path.unlink()
    path.write_text(changed)
    with pytest.raises(IntegrityError) as caught:
        datasets.get("people@1")
    assert caught.value.code == "snapshot-changed"


def test_the_path_keeps_its_name_and_the_table_its_types(datasets: Datasets, table: Path) -> None:
    snapshot = datasets.snapshot(table, "people", contract=CONTRACT)
    path = datasets.path(snapshot)
    assert (path.name, path.read_text()) == ("people.csv", GOOD)
    assert datasets.path(snapshot) == path
    with frames.connect() as con:
        assert datasets.read(con, snapshot).fetchall() == [(1, "00123", 5.5), (2, "98765", None)]
    kept = datasets.contract(snapshot)
    assert kept == CONTRACT
    assert kept is not None
    assert kept.later_columns == {"paid"}
    assert datasets.contract(datasets.snapshot({"a": np.arange(2)}, "plain")) is None


def test_a_folder_is_no_table(datasets: Datasets, folder: Path) -> None:
    snapshot = datasets.snapshot(folder, "images")
    with pytest.raises(BadInputError) as caught:
        datasets.path(snapshot)
    assert caught.value.code == "not-a-table"
    with pytest.raises(BadInputError) as caught:
        datasets.snapshot(folder, "images", contract=CONTRACT)
    assert caught.value.code == "contract-needs-table"


def test_a_broken_contract_stores_nothing_and_names_the_rows(datasets: Datasets, table: Path, store: Store) -> None:
    table.write_text(GOOD + "2,1,x\n")
    with pytest.raises(ContractError) as caught:
        datasets.snapshot(table, "people", contract=CONTRACT)
    assert {violation.check for violation in caught.value.violations} == {"type", "primaryKey"}
    assert "row 3: id=2, paid='x'" in str(caught.value)
    assert list(store.bucket.keys("objects/")) == []
    assert datasets.list() == []
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.violations) == (str(caught.value), caught.value.violations)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.csv", b"", "empty-file"),
        ("empty.parquet", b"", "empty-file"),
        ("wrong.parquet", b"PAR1 this is none PAR1", "unreadable-file"),
        ("ragged.csv", b"a,b\n" + b"1,2\n" * 30_000 + b"1,2,3,4\n", "unreadable-file"),
        ("missing.csv", None, "source-not-found"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    datasets: Datasets, tmp_path: Path, name: str, content: bytes | None, code: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TidegateError) as caught:
        datasets.snapshot(tmp_path / name, "bad")
    assert caught.value.code == code
    assert datasets.list() == []
    assert content is None or (tmp_path / name).read_bytes() == content


def test_an_empty_folder_a_bad_name_and_a_thing_that_is_no_frame_are_refused(datasets: Datasets, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    for source, name, code in (
        (tmp_path / "nothing", "a", "empty-folder"),
        (tmp_path, "a b", "bad-name"),
        (object(), "a", "not-a-frame"),
    ):
        with pytest.raises(TidegateError) as caught:
            datasets.snapshot(source, name)
        assert caught.value.code == code


class _FullDisk(FolderBucket):
    """A folder on a disk that fills up after some writes: the system's error, raised where the system raises it."""

    room = 1

    @contextmanager
    def _temporary(self, source: bytes | Path, progress: Progress | None = None) -> Iterator[tuple[Path, str]]:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        with super()._temporary(source, progress) as finished:
            yield finished


def test_a_full_disk_leaves_everything_as_it_was(store: Store, clock: Clock, folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    bucket = _FullDisk(tmp_path / "full")
    datasets = Datasets(bucket, store.catalog, clock)
    with pytest.raises(UnavailableError) as caught:
        datasets.snapshot(folder, "images")
    assert caught.value.code == "disk-full"
    assert datasets.list() == []
    assert store.catalog.list("dataset") == []
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    bucket.room = 100
    assert datasets.snapshot(folder, "images").number == 1


def test_writers_at_once_get_numbers_of_their_own(store: Store, clock: Clock, tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.txt").write_text(str(i))

    def take(i: int) -> None:
        Datasets(store.bucket, store.catalog, clock).snapshot(tmp_path / f"{i % 5}.txt", "race")

    threads = [threading.Thread(target=take, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Datasets(store.bucket, store.catalog, clock).list("race")
    assert sorted(snapshot.number for snapshot in found) == list(range(1, len(found) + 1))
    assert {snapshot.files[0].path for snapshot in found} == {f"{i}.txt" for i in range(5)}
