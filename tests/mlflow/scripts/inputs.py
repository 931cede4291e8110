"""Datasets as inputs of runs."""

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from observing import NAME, attempt, see

client = MlflowClient()
experiment = mlflow.set_experiment(NAME).experiment_id
frame = pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
with mlflow.start_run(run_name="trained") as run:
    mlflow.log_input(
        mlflow.data.from_pandas(frame, source="s3://bucket/train.csv", name="train", targets="y"), context="training"
    )
    mlflow.log_input(mlflow.data.from_numpy(np.arange(6.0).reshape(3, 2), name="numbers"), context="eval", tags={"k": "v"})
    mlflow.log_input(
        mlflow.data.from_pandas(frame, source="s3://bucket/train.csv", name="train", targets="y"), context="training"
    )


def inputs(run_id):
    return sorted(
        [
            [
                item.dataset.name,
                item.dataset.digest,
                item.dataset.source_type,
                item.dataset.source,
                item.dataset.profile,
                sorted([tag.key, tag.value] for tag in item.tags),
            ]
            for item in client.get_run(run_id).inputs.dataset_inputs
        ]
    )


see("inputs", inputs(run.info.run_id))
see("a schema", client.get_run(run.info.run_id).inputs.dataset_inputs[0].dataset.schema is not None)
other = client.create_run(experiment, run_name="other").info.run_id


def given(name="d", digest="1", kind="local", source="here", tags=()):
    return DatasetInput(Dataset(name, digest, kind, source), [InputTag(*tag) for tag in tags])


attempt("log", lambda: client.log_inputs(other, [given(tags=[("mlflow.data.context", "test")]), given("e", "2")]))
see("logged", inputs(other))
attempt("log again", lambda: client.log_inputs(other, [given(tags=[("mlflow.data.context", "test")])]))
see("once", inputs(other))
attempt("none", lambda: client.log_inputs(other, []))
attempt("to none", lambda: client.log_inputs("0" * 32, [given()]))
attempt("a long name", lambda: client.log_inputs(other, [given("n" * 501)]))
attempt("a long digest", lambda: client.log_inputs(other, [given(digest="9" * 37)]))
attempt("no name", lambda: client.log_inputs(other, [given("")]))
for clause in [
    "datasets.name = 'train'",
    "datasets.name LIKE 'num%'",
    "dataset.digest = '1'",
    "datasets.context = 'test'",
    "datasets.context = 'eval' AND datasets.name = 'numbers'",
    "datasets.name IN ('train', 'e')",
    "datasets.name != 'train'",
    "datasets.digest LIKE '_'",
    "datasets.name ILIKE 'TRAIN'",
]:
    attempt(
        f"where {clause}", lambda clause=clause: sorted(item.info.run_name for item in client.search_runs([experiment], clause))
    )
client.delete_run(other)
attempt("to a deleted run", lambda: client.log_inputs(other, [given("late")]))
