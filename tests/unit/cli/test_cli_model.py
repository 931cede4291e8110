from __future__ import annotations

import importlib
import json
import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tidegate.cli import main
from tidegate.models import Candidate, PythonModel
from tidegate.store.objects import object_key
from tidegate.workspace import Workspace


@pytest.fixture
def version(delay_project, tmp_path, monkeypatch):
    """A registered model in a project of its own, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.open(shutil.copytree(delay_project, tmp_path, dirs_exist_ok=True))
    yield workspace.models.get("delay@1")
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
    assert all(f"\n\n{title}" in out for title in ("takes", "gives", "files", "requirements", "verdicts", "next: "))
    assert json.loads(run(capsys, "model", "show", "delay@1", "--json")[1])["digest"] == version.digest


def test_load_check_and_verify(version, capsys):
    code, out, _ = run(capsys, "model", "load-check", "delay@1")
    assert (code, "loads as onnx" in out) == (0, True)
    assert run(capsys, "model", "verify", "delay@1")[:2] == (
        0,
        "delay@1: all as registered\nnext: tidegate model load-check delay@1\n",
    )


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
    for words in (["show", "dela"], ["show", "dela@champion"], ["list", "dela"]):
        code, _, errors = run(capsys, "model", *words)
        assert (code, "'delay'" in errors) == (1, True)


def test_show_tells_what_the_gate_and_the_author_say(version, capsys):
    out = run(capsys, "model", "show", "delay@1")[1]
    assert "registered, serving nowhere" in out
    assert "verdicts: none yet" in out
    assert "onnxruntime" in out
    shown = json.loads(run(capsys, "model", "show", "delay@1", "--json")[1])
    assert (shown["verdicts"], shown["roles"]) == ([], [])
    assert shown["manifest"]["requirements"]


def test_diff_names_what_differs(version, capsys, tmp_path):
    matrix = np.random.default_rng(1).normal(size=(50, 3))
    workspace = Workspace.open(tmp_path)
    estimator = LogisticRegression(C=0.1).fit(matrix, matrix[:, 1] > 0)
    workspace.register(Candidate("delay", estimator, matrix, "binary", units={"X": "m"}, ranges={"X": (-9, 9)}))
    workspace.store.close()
    code, out, _ = run(capsys, "model", "diff", "delay@1", "delay@2")
    assert code == 0
    assert "file model.onnx" in out
    assert "float64 [-1, 3] in m, -9 to 9" in out
    found = json.loads(run(capsys, "model", "diff", "delay@1", "delay@2", "--json")[1])
    assert (found["before"], found["after"], found["data"]) == ("delay@1", "delay@2", [])
    assert [change["what"] for change in found["package"]] == ["file model.onnx", "parity"]
    assert "the same" in run(capsys, "model", "diff", "delay@1", "delay@1")[1]


def test_card(version, capsys, tmp_path):
    code, out, _ = run(capsys, "model", "card", "delay@1")
    assert (code, out.startswith("# delay@1")) == (0, True)
    assert "three numbers" in out
    code, out, _ = run(capsys, "model", "card", "delay@1", "--html", "--output", "card.html")
    assert (code, (tmp_path / "card.html").read_text().startswith("<!doctype html>")) == (0, True)
    assert json.loads(run(capsys, "model", "card", "delay@1", "--json")[1])["digest"] == version.digest
    assert "code: cannot-write" in run(capsys, "model", "card", "delay@1", "--output", "nowhere/card.md")[2]


def test_export_and_import(version, capsys, tmp_path):
    code, out, _ = run(capsys, "model", "export", "delay@1", "out", "--format", "mlflow")
    assert (code, "with the flavors onnx and python_function" in out) == (0, True)
    code, out, _ = run(capsys, "model", "import", "out", "--name", "again")
    assert code == 0
    assert "loading it runs code that came with it" in out
    code, _, errors = run(capsys, "model", "load-check", "again@1")
    assert (code, "loads-code" in errors) == (1, True)
    assert run(capsys, "model", "export", "delay@1", "out")[0] == 1
    assert run(capsys, "model", "export", "delay@1", "new", "--format", "mlflw")[0] == 2
    assert run(capsys, "model", "import", "nothing", "--name", "again")[0] == 1
    again = json.loads(run(capsys, "model", "import", "out", "--name", "again", "--json")[1])
    assert (again["version"], again["loads_code"]) == ("again@2", True)


def test_load_check_says_that_code_will_run_before_it_runs(version, capsys, tmp_path, monkeypatch):
    (tmp_path / "loudly.py").write_text("print('the code runs')\ndef predict(rows):\n    return rows['X'][:, 0] * 0 + 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    workspace = Workspace.open(tmp_path)
    predict = importlib.import_module("loudly").predict
    workspace.register(Candidate("plain", PythonModel(predict), np.ones((5, 2)), "binary"))
    workspace.store.close()
    capsys.readouterr()
    code, out, errors = run(capsys, "model", "load-check", "plain@1")
    assert (code, "the code runs" in out, "loads-code" in errors) == (1, False, True)
    code, out, errors = run(capsys, "model", "load-check", "plain@1", "--allow-code")
    assert (code, "the code runs" in out) == (0, True)
    assert "loading plain@1 now runs code that came with it (python)" in errors
