from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tidegate.errors import BadInputError, IntegrityError, NotFoundError, RefusedError
from tidegate.models import Candidate
from tidegate.models.formats import find_format, formats
from tidegate.models.formats.skops import TRUSTED
from tidegate.models.packing import pack
from tidegate.records.model import Lineage, Manifest


class Doubled(TransformerMixin, BaseEstimator):
    """A user's own transformer: no converter and no trusted format knows it."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.asarray(X) * 2


def packed(estimator, example, task="binary"):
    return pack(Candidate("delay", estimator, example, task), formats())


def loaded(contents, task="binary"):
    manifest = Manifest(
        name="delay", version=1, task=task, format=contents.format, loads_code=False, signature=contents.signature, files=[],
        lineage=Lineage(), created_at=1, classes=contents.classes,
    )  # fmt: skip
    return find_format(contents.format).load(contents.files, manifest)


def test_built_in_formats_are_found_by_the_public_hook_and_onnx_comes_first():
    assert [kind.name for kind in formats()] == [
        "onnx", "catboost", "lightgbm", "xgboost", "torch", "transformers", "skops", "python", "mlflow"
    ]  # fmt: skip
    assert [kind.name for kind in formats() if kind.loads_code] == [
        "python",
        "mlflow",
    ]  # only where a candidate allows it; it packs nothing, it only keeps what comes
    with pytest.raises(NotFoundError, match="unknown-model-format") as caught:
        find_format("onx")
    assert "'onnx'" in caught.value.fix


def test_a_pipeline_with_text_and_gaps_becomes_onnx_with_the_same_answers(fitted, flights, columns):
    contents = packed(fitted, flights)
    assert contents.format == "onnx"
    assert contents.parity.holds
    assert contents.parity.largest_difference <= 1e-5
    assert contents.parity.rows > len(flights)  # the probe of unseen text is part of it
    answers = loaded(contents).predict(columns)
    np.testing.assert_allclose(answers["probability"], fitted.predict_proba(flights)[:, 1], atol=1e-5)
    np.testing.assert_array_equal(answers["label"], fitted.predict(flights))
    assert {name: str(values.dtype) for name, values in answers.items()} == {"probability": "float32", "label": "int64"}


def test_missing_values_mean_the_same_after_compiling(boosted, flights):
    table = flights[["wind", "seats", "previous_delay"]]
    contents = packed(boosted, table)
    gaps = table.assign(wind=np.nan, previous_delay=np.nan)
    answers = loaded(contents).predict({name: gaps[name].to_numpy() for name in gaps})
    np.testing.assert_allclose(answers["probability"], boosted.predict_proba(gaps)[:, 1], atol=1e-5)
    assert [tensor.nullable for tensor in contents.signature.inputs] == [True, False, True]


@pytest.mark.parametrize("numbers", [["wind"], ["wind", "seats", "previous_delay"]])
def test_a_number_that_the_graph_cannot_count_is_refused_instead_of_infinite(boosted, flights, numbers):
    table = flights[numbers].astype(float)
    contents = packed(type(boosted)(max_iter=5).fit(table, flights["carrier"] == "UA"), table)
    columns = {name: table[name].to_numpy() for name in table}
    assert loaded(contents).predict(columns)
    columns["wind"] = np.where(columns["wind"] > 0, 1e308, columns["wind"])
    with pytest.raises(BadInputError, match="model-refused-input"):
        loaded(contents).predict(columns)


def test_a_model_that_refuses_unseen_text_still_does(strict, flights, columns):
    contents = packed(strict, flights)
    assert contents.format == "onnx"
    odd = columns | {"carrier": np.full(len(flights), "??", dtype=object)}
    with pytest.raises(BadInputError, match="model-refused-input"):
        loaded(contents).predict(odd)
    with pytest.raises(BadInputError, match="missing-value"):
        loaded(contents).predict(columns | {"carrier": np.full(len(flights), None, dtype=object)})


def test_a_linear_model_without_imputer_takes_no_gaps(flights, late):
    table = flights[["wind", "seats"]]
    contents = packed(make_pipeline(StandardScaler(), LogisticRegression()).fit(table, late), table)
    assert not any(tensor.nullable for tensor in contents.signature.inputs)


def test_what_the_converter_gets_wrong_stays_native_with_the_reason(categorical, flights, columns):
    contents = packed(categorical, flights)
    assert contents.format == "skops"
    assert not contents.parity.holds
    assert "onnx: it differs from the native model by" in contents.parity.reason
    answers = loaded(contents).predict(columns)
    np.testing.assert_allclose(answers["probability"], categorical.predict_proba(flights)[:, 1], atol=1e-6)


def test_a_custom_transformer_is_refused_by_name(flights, late):
    table = flights[["wind", "seats"]]
    estimator = make_pipeline(Doubled(), LogisticRegression()).fit(table.to_numpy(), late)
    with pytest.raises(BadInputError, match="cannot-package") as caught:
        packed(estimator, table.to_numpy(dtype=float))
    assert f"{Doubled.__module__}.Doubled" in caught.value.why
    assert "onnx:" in caught.value.why


def test_a_function_of_ones_own_is_refused(flights, late):
    table = flights[["wind", "seats"]]
    estimator = make_pipeline(FunctionTransformer(os.path.basename, validate=False), LogisticRegression())
    estimator.steps[1][1].fit(table, late)
    with pytest.raises(BadInputError):
        packed(estimator, table)


@pytest.mark.parametrize("labels", [[0, 1], [False, True], ["no", "yes"], [0.0, 1.0], [-1, 1], [3, 7]])
def test_a_binary_label_is_the_index_of_its_class(flights, late, labels):
    table = flights[["wind", "seats"]]
    estimator = LogisticRegression().fit(table, np.array(labels)[late])
    contents = packed(estimator, table)
    assert contents.classes == [str(label).removesuffix(".0") for label in labels]
    assert contents.format == "onnx"
    answers = loaded(contents).predict({name: table[name].to_numpy() for name in table})
    assert set(answers["label"].tolist()) <= {0, 1}
    np.testing.assert_array_equal(np.array(labels)[answers["label"]], estimator.predict(table))


def test_more_classes_give_a_table_of_probabilities(flights):
    table = flights[["wind", "seats"]]
    estimator = HistGradientBoostingClassifier(max_iter=5).fit(table, flights["carrier"])
    contents = packed(estimator, table, "multiclass")
    answers = loaded(contents, "multiclass").predict({name: table[name].to_numpy() for name in table})
    np.testing.assert_allclose(answers["probabilities"], estimator.predict_proba(table), atol=1e-5)
    np.testing.assert_array_equal(np.array(contents.classes)[answers["label"]], estimator.predict(table))


@pytest.mark.parametrize("estimator", [LinearRegression(), HistGradientBoostingRegressor(max_iter=5)])
def test_regressions(flights, estimator):
    table = flights[["wind", "seats"]]
    estimator = make_pipeline(SimpleImputer(), estimator).fit(table, table["wind"] * 1000)
    contents = packed(estimator, table, "regression")
    answers = loaded(contents, "regression").predict({name: table[name].to_numpy() for name in table})
    np.testing.assert_allclose(answers["prediction"], estimator.predict(table), rtol=1e-4)


def test_a_plain_matrix_is_one_input(flights, late):
    matrix = flights[["wind", "seats"]].to_numpy(dtype=np.float64)
    estimator = RandomForestClassifier(20, random_state=0).fit(matrix, late)
    contents = packed(estimator, matrix)
    assert [(tensor.name, tensor.shape) for tensor in contents.signature.inputs] == [("X", [-1, 2])]
    np.testing.assert_allclose(
        loaded(contents).predict({"X": matrix})["probability"], estimator.predict_proba(matrix)[:, 1], atol=1e-5
    )


@pytest.mark.parametrize(
    ("estimator", "task", "code"),
    [
        (LinearRegression(), "binary", "unfit-estimator"),
        (object(), "binary", "unfit-estimator"),
        (LogisticRegression(), "regression", "model-refused-input"),
    ],
)
def test_an_estimator_that_does_not_fit_its_task_is_refused(flights, estimator, task, code):
    with pytest.raises(BadInputError, match=code):
        packed(estimator, flights[["wind"]], task)


def test_an_example_with_other_columns_is_refused(boosted, flights):
    with pytest.raises(BadInputError, match="example-columns") as caught:
        packed(boosted, flights[["wind", "seats", "carrier"]])
    assert "carrier" in caught.value.why


def test_pandas_categories_are_refused_or_answered_the_same_from_plain_text(flights, late, columns):
    table = flights.assign(carrier=flights["carrier"].astype("category"))
    estimator = HistGradientBoostingClassifier(max_iter=10, categorical_features="from_dtype").fit(table, late)
    try:
        contents = packed(estimator, table)
    except BadInputError:
        return
    np.testing.assert_allclose(loaded(contents).predict(columns)["probability"], estimator.predict_proba(table)[:, 1], atol=1e-5)


def test_a_model_that_answers_otherwise_without_its_column_types_is_refused(flights):
    class Typed(LogisticRegression):
        """Knows the types of a frame's columns, as models that take categories do."""

        def predict_proba(self, X):
            known = 0.9 if str(X["carrier"].dtype) == "category" else 0.1
            return np.tile([1 - known, known], (len(X), 1))

    table = flights[["carrier"]].astype("category")
    estimator = Typed()
    estimator.classes_, estimator.feature_names_in_ = np.array([0, 1]), np.array(["carrier"])
    estimator.predict = lambda X: np.zeros(len(X), dtype=int)
    with pytest.raises(BadInputError, match="example-types"):
        packed(estimator, table)


def test_skops_bytes_that_are_none_and_types_that_nobody_trusts(categorical, flights):
    contents = packed(categorical, flights)
    name = next(iter(contents.files))
    for data in (b"", b"not a zip", pickle.dumps(categorical), contents.files[name][:2000]):
        with pytest.raises(IntegrityError, match="broken-package"):
            loaded(contents._replace(files={name: data}))
    import skops.io

    stranger = make_pipeline(Doubled(), LogisticRegression()).fit(flights[["wind"]].to_numpy(), np.arange(len(flights)) % 2)
    with pytest.raises(RefusedError, match="untrusted-types") as caught:
        loaded(contents._replace(files={name: skops.io.dumps(stranger)}))
    assert "Doubled" in caught.value.what
    with pytest.raises(IntegrityError):
        loaded(contents._replace(files={}))


def test_onnx_bytes_that_are_none(fitted, flights):
    contents = packed(fitted, flights)
    for data in (b"", b"garbage", pickle.dumps(fitted), contents.files["model.onnx"][:200]):
        with pytest.raises(IntegrityError, match="broken-package"):
            loaded(contents._replace(files={"model.onnx": data}))


@pytest.mark.parametrize("place", ["near.bin", "../near.bin", "/etc/hostname"])
def test_a_graph_reads_no_file_of_this_machine(place, tmp_path, monkeypatch):
    from onnx import TensorProto, helper

    monkeypatch.chdir(tmp_path)
    (tmp_path / "near.bin").write_bytes(np.ones(2, np.float32).tobytes())
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 1], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=place)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name, size in (("x", 2), ("y", 1))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(BadInputError, match="bad-graph") as caught:
        pack(Candidate("delay", model, np.ones((5, 2), np.float32), "regression"), formats())
    assert "External data path" in caught.value.why


def test_a_small_file_that_unpacks_to_a_large_one_is_not_unpacked(categorical, flights, monkeypatch):
    contents = packed(categorical, flights)
    name = next(iter(contents.files))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("schema.json", bytes(80_000_000))
    with pytest.raises(IntegrityError, match="unpacks to 80000000 bytes"):
        loaded(contents._replace(files={name: out.getvalue()}))


def test_no_trusted_type_runs_code():
    assert not [name for name in TRUSTED if name.split(".")[0] not in {"numpy", "sklearn", "functools"}]


def test_a_forged_partial_is_still_refused(categorical, flights):
    """``functools.partial`` is trusted, the function in it is not."""
    import skops.io

    contents = packed(categorical, flights)
    forged = FunctionTransformer(func=__import__("functools").partial(os.system, "true"))
    with pytest.raises(RefusedError, match="system"):
        loaded(contents._replace(files={"model.skops": skops.io.dumps(forged)}))


SCRIPT = """
import hashlib
import numpy as np, pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from tidegate.models import Candidate
from tidegate.models.formats import formats
from tidegate.models.packing import pack

def packages():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"c": rng.choice(["a", "b", "c"], 300), "x": rng.normal(size=300)})
    label = ((table.c == "b") | (table.x > 0)).astype(int)
    for unseen, categorical in ((-1, None), (np.nan, [0])):
        encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=unseen)
        model = HistGradientBoostingClassifier(max_iter=3, categorical_features=categorical, random_state=0)
        pipeline = make_pipeline(make_column_transformer((encode, ["c"]), remainder="passthrough"), model).fit(table, label)
        contents = pack(Candidate("m", pipeline, table, "binary"), formats())
        yield [contents.format, *(hashlib.sha256(data).hexdigest() for data in contents.files.values())]
"""


def test_the_same_model_gives_the_same_bytes_in_every_process():
    here: dict = {}
    exec(SCRIPT, here)
    elsewhere = subprocess.run(
        [sys.executable, "-c", SCRIPT + "\nfor package in packages(): print(*package)"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"},
    ).stdout  # fmt: skip
    packages = list(here["packages"]())
    assert [line.split() for line in elsewhere.splitlines()] == packages
    assert [package[0] for package in packages] == ["onnx", "skops"]


def test_a_reproducible_file_is_what_skops_wrote(categorical, flights, columns):
    contents = packed(categorical, flights)
    with zipfile.ZipFile(io.BytesIO(contents.files["model.skops"])) as file:
        assert "schema.json" in file.namelist()
        assert {info.date_time[0] for info in file.infolist()} == {1980}


def test_a_frame_is_rebuilt_in_the_order_of_training(fitted, flights, columns):
    shuffled = {name: columns[name] for name in sorted(columns)}
    contents = packed(fitted, pd.DataFrame(shuffled))
    np.testing.assert_allclose(loaded(contents).predict(shuffled)["probability"], fitted.predict_proba(flights)[:, 1], atol=1e-5)


def test_an_answer_that_is_no_number_is_refused(flights, late):
    table = flights[["wind"]]
    contents = packed(LinearRegression().fit(table, late), table, "regression")
    with pytest.raises(BadInputError, match=r"prediction-not-finite|model-refused-input"):
        loaded(contents, "regression").predict({"wind": np.array([1.0, np.inf])})
