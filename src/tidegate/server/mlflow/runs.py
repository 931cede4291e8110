"""``runs/*`` of MLflow's REST API, but for metrics and inputs."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from starlette.routing import Route

from tidegate.errors import TidegateError
from tidegate.records.run import Experiment, Run, RunState
from tidegate.server.mlflow.experiments import active_experiment, experiment_of, number_of, page_size, view_type
from tidegate.server.mlflow.limits import MAX_PARAM, MAX_TAG, check_key, tags_of
from tidegate.server.mlflow.protocol import (
    Call,
    MlflowError,
    both,
    invalid,
    missing,
    page_start,
    page_token,
    route,
    shown,
    translated,
    wrong,
)
from tidegate.server.mlflow.random_names import random_name
from tidegate.server.mlflow.views import LATEST_MS, MS, RUN_NAME, run_info, run_view
from tidegate.store.paging import Place, place_after
from tidegate.workspace import Workspace

_STATES = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
"""MLflow's numbers for states."""
_PAGE = 1000
_MODELS = "mlflow.log-model.history"
_models_lock = threading.Lock()


def routes(workspace: Workspace) -> list[Route]:
    """The routes of runs."""
    handlers = [
        ("POST", "create", _create),
        ("POST", "update", _update),
        ("GET", "get", _get),
        ("POST", "search", _search),
        ("POST", "delete", _delete),
        ("POST", "restore", _restore),
        ("POST", "log-parameter", _log_parameter),
        ("POST", "set-tag", _set_tag),
        ("POST", "delete-tag", _delete_tag),
        ("POST", "log-model", _log_model),
    ]
    return [route(method, path, handler, workspace) for method, name, handler in handlers for path in both(f"runs/{name}")]


@contextmanager
def about_run(run_id: str) -> Generator[None]:
    """Tells what the store says of a run in MLflow's words.

    Raises:
        MlflowError: the run is unknown or deleted.
    """
    try:
        yield
    except TidegateError as error:
        raise told(error, run_id) from None


def told(error: TidegateError, run_id: str) -> MlflowError:
    """An error about a run in MLflow's words."""
    if error.code == "run-not-found":
        return missing(f"Run with id={run_id[:300]} not found")
    if error.code == "run-deleted":
        return _inactive(run_id)
    return translated(error)


def _inactive(run_id: str) -> MlflowError:
    return invalid(f"The run {run_id} must be in the 'active' state. Current state is deleted.")


def known_run(call: Call) -> Run:
    """The run that a call is about, deleted or not.

    Raises:
        MlflowError: there is none.
    """
    run_id = call.text("run_id", "run_uuid")
    with about_run(run_id):
        return call.workspace.store.runs.get(run_id)


def active_run(call: Call) -> Run:
    """The run that a call adds to.

    Raises:
        MlflowError: there is none, or it is deleted.
    """
    run = known_run(call)
    if run.deleted_at is not None:
        raise _inactive(run.id)
    return run


def experiment_of_run(workspace: Workspace, run: Run) -> Experiment:
    """The experiment that a run belongs to."""
    found = workspace.store.experiments.find(run.experiment)
    if found is None:  # it was renamed between two looks
        return experiment_of_run(workspace, workspace.store.runs.get(run.id))
    return found


def microseconds(milliseconds: int, name: str) -> int:
    """A client's time in microseconds.

    Raises:
        MlflowError: it is negative, or later than the year 292,000 (most likely it is not in milliseconds).
    """
    if not 0 <= milliseconds <= LATEST_MS:
        raise invalid(
            f"Invalid value {milliseconds} for parameter '{name}' supplied: it must be a time in milliseconds since 1970."
        )
    return milliseconds * MS


def _create(call: Call) -> Any:
    workspace = call.workspace
    experiment = active_experiment(workspace, call.text("experiment_id", default="0"))
    tags = tags_of(call.records("tags"), any_name=True)
    asked, tagged = call.text("run_name", default=""), tags.get(RUN_NAME, "")
    if asked and tagged and asked != tagged:
        raise invalid(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values"
            f" (run_name='{asked}', mlflow.runName='{tagged}')."
        )
    name = asked or tagged or random_name()
    started = call.integer("start_time", default=0)
    run = Run(
        id=secrets.token_hex(16),
        experiment=experiment.name,
        name=name,
        state=RunState.RUNNING,
        started_at=microseconds(started, "start_time") if started else workspace.clock.now(),
        author=call.text("user_id", default="") or tags.get("mlflow.user", ""),
        tags={**tags, RUN_NAME: name},
    )
    workspace.store.runs.create(run)
    return {"run": run_view(run, experiment)}


def _get(call: Call) -> Any:
    run = known_run(call)
    return {"run": run_view(run, experiment_of_run(call.workspace, run))}


def _update(call: Call) -> Any:
    run, store = active_run(call), call.workspace.store.runs
    name = call.text("run_name", default="")
    ended = call.integer("end_time", default=0)
    ended_at = microseconds(ended, "end_time") if ended else None
    status = call.text("status", default="")
    status = _STATES.get(status, status)
    if status and status not in _STATES.values():
        raise wrong("status", status)
    with about_run(run.id):
        if name:
            store.annotate(run.id, name=name, tags={RUN_NAME: name})
        _change_state(call.workspace, run, RunState(status) if status else run.state, ended_at)
    found = store.get(run.id)
    if status and found.state.ended:
        with suppress(TidegateError):  # packed or loose, its points read the same
            call.workspace.store.series.seal(run.id)
    return {"run_info": run_info(found, experiment_of_run(call.workspace, found))}


def _change_state(workspace: Workspace, run: Run, state: RunState, ended_at: int | None) -> None:
    """MLflow lets a run end again, otherwise or at another time; the store wants it to be resumed in between."""
    again = run.state.ended and state.ended and (state is not run.state or ended_at not in {None, run.ended_at})
    if again:
        workspace.store.runs.change_state(run.id, RunState.RUNNING, workspace.clock.now())
    if again or state is not run.state:
        workspace.store.runs.change_state(run.id, state, ended_at if ended_at is not None else workspace.clock.now())


def _delete(call: Call) -> Any:
    run = known_run(call)
    if run.deleted_at is None:
        call.workspace.store.runs.delete([run.id], at=call.workspace.clock.now())
    return {}


def _restore(call: Call) -> Any:
    call.workspace.store.runs.delete([known_run(call).id], at=None)
    return {}


def _search(call: Call) -> Any:
    asked = {number_of(text) for text in call.texts("experiment_ids")}
    experiments = {item.name: item for item in call.workspace.store.experiments.list() if item.id in asked}
    if 0 in asked and not any(item.id == 0 for item in experiments.values()):
        default = experiment_of(call.workspace, "0")
        experiments[default.name] = default
    size, deleted = page_size(call, _PAGE), view_type(call, "run_view_type")
    place = _place(call.text("page_token", default=""))
    where, order_by = call.text("filter", default=""), ", ".join(call.texts("order_by"))
    if not experiments:
        return {}
    found = call.workspace.store.runs.search(
        experiments=list(experiments),
        where=where,
        order_by=order_by,
        limit=size + 1,
        offset=place.offset,
        since=place.since,
        deleted=deleted,
    )
    page = found[:size]
    answer: dict[str, Any] = {"runs": [run_view(run, experiments[run.experiment]) for run in page]} if page else {}
    if len(found) > size:
        answer["next_page_token"] = page_token(place_after(page, order_by, place))
    return answer


def _place(token: str) -> Place:
    place = page_start(token, Place)
    if place.offset >= 0 <= place.total and max(place.offset, place.total) < 2**53:
        return place
    raise invalid("Invalid page token, its offset is out of range")


def _log_parameter(call: Call) -> Any:
    run_id, key = call.text("run_id", "run_uuid"), check_key(call.text("key"), what="Param key")
    put_params(call.workspace, run_id, {key: call.text("value", default="")[:MAX_PARAM]})
    return {}


def put_params(
    workspace: Workspace, run_id: str, params: dict[str, str], *, tags: dict[str, str] | None = None, single: bool = True
) -> None:
    """Adds parameters and tags to a run, all or nothing.

    Raises:
        MlflowError: a parameter has another value already; the run is unknown or deleted.
    """
    tags = tags or {}
    try:
        workspace.store.runs.annotate(run_id, name=tags.get(RUN_NAME, ""), params=params, tags=tags)
    except TidegateError as error:
        if error.code == "param-changed":
            raise _changed_params(workspace.store.runs.get(run_id), params, single=single) from None
        raise told(error, run_id) from None


def _changed_params(run: Run, params: dict[str, str], *, single: bool) -> MlflowError:
    changed = [
        {"key": key, "old_value": run.params[key], "new_value": value}
        for key, value in params.items()
        if run.params.get(key, value) != value
    ]
    if single and changed:
        first = changed[0]
        return invalid(
            f"Changing param values is not allowed. Param with key='{first['key']}' was already logged with"
            f" value='{first['old_value']}' for run ID='{run.id}'. Attempted logging new value '{first['new_value']}'."
        )
    return invalid(f"Changing param values is not allowed. Params were already logged='{changed}' for run ID='{run.id}'.")


def _set_tag(call: Call) -> Any:
    run_id, key = call.text("run_id", "run_uuid"), check_key(call.text("key"))
    value = call.text("value", default="")[:MAX_TAG]
    with about_run(run_id):
        call.workspace.store.runs.annotate(run_id, name=value if key == RUN_NAME else "", tags={key: value})
    return {}


def _delete_tag(call: Call) -> Any:
    run, key = active_run(call), call.text("key")
    if key not in run.tags:
        raise missing(f"No tag with name: {key} in run with id {run.id}")
    with about_run(run.id):
        call.workspace.store.runs.annotate(run.id, drop_tags=[key])
    return {}


def _log_model(call: Call) -> Any:
    """What clients 2.x send with each model: kept as a list in a tag of the run."""
    text = call.text("model_json")
    try:
        model = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        raise invalid(f"Malformed model info. \n {text[:300]} \n is not a valid JSON.") from None
    lacking = {"artifact_path", "flavors", "utc_time_created", "run_id"} - set(model)
    if lacking:
        raise invalid(f"Model json is missing mandatory fields: {lacking}")
    flavors = model["flavors"] if isinstance(model["flavors"], dict) else {}
    entry = {key: model[key] for key in ("run_id", "artifact_path", "utc_time_created", "model_uuid") if key in model}
    entry["flavors"] = {
        flavor: {key: value for key, value in config.items() if key != "config"} if isinstance(config, dict) else config
        for flavor, config in flavors.items()
    }
    with _models_lock:
        run = active_run(call)
        value = msgspec.json.encode([*_history(run), entry]).decode()
        with about_run(run.id):
            call.workspace.store.runs.annotate(run.id, tags={_MODELS: value})
    return {}


def _history(run: Run) -> list[Any]:
    try:
        return msgspec.json.decode(run.tags.get(_MODELS, "[]"), type=list[Any])
    except msgspec.MsgspecError:
        raise invalid(f"The tag {_MODELS} of run {run.id} is no list: {shown(run.tags[_MODELS])}") from None
