"""Plain Python: source files and state travel together, run only where code is allowed, and disturb nobody."""

import gc
import json
import pickle
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tidegate.errors import BadInputError, IntegrityError, RefusedError
from tidegate.models import Candidate, PythonModel
from tidegate.models.formats import find_format, formats
from tidegate.models.formats.python import _kept
from tidegate.models.packing import pack
from tidegate.records.model import Lineage, Manifest

MODEL = """
    from __future__ import annotations
    import numpy as np
    from sklearn.base import BaseEstimator, TransformerMixin
    from words_{0}.table import weight

    def tripled(rows):
        return np.asarray(rows) * 3

    class Tripled(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.fitted_ = True
            return self
        def transform(self, X):
            return tripled(X)

    class Scorer:
        def __init__(self, weights, words, scaler, vocabulary):
            self.weights, self.words, self.scaler = weights, words, scaler
            self.extra = float(vocabulary.read_text())
        def predict(self, rows):
            wind = self.scaler.transform(rows["wind"].reshape(-1, 1))[:, 0]
            text = np.array([weight(word, self.words) for word in rows["carrier"]])
            return 1 / (1 + np.exp(-(wind * self.weights[0] + text + self.extra)))

    def minutes(rows, offset):
        return rows["wind"] * 2 + offset

    def shares(rows):
        return np.full((len(rows["wind"]), 3), [0.5, 0.25, 0.25])

    def nonsense(rows):
        return rows["wind"] * 100
"""


@pytest.fixture
def project(tmp_path, monkeypatch, request):
    """Modules of a project, under a name that no other test has."""
    name = f"m{abs(hash(request.node.nodeid)) % 10**8}"
    (tmp_path / f"words_{name}").mkdir()
    (tmp_path / f"words_{name}" / "table.py").write_text("def weight(word, words):\n    return words.get(word, 0.0)\n")
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODEL.replace("{0}", name)))
    (tmp_path / "vocabulary.txt").write_text("0.25")
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module(name)
    for loaded in [loaded for loaded in sys.modules if loaded.startswith((name, f"words_{name}"))]:
        del sys.modules[loaded]


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(5)
    return pd.DataFrame({"wind": rng.normal(10, 4, 200), "carrier": rng.choice(["AA", "UA"], 200)})


def scorer(project, table):
    state = {
        "weights": np.array([0.5]),
        "words": {"UA": 1.5},
        "scaler": StandardScaler().fit(table[["wind"]].to_numpy()),
        "vocabulary": Path(project.__file__).with_name("vocabulary.txt"),
    }
    return Candidate("delay", PythonModel(project.Scorer, state), table, "binary")


def loaded(contents, task, **changes):
    files = {**contents.files, **changes.get("files", {})}
    manifest = Manifest(
        name="delay", version=1, task=task, format=contents.format, loads_code=True, signature=contents.signature, files=[],
        lineage=Lineage(), created_at=1, classes=contents.classes,
    )  # fmt: skip
    return find_format(contents.format).load(files, manifest)


def gone(monkeypatch, project):
    """The project's own modules cannot be imported any more: only the package's are left."""
    monkeypatch.undo()
    for name in [name for name in sys.modules if project.__name__ in name and not name.startswith("tidegate_package")]:
        del sys.modules[name]


def test_a_class_with_state_and_its_pre_and_postprocessing(project, table, monkeypatch):
    candidate = scorer(project, table)
    expected = project.Scorer(**candidate.estimator.state).predict({name: table[name].to_numpy() for name in table})
    contents = pack(candidate, formats())
    name = project.__name__
    assert (contents.format, contents.loads_code) == ("python", True)
    assert sorted(contents.files) == [
        "code.json", f"code/{name}.py", f"code/words_{name}/table.py", "state/scaler.skops", "state/vocabulary/vocabulary.txt",
        "state/weights.npy",
    ]  # fmt: skip
    assert pack(candidate, formats()).files == contents.files
    assert pickle.loads(pickle.dumps(candidate)).estimator.predict is project.Scorer
    gone(monkeypatch, project)
    before, path = set(sys.modules), list(sys.path)
    predictor = loaded(contents, "binary")
    answers = predictor.predict({name: table[name].to_numpy() for name in table})
    np.testing.assert_allclose(answers["probability"], expected, rtol=1e-6)
    assert name not in sys.modules
    assert sys.path == path
    del predictor
    gc.collect()
    assert set(sys.modules) <= before  # what an earlier test left may go as well


def test_functions(project, table, monkeypatch):
    wind = {"wind": table["wind"].to_numpy()}
    minutes = pack(Candidate("d", PythonModel(project.minutes, {"offset": 4}), table[["wind"]], "regression"), formats())
    shares = pack(Candidate("d", PythonModel(project.shares), table[["wind"]], "multiclass", classes=["a", "b", "c"]), formats())
    gone(monkeypatch, project)
    np.testing.assert_allclose(loaded(minutes, "regression").predict(wind)["prediction"], table["wind"] * 2 + 4)
    assert loaded(shares, "multiclass").predict(wind)["label"].tolist() == [0] * 200


def test_estimators_with_functions_of_ones_own_travel_if_their_author_allows_it(project, table, monkeypatch):
    X, y = table[["wind"]], table["carrier"] == "UA"
    for step in (project.Tripled(), FunctionTransformer(project.tripled)):
        estimator = make_pipeline(step, LogisticRegression()).fit(X, y)
        expected = estimator.predict_proba(X)[:, 1]
        with pytest.raises(BadInputError, match="cannot-package") as caught:
            pack(Candidate("d", estimator, X, "binary"), formats())
        assert f"python: it would need code ({project.__name__})" in caught.value.why
        contents = pack(Candidate("d", estimator, X, "binary", allow_code=True), formats())
        assert (contents.format, contents.loads_code) == ("python", True)
        saved = {name: module for name, module in sys.modules.items() if project.__name__ in name}
        for name in saved:
            del sys.modules[name]
        predictor = loaded(contents, "binary")
        np.testing.assert_allclose(predictor.predict({"wind": X["wind"].to_numpy()})["probability"], expected, rtol=1e-6)
        assert project.__name__ not in sys.modules
        sys.modules.update(saved)


def test_allowing_code_does_not_choose_it(table):
    estimator = LogisticRegression().fit(table[["wind"]], table["carrier"])
    assert pack(Candidate("d", estimator, table[["wind"]], "binary", allow_code=True), formats()).format == "onnx"


def test_a_deployment_has_to_allow_it(project, table, models):
    version = models.register(scorer(project, table))
    assert version.manifest.loads_code
    with pytest.raises(RefusedError, match="loads-code"):
        models.load(version)
    row = {"wind": np.array([10.0]), "carrier": np.array(["UA"], dtype=object)}
    assert 0 < models.load(version, allow_code=True).predict(row)["probability"][0] < 1
    assert {line.partition("==")[0] for line in version.manifest.requirements} >= {"numpy", "scikit-learn", "skops"}
    assert models.register(scorer(project, table)).version == 1


def top():
    def inner(rows):
        return rows["wind"]

    return inner


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda _: PythonModel(lambda rows: rows["wind"]), "not-importable"),
        (lambda _: PythonModel(top()), "not-importable"),
        (lambda _: PythonModel("module:name"), "not-importable"),
        (lambda m: PythonModel(m.nonsense), "not-probabilities"),
        (lambda m: PythonModel(m.shares), "wrong-output"),
        (lambda m: PythonModel(m.minutes), "model-refused-input"),
        (lambda m: PythonModel(m.minutes, {"offset": object()}), "model-refused-input"),
        (lambda m: PythonModel(m.shares, {"rows": (1, 2)}), "model-refused-input"),
        (lambda _: PythonModel(np.tanh), "not-importable"),
    ],
)
def test_what_is_no_model_is_told(project, table, make, code):
    with pytest.raises(BadInputError, match=code):
        pack(Candidate("d", make(project), table[["wind"]], "binary"), formats())


@pytest.mark.parametrize("value", [object(), (1, 2), {1: "a"}, {1, 2}, float("nan"), np.array([object()]), lambda: 1])
def test_state_that_nobody_can_write_safely_is_refused(value):
    with pytest.raises(BadInputError, match="state-not-kept"):
        _kept("held", value, {})


def test_broken_packages(project, table):
    contents = pack(scorer(project, table), formats())
    name = project.__name__
    for files in ({"code.json": b"{"}, {"code.json": b"{}"}, {"../outside.py": b""}, {f"code/{name}.py": b"1 / 0"},
                  {f"code/{name}.py": b"def ("}, {"code.json": json.dumps({"predict": "absent:f", "state": {}, "modules": []}).encode()},
                  {"state/weights.npy": pickle.dumps([1])}):  # fmt: skip
        before = set(sys.modules)
        with pytest.raises(IntegrityError, match="broken-package"):
            loaded(contents, "binary", files=files)
        assert {module for module in set(sys.modules) - before if module.startswith("tidegate_package")} == set()
