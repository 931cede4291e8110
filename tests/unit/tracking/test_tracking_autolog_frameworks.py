"""Frameworks for real; those that the fast tests do not install in the slow tests."""

import warnings

import lightgbm
import numpy as np
import pytest
import xgboost

from tidegate.clock import Clock
from tidegate.records.run import RunState
from tidegate.tracking import Runs
from tidegate.tracking.autolog import lightgbm as our_lightgbm
from tidegate.tracking.autolog import switch_off, switch_on
from tidegate.tracking.autolog import xgboost as our_xgboost

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS = np.random.default_rng(0).normal(size=(120, 4))
LABELS = (ROWS[:, 0] > 0).astype(int)


@pytest.fixture
def runs(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = Runs(store, Clock(), journals=store.root / "journal", project=tmp_path)
    switch_on([], lambda: found.start("auto"))
    yield found
    switch_off()


def the_run(runs):
    (run,) = runs.search(experiment="auto", limit=None)
    assert run.state is RunState.FINISHED
    return run


def test_xgboost_train(runs):
    data = xgboost.DMatrix(ROWS, LABELS)
    history = {}
    options = {"max_depth": 2, "objective": "binary:logistic", "eval_metric": "logloss"}
    xgboost.train(options, data, 7, evals=[(data, "train")], evals_result=history, early_stopping_rounds=3, verbose_eval=False)
    run = the_run(runs)
    assert runs.points(run.id, "train/logloss").values.tolist() == history["train"]["logloss"]
    assert (run.params["max_depth"], run.params["num_boost_round"], run.params["train_rows"]) == ("2", "7", "120")
    assert run.metrics["best_iteration"].last == 6
    assert "feature_importance.json" in run.artifacts


def test_xgboost_estimator_is_one_run(runs):
    xgboost.XGBClassifier(n_estimators=5).fit(ROWS, LABELS, eval_set=[(ROWS, LABELS)], verbose=False)
    run = the_run(runs)
    assert run.metrics["validation_0/logloss"].count == 5
    assert run.params["n_estimators"] == "5"
    assert "training/accuracy" in run.metrics


def test_lightgbm(runs):
    history = {}
    data = lightgbm.Dataset(ROWS, LABELS)
    lightgbm.train(
        {"objective": "binary", "verbose": -1}, data, 6, valid_sets=[data], callbacks=[lightgbm.record_evaluation(history)]
    )
    run = the_run(runs)
    assert runs.points(run.id, "training/binary_logloss").values.tolist() == history["training"]["binary_logloss"]
    assert run.params["objective"] == "binary"
    assert "feature_importance.json" in run.artifacts


def test_callbacks_in_one_line(runs):
    switch_off()
    data = xgboost.DMatrix(ROWS, LABELS)
    with runs.start("mine") as run:
        xgboost.train({}, data, 3, evals=[(data, "x")], callbacks=[our_xgboost.round_logger(run)], verbose_eval=False)
        train = lightgbm.Dataset(ROWS, LABELS)
        lightgbm.train({"verbose": -1}, train, 4, valid_sets=[train], callbacks=[our_lightgbm.round_logger(run)])
    found = runs.get(run.id)
    assert (found.metrics["x/rmse"].count, found.metrics["training/l2"].count) == (3, 4)


@pytest.mark.slow
def test_lightning(runs, tmp_path):
    import lightning.pytorch as lightning
    import torch

    class Model(lightning.LightningModule):
        def __init__(self, lr=0.1):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(4, 1)

        def _loss(self, batch):
            rows, labels = batch
            return ((self.layer(rows) - labels) ** 2).mean()

        def training_step(self, batch, _):
            loss = self._loss(batch)
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, _):
            self.log("val_loss", self._loss(batch))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), self.hparams.lr)

    data = torch.utils.data.TensorDataset(torch.randn(32, 4), torch.randn(32, 1))
    loader = torch.utils.data.DataLoader(data, batch_size=8)
    trainer = lightning.Trainer(
        max_epochs=2, log_every_n_steps=1, enable_progress_bar=False, enable_model_summary=False, logger=False, accelerator="cpu"
    )
    trainer.fit(Model(), loader, loader)
    run = the_run(runs)
    assert (run.params["lr"], run.params["max_epochs"]) == ("0.1", "2")
    assert (run.metrics["train_loss"].count, run.metrics["val_loss"].count) == (8, 2)
    assert run.tags["checkpoint.best"].startswith(str(tmp_path / "checkpoints"))
    assert trainer.loggers == []


@pytest.mark.slow
def test_transformers(runs, tmp_path):
    import torch
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes))
    rows = [{"input_ids": torch.tensor([1, 2, 3]), "labels": torch.tensor(number % 2)} for number in range(16)]
    options = transformers.TrainingArguments(
        str(tmp_path / "out"),
        num_train_epochs=1,
        per_device_train_batch_size=4,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.Trainer(model=model, args=options, train_dataset=rows).train()
    run = the_run(runs)
    assert runs.points(run.id, "loss").steps.tolist() == [1, 2, 3, 4]
    assert run.params["per_device_train_batch_size"] == "4"
    assert run.tags["model"] == "BertForSequenceClassification"
