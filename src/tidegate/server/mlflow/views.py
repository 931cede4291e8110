"""Records as MLflow's JSON: its field names, milliseconds, ids as text, empty fields left out.

Source: the messages ``Run``, ``Experiment`` and ``Metric`` in ``mlflow/protos/service.proto`` of MLflow 3.18.
"""

from __future__ import annotations

import math
from typing import Any

from tidegate.records.run import Experiment, MetricSummary, Run, RunInput, RunState

RUN_NAME = "mlflow.runName"
STATE = "tidegate.state"
"""The tag that tells a crashed run, which MLflow has no word for, from a failed one."""
LARGEST = 1.7976931348623157e308
"""MLflow's infinity."""
MODEL_INPUT = "mlflow.model-input"
MODEL_OUTPUT = "mlflow.model-output"
"""Source types of inputs that are logged models which a run read or made; the tag ``step`` says when."""
MS = 1000
"""Microseconds in a millisecond."""
LATEST_MS = 2**63 // MS - 1
"""The latest time that fits the store, in milliseconds."""


def value_of(value: float) -> float | str:
    """A metric's value as MLflow sends it: NaN as text, infinities as the largest number."""
    return "NaN" if math.isnan(value) else finite(value)


def finite(value: float) -> float:
    """The value, or the largest number of its sign for an infinity."""
    return math.copysign(LARGEST, value) if math.isinf(value) else value


def experiment_root(experiment: Experiment) -> str:
    """Where an experiment's artifacts are, as a client is told."""
    return experiment.location or f"mlflow-artifacts:/{experiment.id}"


def within(root: str, path: str) -> str:
    """A path below an artifact root, which may end in a query (``scheme://place?option=1``)."""
    place, mark, query = root.partition("?")
    return f"{place.rstrip('/')}/{path}{mark}{query}"


def artifact_root(run_id: str, experiment: Experiment) -> str:
    """Where a run's artifacts are, as a client is told."""
    return within(experiment_root(experiment), f"{run_id}/artifacts")


def experiment_view(experiment: Experiment) -> dict[str, Any]:
    """MLflow's ``Experiment``."""
    found: dict[str, Any] = {
        "experiment_id": str(experiment.id),
        "name": experiment.name,
        "artifact_location": experiment_root(experiment),
        "lifecycle_stage": "active" if experiment.deleted_at is None else "deleted",
        "last_update_time": experiment.updated_at // MS,
        "creation_time": experiment.created_at // MS,
    }
    return found | ({"tags": pairs(experiment.tags)} if experiment.tags else {})


def run_info(run: Run, experiment: Experiment) -> dict[str, Any]:
    """MLflow's ``RunInfo``."""
    found: dict[str, Any] = {
        "run_uuid": run.id,
        "run_id": run.id,
        "run_name": run.name,
        "experiment_id": str(experiment.id),
        "user_id": run.author,
        "status": "FAILED" if run.state is RunState.CRASHED else run.state.value,
        "start_time": run.started_at // MS,
        "artifact_uri": artifact_root(run.id, experiment),
        "lifecycle_stage": "active" if run.deleted_at is None else "deleted",
    }
    return found | ({"end_time": run.ended_at // MS} if run.ended_at is not None else {})


def run_view(run: Run, experiment: Experiment) -> dict[str, Any]:
    """MLflow's ``Run``: info, data, inputs and outputs."""
    tags = {RUN_NAME: run.name, **run.tags}
    if run.state is RunState.CRASHED:
        tags[STATE] = run.state.value
    data: dict[str, Any] = {"tags": pairs(tags)}
    if run.metrics:
        data["metrics"] = [_latest(summary) for summary in run.metrics.values()]
    if run.params:
        data["params"] = pairs(run.params)
    read = [item for item in run.inputs if item.source_type == MODEL_INPUT]
    made = [item for item in run.inputs if item.source_type == MODEL_OUTPUT]
    inputs: dict[str, Any] = {}
    datasets = [_dataset_input(item) for item in run.inputs if item.source_type not in {MODEL_INPUT, MODEL_OUTPUT}]
    if datasets:
        inputs["dataset_inputs"] = datasets
    if read:
        inputs["model_inputs"] = [{"model_id": item.name} for item in read]
    outputs: dict[str, Any] = {}
    if made:
        outputs["model_outputs"] = [{"model_id": item.name, "step": int(item.tags.get("step", "0"))} for item in made]
    return {"info": run_info(run, experiment), "data": data, "inputs": inputs, "outputs": outputs}


def pairs(values: dict[str, str]) -> list[dict[str, str]]:
    """Tags or parameters as MLflow lists them."""
    return [{"key": key, "value": value} for key, value in values.items()]


def _latest(summary: MetricSummary) -> dict[str, Any]:
    return {
        "key": summary.name,
        "value": value_of(summary.last),
        "timestamp": summary.last_at // MS,
        "step": summary.last_step,
    }


def _dataset_input(item: RunInput) -> dict[str, Any]:
    optional = {"schema": item.schema, "profile": item.profile}
    dataset = {"name": item.name, "digest": item.digest, "source_type": item.source_type or "tidegate", "source": item.source}
    found: dict[str, Any] = {"dataset": dataset | {key: value for key, value in optional.items() if value}}
    return {"tags": pairs(item.tags)} | found if item.tags else found
