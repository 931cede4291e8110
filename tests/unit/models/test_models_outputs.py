"""Tasks beside one class or one number, and graphs that come as ONNX."""

from __future__ import annotations

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier

from tidegate.errors import BadInputError
from tidegate.models import Candidate
from tidegate.models.formats import find_format, formats
from tidegate.models.packing import pack
from tidegate.records.model import Lineage, Manifest

X = np.random.default_rng(5).normal(size=(300, 3)).astype(np.float32)
TAGS = np.column_stack([X[:, 0] > 0, X[:, 1] + X[:, 2] > 0.5]).astype(int)
LATE = TAGS[:, 0]


def loaded(contents, task):
    manifest = Manifest(
        name="tags", version=1, task=task, format=contents.format, loads_code=False, signature=contents.signature, files=[],
        lineage=Lineage(), created_at=1, classes=contents.classes,
    )  # fmt: skip
    return find_format(contents.format).load(contents.files, manifest)


@pytest.mark.parametrize(
    "estimator",
    [
        OneVsRestClassifier(LogisticRegression()),
        MultiOutputClassifier(LogisticRegression()),
        RandomForestClassifier(10, n_jobs=1),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("native", [False, True], ids=["first choice", "native"])
def test_a_model_of_several_labels_gives_each_a_probability(estimator, native):
    fitted = estimator.fit(X, TAGS)
    kinds = [kind for kind in formats() if not native or kind.name == "skops"]
    contents = pack(Candidate("tags", fitted, X, "multilabel", classes=["late", "long"]), kinds)
    assert contents.classes == ["late", "long"]
    answers = loaded(contents, "multilabel").predict({"X": X})
    shares = fitted.predict_proba(X)
    expected = np.column_stack([each[:, 1] for each in shares]) if isinstance(shares, list) else shares
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    np.testing.assert_array_equal(answers["labels"], fitted.predict(X))
    assert answers["labels"].dtype == np.int64


def test_labels_that_are_named_otherwise_are_refused():
    fitted = OneVsRestClassifier(LogisticRegression()).fit(X, TAGS)
    with pytest.raises(BadInputError, match="unfit-estimator"):
        pack(Candidate("tags", fitted, X, "multilabel", classes=["late"]), formats())


@pytest.mark.parametrize("task", ["ranking", "scores"])
def test_a_model_of_scores_gives_one_for_each_row(task):
    fitted = LinearRegression().fit(X, X[:, 0] * 2)
    contents = pack(Candidate("search", fitted, X, task), formats())
    assert [tensor.name for tensor in contents.signature.outputs] == ["score"]
    np.testing.assert_allclose(loaded(contents, task).predict({"X": X})["score"], fitted.predict(X), atol=1e-5)


def test_a_graph_that_comes_as_onnx_is_kept_as_it_is(tmp_path):
    fitted = LogisticRegression().fit(X, LATE)
    graph = to_onnx(fitted, X[:1], options={id(fitted): {"zipmap": False}})
    contents = pack(Candidate("delay", graph, X, "binary"), formats())
    assert (contents.format, contents.files) == ("onnx", {"model.onnx": graph.SerializeToString(deterministic=True)})
    np.testing.assert_allclose(
        loaded(contents, "binary").predict({"X": X})["probability"], fitted.predict_proba(X)[:, 1], atol=1e-5
    )
    path = tmp_path / "given.onnx"
    path.write_bytes(graph.SerializeToString())
    assert pack(Candidate("delay", path, X, "binary"), formats()).format == "onnx"


def test_a_graph_of_several_classes_needs_their_names():
    fitted = LogisticRegression().fit(X, TAGS.sum(axis=1))
    graph = to_onnx(fitted, X[:1], options={id(fitted): {"zipmap": False}})
    with pytest.raises(BadInputError, match="classes-missing"):
        pack(Candidate("kind", graph, X, "multiclass"), formats())
    contents = pack(Candidate("kind", graph, X, "multiclass", classes=["0", "1", "2"]), formats())
    np.testing.assert_allclose(
        loaded(contents, "multiclass").predict({"X": X})["probabilities"], fitted.predict_proba(X), atol=1e-5
    )


def test_a_file_that_only_calls_itself_onnx_is_refused(tmp_path):
    path = tmp_path / "trap.onnx"
    path.write_bytes(b"\x80\x04\x95not a graph")
    with pytest.raises(BadInputError, match="pickle-in-disguise"):
        pack(Candidate("delay", path, X, "binary"), formats())
