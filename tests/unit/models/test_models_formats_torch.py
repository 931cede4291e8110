"""Modules of PyTorch: compiled to ONNX, or kept as a program of plain operators. Needs the packages of the group ``slow``."""

import json
import pickle

import msgspec
import numpy as np
import pytest

from tidegate.errors import BadInputError, IntegrityError, RefusedError
from tidegate.models import Candidate
from tidegate.models.formats import find_format, formats
from tidegate.models.packing import pack
from tidegate.records.model import Lineage, Manifest

pytestmark = pytest.mark.slow
NATIVE = [kind for kind in formats() if kind.name == "torch"]


@pytest.fixture(scope="module")
def torch():
    import torch

    torch.manual_seed(0)
    return torch


@pytest.fixture(scope="module")
def network(torch):
    class Network(torch.nn.Module):
        """Embedding, attention, normalisation, dropout, a buffer that is not saved, shapes that depend on the rows."""

        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding(10, 8)
            self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.2)
            self.norm = torch.nn.BatchNorm1d(8)
            self.out = torch.nn.Linear(8, 3)
            self.register_buffer("shift", torch.ones(1), persistent=False)

        def forward(self, tokens):
            found = self.norm(self.layer(self.words(tokens)).mean(1)) + self.shift + torch.arange(8, dtype=torch.float32)
            return self.out(found.reshape(tokens.shape[0], -1)).softmax(-1)

    return Network()


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(0, 10, (120, 6))


@pytest.fixture(scope="module")
def expected(torch, network, tokens):
    network.eval()
    with torch.no_grad():
        found = network(torch.from_numpy(tokens)).numpy()
    network.train()  # as somebody leaves it after training: dropout must not be packed
    return found


def candidate(network, tokens, **more):
    return Candidate("delay", network, tokens, "multiclass", **{"classes": ["a", "b", "c"], **more})


@pytest.fixture(scope="module")
def native(network, tokens):
    return pack(candidate(network, tokens), NATIVE)


def loaded(contents, task="multiclass", **files):
    manifest = Manifest(
        name="delay", version=1, task=task, format=contents.format, loads_code=False, signature=contents.signature, files=[],
        lineage=Lineage(), created_at=1, classes=contents.classes,
    )  # fmt: skip
    return find_format(contents.format).load({**contents.files, **files}, manifest)


@pytest.mark.parametrize("kinds", [formats(), NATIVE], ids=["onnx", "torch"])
def test_a_network_answers_the_same_without_its_code(network, tokens, expected, kinds):
    contents = pack(candidate(network, tokens), kinds)
    assert (contents.format, contents.loads_code) == (kinds[0].name, False)
    assert pack(candidate(network, tokens), kinds).files == contents.files
    predictor = loaded(contents)
    for rows in (1, 2, 7, 120):
        answers = predictor.predict({"X": tokens[:rows]})
        np.testing.assert_allclose(answers["probabilities"], expected[:rows], atol=1e-5)
        np.testing.assert_array_equal(answers["label"], expected[:rows].argmax(axis=1))
    with pytest.raises(BadInputError, match="model-refused-input"):
        predictor.predict({"X": np.full((2, 6), 99)})
    assert network.training  # the candidate itself is left as it was
    assert b"/test_models_formats_torch.py" not in b"".join(contents.files.values())


def test_values_and_probabilities_of_one_number(torch):
    rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    for task, end in (("binary", torch.nn.Sigmoid()), ("regression", torch.nn.Identity())):
        module = torch.nn.Sequential(torch.nn.Linear(3, 1), end)
        for kinds in (formats(), NATIVE):
            contents = pack(Candidate("d", module, rows, task), kinds)
            found = next(iter(loaded(contents, task).predict({"X": rows}).values()))
            np.testing.assert_allclose(found, module(torch.from_numpy(rows)).detach().numpy()[:, 0], atol=1e-5)


def test_what_is_no_model_of_its_task_is_told(torch, tokens):
    logits = torch.nn.Linear(6, 3)
    rows = tokens.astype(np.float32)
    with pytest.raises(BadInputError, match="not-probabilities") as caught:
        pack(candidate(logits, rows), formats())
    assert "softmax" in caught.value.fix
    with pytest.raises(BadInputError, match="classes-missing"):
        pack(candidate(logits, rows, classes=[]), formats())
    with pytest.raises(BadInputError, match="model-refused-input"):
        pack(candidate(torch.nn.Linear(7, 3), rows), formats())


def test_a_module_that_branches_on_values_is_told_why(torch):
    class Branching(torch.nn.Module):
        def forward(self, rows):
            return rows.sum(1) if rows.sum() > 0 else -rows.sum(1)

    with pytest.raises(BadInputError, match="cannot-package") as caught:
        pack(Candidate("d", Branching(), np.ones((9, 2), np.float32), "regression"), formats())
    assert "torch: " in caught.value.why
    assert "onnx: " in caught.value.why


@pytest.mark.parametrize(
    "op",
    ["torch.load", "aten.from_file.default", "operator.attrgetter", "operator.methodcaller", "aten.__class__.mro", "builtins.eval",
     "operator", "aten", "", "aten.no_such_thing.default", "os.system"],
)  # fmt: skip
def test_a_forged_program_reaches_operators_and_nothing_else(native, tokens, op):
    program = json.loads(native.files["program.json"])
    program["nodes"][0] |= {"op": op, "args": ["true"], "kwargs": {}}
    with pytest.raises((IntegrityError, BadInputError)):
        loaded(native, **{"program.json": msgspec.json.encode(program)}).predict({"X": tokens[:2]})


@pytest.mark.parametrize(
    "op",
    [
        "aten.__init__.__getattribute__",
        "aten.__class__.__setattr__",
        "aten.__dict__.get",
        "aten.add.__class__",
        "aten.add.__call__",
    ],
)
def test_a_program_finds_no_way_from_an_operator_to_python(native, op):
    """The first gave the variables of a module, by these every module, and so any function under the name of one that others call."""
    program = json.loads(native.files["program.json"])
    program["nodes"].insert(0, {"name": "leak", "op": op, "args": ["__globals__"], "kwargs": {}})
    with pytest.raises(IntegrityError, match="which is no operator of a model"):
        loaded(native, **{"program.json": msgspec.json.encode(program)})


def test_damaged_files(native):
    for files in ({"model.safetensors": b"x"}, {"model.safetensors": native.files["model.safetensors"][:-4]}, {"program.json": b"{}"},
                  {"program.json": b""}, {"model.safetensors": pickle.dumps({"a": 1})}):  # fmt: skip
        with pytest.raises(IntegrityError, match="broken-package"):
            loaded(native, **files)


def test_registered_loaded_and_never_unpickled(network, tokens, torch, models, store, tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("something was unpickled")

    version = models.register(candidate(network, tokens))
    kept = models.keep("native", version.manifest.files, format="torch", loads_code=False, signature=version.manifest.signature)
    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr(pickle, "loads", forbidden)
    monkeypatch.setattr(pickle, "load", forbidden)
    assert models.load(version).predict({"X": tokens[:2]})["label"].shape == (2,)
    with pytest.raises(IntegrityError, match="broken-package"):
        models.load(kept)
    torch.save(network.state_dict(), tmp_path / "model.safetensors")
    from tidegate.models.package import built

    with pytest.raises(RefusedError, match="pickle-in-disguise"):
        built(kept, {"model.safetensors": (tmp_path / "model.safetensors").read_bytes()})
    with pytest.raises(BadInputError, match="pickle-in-disguise"):
        pack(Candidate("d", tmp_path / "model.safetensors", tokens, "multiclass"), formats())
