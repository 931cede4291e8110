"""A project whose bucket is on S3, seen from two machines."""

import numpy as np
import pytest

from tidegate.errors import IntegrityError
from tidegate.records.health import CheckState
from tidegate.workspace import Workspace


@pytest.fixture
def machine(s3_url, tmp_path):
    opened = []

    def start(name):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        opened.append(Workspace.open(folder, bucket=s3_url, actor=name))
        return opened[-1]

    yield start
    for workspace in opened:
        workspace.store.close()


def test_what_one_machine_stores_another_finds(machine, tmp_path):
    ana = machine("ana")
    rows = {"x": np.arange(1000.0), "y": np.arange(1000) % 2}
    snapshot = ana.datasets.snapshot(rows, "rows")
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "large.bin").write_bytes(bytes(10 << 20))
    ana.datasets.snapshot(folder, "images")
    ben = machine("ben")
    assert ben.datasets.get("rows@1") == snapshot
    ben.reindex()
    assert [entry.name for entry in ben.store.catalog.list("dataset", "images")] == ["images"]
    ben.datasets.restore(ben.datasets.get("images@1"), tmp_path / "restored")
    assert (tmp_path / "restored" / "large.bin").read_bytes() == bytes(10 << 20)
    found = ben.verify()
    assert (found.problems, found.snapshots) == ([], 2)
    held = next(check for check in ben.health(probe=True).checks if check.name == "conditional writes hold")
    assert held.state is CheckState.OK


def test_what_was_changed_in_the_bucket_is_found_though_a_copy_is_here(machine):
    ana = machine("ana")
    snapshot = ana.datasets.snapshot({"x": np.arange(10.0)}, "rows")
    assert ana.verify().problems == []
    key = next(iter(ana.store.bucket.keys("objects/")))
    blob = ana.store.bucket.find(key)
    ana.store.bucket.compare_and_swap(key, bytes(len(blob.data)), blob.etag)
    assert ana.verify().problems
    with pytest.raises(IntegrityError):
        ana.datasets.path(snapshot)
