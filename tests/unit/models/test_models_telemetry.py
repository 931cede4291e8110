"""Nothing is sent anywhere: ONNX Runtime's builds report to their maker unless they are told not to."""

from __future__ import annotations

import os
import subprocess
import sys

LOAD = """
import sys
from pathlib import Path
from tidegate.models import load_package
from tidegate.store.bucket.folder import FolderBucket
load_package(FolderBucket(Path(sys.argv[1])), "delay", 1, sys.argv[2])
"""


def test_loading_a_model_leaves_nothing_in_the_home_folder(models, candidate, store, tmp_path):
    version = models.register(candidate)
    home = tmp_path / "home"
    home.mkdir()
    kept = {"HOME", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in kept} | {"HOME": str(home)}
    command = [sys.executable, "-c", LOAD, str(store.root / "bucket"), version.digest]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*onnxruntime*")) == [], "it would keep an id of this machine and what it has not sent yet"
    assert "elemetry" not in done.stderr
