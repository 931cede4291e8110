from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tidegate.cli import main
from tidegate.models import Candidate
from tidegate.store.objects import object_key
from tidegate.workspace import Workspace


@pytest.fixture
def version(tmp_path, monkeypatch):
    """A registered model in a project of its own, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    matrix = np.random.default_rng(0).normal(size=(50, 3))
    estimator = LogisticRegression().fit(matrix, matrix[:, 0] > 0)
    workspace = Workspace.open(tmp_path)
    yield workspace.register(Candidate("delay", estimator, matrix, "binary", description="three numbers"))
    workspace.store.close()


def run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    out = capsys.readouterr()
    return ended.value.code or 0, out.out, out.err


def test_list_and_show(version, capsys):
    code, out, _ = run(capsys, "model", "list")
    assert code == 0
    assert "delay@1" in out
    assert "three numbers" in out
    code, out, _ = run(capsys, "model", "show", "delay@latest")
    assert code == 0
    assert version.digest in out
    assert "differs from the estimator by at most" in out
    assert json.loads(run(capsys, "model", "show", "delay@1", "--json")[1])["digest"] == version.digest


def test_load_check_and_verify(version, capsys):
    code, out, _ = run(capsys, "model", "load-check", "delay@1")
    assert (code, "loads as onnx" in out) == (0, True)
    assert run(capsys, "model", "verify", "delay@1")[:2] == (0, "delay@1: all as registered\n")


def test_a_changed_file_is_found(version, capsys, tmp_path):
    path = tmp_path / ".tidegate/bucket" / object_key(version.manifest.files[0].digest)
    path.chmod(0o644)
    path.write_bytes(b"something else")
    code, out, _ = run(capsys, "model", "verify", "delay@1", "--json")
    assert code == 1
    assert "changed" in json.loads(out)["problems"][0]
    code, _, errors = run(capsys, "model", "load-check", "delay@1")
    assert (code, "object-changed" in errors) == (1, True)


def test_an_unknown_model_is_told(version, capsys):
    code, _, errors = run(capsys, "model", "show", "dela")
    assert (code, "'delay'" in errors) == (1, True)
