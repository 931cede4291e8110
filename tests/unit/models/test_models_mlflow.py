"""Folders that MLflow clients logged: kept as they are, and loaded by MLflow or not at all."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from tidegate.errors import BadInputError, IntegrityError, RefusedError, UnavailableError
from tidegate.models import Candidate
from tidegate.models.formats import find_format
from tidegate.models.formats.mlflow import read_signature
from tidegate.models.packing import pack
from tidegate.records.model import Lineage, Manifest, PackagedFile, Signature, Tensor
from tidegate.store.objects import put_object

SIGNATURE = Signature(inputs=[Tensor(name="wind", dtype="float64", shape=[-1, 1])], outputs=[])


def manifest(**changes):
    fields = {
        "name": "delay", "version": 1, "task": "unknown", "format": "mlflow", "loads_code": True, "signature": SIGNATURE, "files": [],
        "lineage": Lineage(), "created_at": 1,
    }  # fmt: skip
    return Manifest(**{**fields, **changes})


def kept(models, store, files, **more):
    packaged = [PackagedFile(path=path, size=len(data), digest=put_object(store.bucket, data)) for path, data in files.items()]
    return models.keep("delay", packaged, format="mlflow", loads_code=True, signature=SIGNATURE, **more)


@pytest.fixture
def mlflow(monkeypatch):
    """Stands where the package would: it is not installed here, and what it does is its own."""

    class Model:
        def predict(self, rows):
            return np.asarray(rows["wind"]) * 2

    def load_model(folder):
        assert (Path(folder) / "sub" / "weights").read_bytes() == b"w"
        return Model()

    pyfunc = types.ModuleType("mlflow.pyfunc")
    pyfunc.load_model = load_model
    monkeypatch.setitem(sys.modules, "mlflow", types.ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.pyfunc", pyfunc)


def test_files_are_kept_as_they_are_and_again_is_another_version(models, store):
    files = {"MLmodel": b"flavors: {}", "sub/weights": b"w"}
    one, two = kept(models, store, files, description="d"), kept(models, store, files)
    assert (one.version, two.version) == (1, 2)
    assert [file.path for file in one.manifest.files] == ["MLmodel", "sub/weights"]
    assert (one.manifest.task, one.manifest.description, one.manifest.author) == ("unknown", "d", "ana")
    assert models.verify(one) == []
    assert models.list("delay") == [two, one]


def test_it_runs_code_and_is_only_loaded_where_that_is_allowed(models, store, mlflow):
    version = kept(models, store, {"MLmodel": b"flavors: {}", "sub/weights": b"w"})
    with pytest.raises(RefusedError, match="runs code of its own"):
        models.load(version)
    answers = models.load(version, allow_code=True).predict({"wind": np.array([1.0, 2.0])})
    assert answers["prediction"].tolist() == [2.0, 4.0]


def test_without_the_package_nothing_is_loaded(models, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.pyfunc", None)
    with pytest.raises(UnavailableError, match="needs the package 'mlflow'"):
        models.load(kept(models, store, {"MLmodel": b"flavors: {}"}), allow_code=True)


def test_a_folder_that_is_no_model_is_not_loaded():
    with pytest.raises(IntegrityError, match="holds no MLmodel"):
        find_format("mlflow").load({"readme.txt": b"x"}, manifest())


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a\0b", "MLmodel/x", "a\\..\\x"])
def test_no_file_is_written_outside(mlflow, path):
    with pytest.raises(IntegrityError, match="outside itself"):
        find_format("mlflow").load({"MLmodel": b"", path: b"x"}, manifest())


def test_without_a_signature_nothing_is_asked(mlflow):
    loaded = find_format("mlflow").load(
        {"MLmodel": b"", "sub/weights": b"w"}, manifest(signature=Signature(inputs=[], outputs=[]))
    )
    with pytest.raises(BadInputError, match="does not say what it takes"):
        loaded.predict({"wind": np.array([1.0])})


def test_it_packs_nothing(fitted, flights):
    with pytest.raises(BadInputError, match="no package format"):
        pack(Candidate("delay", fitted, flights, "binary"), [find_format("mlflow")])


@pytest.mark.parametrize(
    ("written", "inputs"),
    [
        ('signature: {inputs: \'[{"type": "double", "name": "a", "required": true}]\'}', [("a", "float64", [-1, 1], False)]),
        ('signature: {inputs: \'[{"type": "long", "name": "a", "required": false}]\'}', [("a", "int64", [-1, 1], True)]),
        (
            'signature: {inputs: \'[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]\'}',
            [("input", "float32", [-1, 3], False)],
        ),
        ('signature: {inputs: \'[{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 28, 28]}}]\'}', []),
        ('signature: {inputs: \'[{"type": "datetime", "name": "a"}]\'}', []),
        ("signature: {inputs: 'no json'}", []),
        ("signature: {inputs: '[1, 2]'}", []),
        ("signature: [1]", []),
        ("flavors: {}", []),
        ("just text", []),
        ("a: [", []),
        ("", []),
    ],
)
def test_a_signature_is_read_where_there_is_one(written, inputs):
    found = read_signature(written.encode())
    assert [(tensor.name, tensor.dtype, tensor.shape, tensor.nullable) for tensor in found.inputs] == inputs


def test_half_a_signature_is_none():
    written = 'signature: {inputs: \'[{"type": "double", "name": "a"}, {"type": "datetime", "name": "b"}]\'}'
    assert read_signature(written.encode()).inputs == []
