"""Models of the boosting libraries: compiled, native, raw, behind other steps, early stopped, damaged."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tidegate.errors import BadInputError, IntegrityError
from tidegate.models import Candidate
from tidegate.models.formats import find_format, formats
from tidegate.models.packing import pack
from tidegate.records.model import Lineage, Manifest

ROWS = 300
CLASSIFIERS = [
    pytest.param(lambda: xgboost.XGBClassifier(n_estimators=20, nthread=1), id="xgboost"),
    pytest.param(lambda: lightgbm.LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1), id="lightgbm"),
]
NATIVE = [kind for kind in formats() if kind.name != "onnx"]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    found = pd.DataFrame(rng.normal(size=(ROWS, 4)).astype(np.float32), columns=["wind", "rain", "seats", "age"])
    found.loc[::9, "rain"] = np.nan
    return found


@pytest.fixture(scope="module")
def kinds(table):
    return np.digitize(table["wind"], [-0.5, 0.5])


def loaded(contents, task):
    manifest = Manifest(
        name="delay", version=1, task=task, format=contents.format, loads_code=False, signature=contents.signature, files=[],
        lineage=Lineage(), created_at=1, classes=contents.classes,
    )  # fmt: skip
    return find_format(contents.format).load(contents.files, manifest)


def columns_of(table):
    return {name: table[name].to_numpy() for name in table}


@pytest.mark.parametrize("make", CLASSIFIERS)
def test_classifiers_compile_to_onnx_with_the_same_answers(make, table, kinds):
    estimator = make().fit(table, kinds)
    contents = pack(Candidate("delay", estimator, table, "multiclass"), formats())
    assert (contents.format, contents.parity.holds, contents.classes) == ("onnx", True, ["0", "1", "2"])
    answers = loaded(contents, "multiclass").predict(columns_of(table))
    np.testing.assert_allclose(answers["probabilities"], estimator.predict_proba(table), atol=1e-5)


@pytest.mark.parametrize("make", CLASSIFIERS)
@pytest.mark.parametrize("prepared", [False, True], ids=["alone", "behind steps"])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_native_package_answers_the_same(make, prepared, task, table, kinds):
    rows = table.assign(carrier=np.where(table["age"] > 0, "AA", "UA")) if prepared else table
    labels = kinds if task == "multiclass" else (kinds > 0).astype(int)
    steps = make_column_transformer((StandardScaler(), ["wind", "seats"]), (OneHotEncoder(handle_unknown="ignore"), ["carrier"]))
    estimator = make_pipeline(steps, make()) if prepared else make()
    estimator.fit(rows, labels)
    contents = pack(Candidate("delay", estimator, rows, task), NATIVE)
    assert contents.format in {"xgboost", "lightgbm"}
    assert ("steps.skops" in contents.files) is prepared
    answers = loaded(contents, task).predict(columns_of(rows))
    expected = estimator.predict_proba(rows)
    np.testing.assert_allclose(next(iter(answers.values())), expected if task == "multiclass" else expected[:, 1], atol=1e-6)
    np.testing.assert_array_equal(answers["label"], estimator.predict(rows))


def test_the_same_model_gives_the_same_bytes(table, kinds):
    for param in CLASSIFIERS:
        files = [pack(Candidate("d", param.values[0]().fit(table, kinds), table, "multiclass"), NATIVE).files for _ in range(2)]
        assert files[0] == files[1]


def test_a_raw_booster_of_each_library(table, kinds):
    late = (kinds > 0).astype(int)
    shuffled = table[["age", "seats", "rain", "wind"]]
    raw = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(table, late), 10)
    contents = pack(Candidate("delay", raw, shuffled, "binary"), formats())
    assert contents.format == "xgboost"
    assert "onnx" in contents.parity.reason  # why it is not compiled
    answers = loaded(contents, "binary").predict(columns_of(shuffled))  # by name: the order of columns does not matter
    np.testing.assert_allclose(answers["probability"], raw.predict(xgboost.DMatrix(table)), atol=1e-6)
    trees = lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, lightgbm.Dataset(table, kinds), 10)
    contents = pack(Candidate("delay", trees, table, "multiclass", classes=["low", "mid", "high"]), formats())
    assert (contents.format, contents.classes) == ("lightgbm", ["low", "mid", "high"])
    answers = loaded(contents, "multiclass").predict(columns_of(table))
    np.testing.assert_allclose(answers["probabilities"], trees.predict(table), atol=1e-6)


def test_a_booster_whose_classes_nobody_names_is_refused(table, kinds):
    trees = lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, lightgbm.Dataset(table, kinds), 3)
    with pytest.raises(BadInputError, match="classes-missing"):
        pack(Candidate("delay", trees, table, "multiclass"), formats())


def test_trees_after_early_stopping_do_not_count(table):
    late = (table["wind"] > 0).astype(int)
    noise = np.random.default_rng(1).integers(0, 2, ROWS)
    estimator = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=3, nthread=1)
    estimator.fit(table, late, eval_set=[(table, noise)], verbose=False)
    assert estimator.best_iteration < estimator.get_booster().num_boosted_rounds() - 1
    contents = pack(Candidate("delay", estimator, table, "binary"), NATIVE)
    answers = loaded(contents, "binary").predict(columns_of(table))
    np.testing.assert_allclose(answers["probability"], estimator.predict_proba(table)[:, 1], atol=1e-6)


def test_a_ranker_scores_rows(table, kinds):
    ranker = xgboost.XGBRanker(n_estimators=10, nthread=1).fit(table, kinds, group=[ROWS // 3] * 3)
    contents = pack(Candidate("search", ranker, table, "ranking"), formats())
    assert [tensor.name for tensor in contents.signature.outputs] == ["score"]
    np.testing.assert_allclose(loaded(contents, "ranking").predict(columns_of(table))["score"], ranker.predict(table), atol=1e-5)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_damaged_files_are_named(name, table, kinds):
    estimator = next(param.values[0]() for param in CLASSIFIERS if param.id == name).fit(table, kinds)
    contents = pack(Candidate("delay", estimator, table, "multiclass"), NATIVE)
    [path] = contents.files
    with pytest.raises(IntegrityError, match="broken-package"):
        loaded(contents._replace(files={path: b"not a model"}), "multiclass")
    with pytest.raises(IntegrityError, match="broken-package"):
        loaded(contents._replace(files={}), "multiclass")


@pytest.mark.slow
def test_catboost_with_text_and_early_ends(table, kinds):
    import catboost

    rows = table.drop(columns="rain").assign(carrier=np.where(table["age"] > 0, "AA", "UA"))
    estimator = catboost.CatBoostClassifier(
        iterations=20, cat_features=["carrier"], verbose=0, thread_count=1, allow_writing_files=False
    )
    estimator.fit(rows, kinds)
    contents = pack(Candidate("delay", estimator, rows, "multiclass"), formats())
    assert contents.format == "catboost"
    answers = loaded(contents, "multiclass").predict(columns_of(rows))
    np.testing.assert_allclose(answers["probabilities"], estimator.predict_proba(rows), atol=1e-6)
