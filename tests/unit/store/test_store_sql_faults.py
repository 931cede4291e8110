"""A disk that fails under an ingest: at each of its writes and syncs once, with an error or with the death of the process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory):
    """The library that fails, compiled."""
    compiler = shutil.which("cc")
    assert compiler, "run tools/slow"
    library = tmp_path_factory.mktemp("disk") / "failing_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "failing_disk.c", "-ldl"], check=True)
    return library


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["eio", "full", "dead", "crash"])
def test_an_ingest_that_fails_at_any_write_loses_nothing(failing_disk, tmp_path, mode):
    done = subprocess.run(
        [sys.executable, HERE / "failing_ingest.py", tmp_path, mode],
        env={**os.environ, "LD_PRELOAD": str(failing_disk)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 10, "each ingest makes many writes"
