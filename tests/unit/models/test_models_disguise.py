"""Pickles under other names are recognised without opening them, and nothing else is taken for one."""

import gc
import io
import os
import pickle
import pickletools
import struct
import zipfile

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tidegate.errors import BadInputError, RefusedError
from tidegate.models import Candidate
from tidegate.models.disguise import pickle_in
from tidegate.models.formats import formats
from tidegate.models.packing import pack
from tidegate.store.objects import put_object

RAN = []


class Trap:
    def __reduce__(self):
        return RAN.append, ("it ran",)


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in files.items():
            file.writestr(name.replace("__", "/"), data)
    return out.getvalue()


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol(protocol):
    for value in (Trap(), {"weights": np.ones(3)}, LogisticRegression()):
        assert pickle_in(pickle.dumps(value, protocol=protocol)) == "it is a pickle"


def test_pickles_in_archives():
    data = pickle.dumps(Trap())
    assert "data.pkl" in pickle_in(zipped(**{"archive__data.pkl": data, "archive__version": b"3"}))  # as torch.save writes
    assert "schema.json" in pickle_in(zipped(**{"schema.json": data}))
    assert RAN == []


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"{}", b"(text.", b"PK\x03\x04 but no archive", struct.pack("<Q", 0x0280) + b'{"a":1}' + b" " * 640,
     struct.pack("<Q", 0x0580) + b"{}.", zipped(**{"schema.json": b"{}"}), b"\x08\x07model", b"dense.", b"cat\n."],
)  # fmt: skip
def test_other_files_are_none(data):
    assert pickle_in(data) == ""


def test_what_is_called_a_pickle_was_one():
    data = pickle.dumps([1, 2], protocol=0)
    assert sum(1 for _ in pickletools.genops(data)) > 1


def test_a_package_with_a_pickle_in_it_is_not_loaded(models, store, flights, late):
    fitted = LogisticRegression().fit(flights[["wind"]], late)
    version = models.register(Candidate("delay", fitted, flights[["wind"]], "binary"))
    file = version.manifest.files[0]
    for kind, name in (
        ("onnx", "model.onnx"),
        ("skops", "model.skops"),
        ("torch", "model.safetensors"),
        ("xgboost", "model.ubj"),
    ):
        data = pickle.dumps(Trap())
        packaged = type(file)(path=name, size=len(data), digest=put_object(store.bucket, data))
        bad = models.keep("trap", [packaged], format=kind, loads_code=False, signature=version.manifest.signature)
        with pytest.raises(RefusedError, match="pickle-in-disguise") as caught:
            models.load(bad)
        assert name in caught.value.what
    gc.collect()
    assert RAN == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("model.onnx", "pickle-in-disguise"),
        ("model.pkl", "pickled-model"),
        ("model.pt", "pickled-model"),
        ("none.bin", "unknown-model-file"),
    ],
)
def test_a_candidate_that_is_a_pickled_file_is_refused(tmp_path, name, code):
    path = tmp_path / name
    if code != "unknown-model-file":
        path.write_bytes(pickle.dumps(Trap()))
    for given in (path, os.fspath(path)):
        with pytest.raises(BadInputError, match=code):
            pack(Candidate("delay", given, np.ones((5, 2)), "binary"), formats())
    assert RAN == []
