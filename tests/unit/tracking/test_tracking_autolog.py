import importlib
import json
import pickle
import sys
import threading

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tidegate.clock import Clock
from tidegate.errors import UsageError
from tidegate.records.run import RunState
from tidegate.store import fetch_object
from tidegate.tracking import Runs
from tidegate.tracking.autolog import switch_off, switch_on
from tidegate.tracking.autolog.patching import ImportHook, Patches

ROWS = np.random.default_rng(0).normal(size=(60, 3))
LABELS = (ROWS[:, 0] > 0).astype(int)


@pytest.fixture
def runs(store, tmp_path):
    return Runs(store, Clock(), journals=store.root / "journal", project=tmp_path)


@pytest.fixture
def autolog(runs):
    """Recording of scikit-learn is on until the test ends."""
    switch_on(["sklearn"], lambda: runs.start("auto"))
    yield
    switch_off()


def logged(runs):
    return runs.search(experiment="auto", limit=None)


@pytest.mark.usefixtures("autolog")
def test_a_fit_is_a_run(runs, store):
    model = LogisticRegression(C=2.5).fit(ROWS, LABELS)
    (run,) = logged(runs)
    assert run.state is RunState.FINISHED
    assert run.params["C"] == "2.5"
    assert run.tags["estimator"] == "LogisticRegression"
    assert run.metrics["training/accuracy"].last == model.score(ROWS, LABELS)
    assert run.metrics["fit_seconds"].last >= 0
    assert [(item.name, item.schema) for item in run.inputs] == [("X", "60 x 3: float64"), ("y", "60: int64")]
    LogisticRegression(C=2.5).fit(ROWS + 0.0, LABELS)
    LogisticRegression(C=2.5).fit(ROWS + 1e-9, LABELS)
    digests = [run.inputs[0].digest for run in logged(runs)]
    assert digests[1] == digests[2] != digests[0]


@pytest.mark.usefixtures("autolog")
def test_only_the_outermost_fit_is_a_run(runs, store):
    make_pipeline(StandardScaler(), LogisticRegression(C=3.0)).fit(ROWS, LABELS)
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, cv=2).fit(ROWS, LABELS)
    cross_val_score(LogisticRegression(), ROWS, LABELS, cv=2)
    StandardScaler().fit(ROWS)
    searched, piped = logged(runs)
    assert piped.params["logisticregression__C"] == "3.0"
    assert piped.params["standardscaler"] == "StandardScaler"
    assert searched.params["best.max_depth"] == str(search.best_params_["max_depth"])
    assert searched.metrics["best_cv_score"].last == search.best_score_
    table = json.loads(fetch_object(store.bucket, searched.artifacts["cv_results.json"]).read_bytes())
    assert table["mean_test_score"] == search.cv_results_["mean_test_score"].tolist()


@pytest.mark.usefixtures("autolog")
def test_work_in_other_processes_goes_on(runs):
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, n_jobs=2).fit(ROWS, LABELS)
    assert len(logged(runs)) == 1
    assert pickle.loads(pickle.dumps(LogisticRegression().fit(ROWS, LABELS))).coef_.shape == (1, 3)


@pytest.mark.usefixtures("autolog")
def test_an_open_run_takes_what_is_fitted_in_it(runs):
    with runs.start("mine") as run:
        LogisticRegression(C=1.0).fit(ROWS, LABELS)
        LinearRegression().fit(ROWS, LABELS)
        run.log(after=1.0)
    assert logged(runs) == []
    found = runs.get(run.id)
    assert (found.params["C"], found.params["fit2.fit_intercept"]) == ("1.0", "True")
    assert {"training/accuracy", "fit2.training/r2", "after"} <= set(found.metrics)
    LinearRegression().fit(ROWS, LABELS)
    assert len(logged(runs)) == 1


@pytest.mark.usefixtures("autolog")
def test_a_fit_that_fails_is_a_failed_run_and_fails_as_before(runs):
    with pytest.raises(ValueError, match="inconsistent"):
        LogisticRegression().fit(ROWS, LABELS[:5])
    (run,) = logged(runs)
    assert run.state is RunState.FAILED
    assert "inconsistent" in run.tags["error"]


@pytest.mark.usefixtures("autolog")
def test_classes_that_are_defined_later_are_recorded(runs):
    class Mine(ClassifierMixin, BaseEstimator):
        def __init__(self, depth=1):
            self.depth = depth

        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.zeros(len(X), int)

    Mine(depth=4).fit(ROWS, LABELS)
    assert logged(runs)[0].params["depth"] == "4"


@pytest.mark.usefixtures("autolog")
def test_what_cannot_be_recorded_is_told_once_and_stops_nothing(runs, capsys):
    class Odd(BaseEstimator):
        def get_params(self, deep=True):
            raise RuntimeError("no params today")

        def fit(self, X, y=None):
            self.fitted_ = True
            return self

        def predict(self, X):
            return X

    assert Odd().fit(ROWS).fitted_
    assert Odd().fit(ROWS).fitted_
    assert capsys.readouterr().err.count("no params today") == 1
    assert [run.state for run in logged(runs)] == [RunState.FINISHED] * 2


def test_where_no_run_can_begin_training_goes_on(capsys):
    def fails():
        raise OSError("disk full")

    switch_on(["sklearn"], fails)
    try:
        assert LogisticRegression().fit(ROWS, LABELS).coef_.shape == (1, 3)
    finally:
        switch_off()
    assert "disk full" in capsys.readouterr().err


@pytest.mark.usefixtures("autolog")
def test_fits_in_threads_of_a_fit_belong_to_it(runs):
    class Threaded(BaseEstimator):
        def fit(self, X, y):
            inner = [threading.Thread(target=DecisionTreeClassifier().fit, args=(X, y)) for _ in range(3)]
            for thread in inner:
                thread.start()
            for thread in inner:
                thread.join()
            return self

        def predict(self, X):
            return X

    Threaded().fit(ROWS, LABELS)
    assert [run.tags["estimator"] for run in logged(runs)] == ["Threaded"]


def test_off_is_as_before(runs):
    before = {name: vars(LogisticRegression).get(name) for name in ("fit",)} | {
        "root": vars(BaseEstimator).get("__init_subclass__")
    }
    switch_on(["sklearn"], lambda: runs.start("auto"))
    switch_on([], lambda: runs.start("auto"))
    assert vars(LogisticRegression)["fit"] is not before["fit"]
    switch_off()
    assert vars(LogisticRegression)["fit"] is before["fit"]
    assert vars(BaseEstimator).get("__init_subclass__") is before["root"]
    LogisticRegression().fit(ROWS, LABELS)
    assert logged(runs) == []
    assert not any(isinstance(finder, ImportHook) for finder in sys.meta_path)


def test_an_unknown_framework_is_refused(runs):
    with pytest.raises(UsageError, match="does not know 'sklaern'"):
        switch_on(["sklaern"], lambda: runs.start("auto"))


def test_a_module_that_is_imported_later_is_patched_then(tmp_path, monkeypatch):
    (tmp_path / "late_framework").mkdir()
    (tmp_path / "late_framework/__init__.py").write_text("def train():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    hook, patches = ImportHook(), Patches()
    hook.when_loaded("late_framework", lambda module: patches.wrap(module, "train", lambda original: original() + 1))
    module = importlib.import_module("late_framework")
    assert module.train() == 2
    assert module.__spec__.loader is module.__loader__
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    patches.restore()
    hook.remove()
    assert module.train() == 1


def test_a_wrapper_that_somebody_wrapped_again_passes_on(monkeypatch):
    class Owner:
        @staticmethod
        def train():
            return 1

    patches = Patches()
    patches.wrap(Owner, "train", lambda original: original() + 1)
    ours = Owner.train
    Owner.train = lambda *_: ours() * 10
    patches.restore()
    assert Owner.train() == 10
