"""Packages as folders of MLflow and back. Real MLflow loads them in tests/mlflow."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from tidegate.errors import BadInputError, ConflictError, IntegrityError, NotFoundError, RefusedError
from tidegate.models import Candidate
from tidegate.models.formats.mlflow import read_signature
from tidegate.models.mlflow_folder import export_mlflow
from tidegate.models.pyfunc import _load_pyfunc


@pytest.fixture
def version(models, candidate):
    return models.register(candidate)


@pytest.fixture
def folder(version, store, tmp_path):
    assert export_mlflow(store.bucket, version, tmp_path / "out") == ["onnx", "python_function"]
    return tmp_path / "out"


def test_what_is_written(folder, version):
    described = yaml.safe_load((folder / "MLmodel").read_text())
    assert described["flavors"]["python_function"]["loader_module"] == "tidegate.models.pyfunc"
    assert (folder / described["flavors"]["onnx"]["data"]).is_file()
    assert described["metadata"]["tidegate.digest"] == version.digest
    assert "config" not in described["flavors"]["python_function"]
    assert "onnxruntime==" in (folder / "requirements.txt").read_text()
    found = read_signature((folder / "MLmodel").read_bytes())  # what our own import reads of it
    kept = version.manifest.signature
    assert [(t.name, t.dtype, t.nullable) for t in found.inputs] == [(t.name, t.dtype, t.nullable) for t in kept.inputs]


def test_the_loader_answers_like_the_estimator(folder, fitted, flights):
    model = _load_pyfunc(str(folder / "package"))
    answers = model.predict(flights)
    np.testing.assert_allclose(answers["probability"], fitted.predict_proba(flights)[:, 1], atol=1e-5)
    assert list(answers) == ["probability", "label"]
    arrays = {name: flights[name].to_numpy() for name in flights}
    pd.testing.assert_frame_equal(model.predict(arrays), answers)
    with pytest.raises(BadInputError, match="missing-feature"):
        model.predict(flights.drop(columns="wind"))


def test_a_matrix_and_classes(models, store, tmp_path, flights):
    matrix = flights[["wind", "seats"]].to_numpy(dtype=float)
    fitted = LogisticRegression().fit(matrix, flights["carrier"])
    version = models.register(Candidate("carrier", fitted, matrix, "multiclass"))
    export_mlflow(store.bucket, version, tmp_path / "out")
    spec = json.loads(yaml.safe_load((tmp_path / "out/MLmodel").read_text())["signature"]["inputs"])
    assert spec == [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]
    answers = _load_pyfunc(str(tmp_path / "out/package")).predict(matrix)
    assert list(answers) == ["probabilities_AA", "probabilities_DL", "probabilities_UA", "label"]
    np.testing.assert_allclose(answers.to_numpy()[:, :3], fitted.predict_proba(matrix), atol=1e-5)


def test_a_changed_or_missing_file_is_refused(folder):
    path = folder / "package/files/model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="package-changed"):
        _load_pyfunc(str(folder / "package"))
    path.unlink()
    with pytest.raises(IntegrityError, match="broken-package"):
        _load_pyfunc(str(folder / "package"))


def test_nothing_is_overwritten(folder, version, store):
    with pytest.raises(ConflictError, match="folder-not-empty"):
        export_mlflow(store.bucket, version, folder)


def test_a_folder_of_mlflow_becomes_a_version_and_runs_nothing(models, store, folder, tmp_path):
    found = models.keep_mlflow(folder, "again", description="from MLflow")
    assert (found.manifest.format, found.manifest.loads_code) == ("mlflow", True)
    assert {file.path for file in found.manifest.files} == {
        "MLmodel", "requirements.txt", "package/manifest.json", "package/files/model.onnx"
    }  # fmt: skip
    assert models.verify(found) == []
    with pytest.raises(RefusedError, match="loads-code"):
        models.load(found)
    out = tmp_path / "third"
    export_mlflow(store.bucket, found, out)
    assert yaml.safe_load((out / "MLmodel").read_text())["flavors"]["python_function"]["config"] == {"allow_code": False}
    with pytest.raises(RefusedError, match="loads-code"):  # and so, where it is exported again, unless it is said
        _load_pyfunc(str(out / "package"))


def test_what_is_no_such_folder(models, tmp_path):
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(NotFoundError, match="not-a-model-folder"):
            models.keep_mlflow(place, "again")
    (tmp_path / "MLmodel").write_text("flavors: {}")
    (tmp_path / "secret").symlink_to("/etc/hostname")
    with pytest.raises(BadInputError, match="path-outside"):
        models.keep_mlflow(tmp_path, "again")
    assert models.list("again") == []
