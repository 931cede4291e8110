"""What a run read and made: ``runs/log-inputs``, ``runs/outputs`` and ``experiments/search-datasets``."""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from tidegate.records.run import RunInput
from tidegate.server.mlflow.experiments import number_of
from tidegate.server.mlflow.limits import check_length
from tidegate.server.mlflow.protocol import Call, absent, both, invalid, route, wrong
from tidegate.server.mlflow.runs import about_run, active_run
from tidegate.server.mlflow.views import MODEL_INPUT, MODEL_OUTPUT
from tidegate.workspace import Workspace

_DATASET_LIMITS = {"name": 500, "digest": 36, "source_type": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}
_MAX_TAG_KEY = 255
_MAX_TAG = 500
_CONTEXT = "mlflow.data.context"
_MOST_EXPERIMENTS = 20
_MOST_SUMMARIES = 1000
_MOST_RUNS = 5000
"""The newest runs are looked at."""


def routes(workspace: Workspace) -> list[Route]:
    """The routes of inputs and outputs."""
    found = [route("POST", path, _log_inputs, workspace) for path in both("runs/log-inputs")]
    found += [route("POST", path, _log_outputs, workspace) for path in both("runs/outputs")]
    return found + [route("POST", path, _search_datasets, workspace) for path in both("experiments/search-datasets")]


def _log_inputs(call: Call) -> Any:
    run = active_run(call)
    asked = [_dataset(item) for item in call.records("datasets")]
    asked += [_model(item, MODEL_INPUT) for item in call.records("models")]
    # The first of a name and digest stays, as with MLflow.
    known = {(item.name, item.digest) for item in run.inputs}
    fresh = {(item.name, item.digest): item for item in reversed(asked) if (item.name, item.digest) not in known}
    with about_run(run.id):
        call.workspace.store.runs.annotate(run.id, inputs=list(reversed(fresh.values())))
    return {}


def _log_outputs(call: Call) -> Any:
    run, models = active_run(call), call.records("models")
    if not models:
        raise absent("models")
    with about_run(run.id):
        call.workspace.store.runs.annotate(run.id, inputs=[_model(item, MODEL_OUTPUT) for item in models])
    return {}


def _search_datasets(call: Call) -> Any:
    texts = call.texts("experiment_ids")
    if not texts:
        raise invalid("SearchDatasets request must specify at least one experiment_id.")
    if len(texts) > _MOST_EXPERIMENTS:
        raise invalid(
            f"SearchDatasets request cannot specify more than {_MOST_EXPERIMENTS} experiment_ids. Received {len(texts)} experiment_ids."
        )
    asked = {number_of(text) for text in texts}
    ids = {item.name: str(item.id) for item in call.workspace.store.experiments.list() if item.id in asked}
    if not ids:
        return {}
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for run in call.workspace.store.runs.search(experiments=list(ids), limit=_MOST_RUNS, deleted=None):
        for item in run.inputs:
            if item.source_type in {MODEL_INPUT, MODEL_OUTPUT}:
                continue
            summary = {"experiment_id": ids[run.experiment], "name": item.name, "digest": item.digest}
            if _CONTEXT in item.tags:
                summary["context"] = item.tags[_CONTEXT]
            found[tuple(summary.values())] = summary
    return {"dataset_summaries": list(found.values())[:_MOST_SUMMARIES]} if found else {}


def _dataset(item: dict[str, Any]) -> RunInput:
    dataset = item.get("dataset")
    if not isinstance(dataset, dict):
        raise absent("datasets.dataset")
    texts = {name: _text(dataset, name, most) for name, most in _DATASET_LIMITS.items()}  # pyright: ignore[reportUnknownArgumentType] - JSON
    for name in ("name", "digest", "source_type", "source"):
        if name not in dataset:
            raise absent(f"datasets.dataset.{name}")
    tags: Any = item.get("tags") or []
    if not isinstance(tags, list):
        raise wrong("tags", tags)
    found: dict[str, str] = {}
    for tag in tags:  # pyright: ignore[reportUnknownVariableType] - JSON
        if not isinstance(tag, dict):
            raise wrong("tags", tag)
        found[_text(tag, "key", _MAX_TAG_KEY)] = _text(tag, "value", _MAX_TAG)  # pyright: ignore[reportUnknownArgumentType] - JSON
    return RunInput(**texts, tags=found)


def _model(item: dict[str, Any], kind: str) -> RunInput:
    model = _text(item, "model_id", 500)
    if not model:
        raise absent("models.model_id")
    step = item.get("step")
    if step is not None and (isinstance(step, bool) or not isinstance(step, int) or not -(2**63) <= step < 2**63):
        raise wrong("models.step", step)
    return RunInput(name=model, digest=f"{kind}:{step or 0}", source_type=kind, tags={"step": str(step or 0)})


def _text(fields: dict[str, Any], name: str, most: int) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(name, value)
    return check_length(name, value, most)
