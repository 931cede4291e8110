"""``experiments/*`` of MLflow's REST API."""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from tidegate.errors import ConflictError, NotFoundError
from tidegate.records.run import Experiment
from tidegate.server.mlflow.limits import (
    MAX_EXPERIMENT_NAME,
    MAX_EXPERIMENT_TAG,
    MAX_PAGE,
    check_key,
    check_length,
    experiment_tags_of,
)
from tidegate.server.mlflow.protocol import (
    Call,
    MlflowError,
    absent,
    both,
    invalid,
    missing,
    offset_of,
    paged,
    route,
    wrong,
)
from tidegate.server.mlflow.record_search import EXPERIMENTS, comparisons, lookup, ordered
from tidegate.server.mlflow.views import MS, experiment_view
from tidegate.store.filter import matches, parse_filter
from tidegate.workspace import Workspace

DEFAULT = "Default"
VIEWS = {"ACTIVE_ONLY": False, "DELETED_ONLY": True, "ALL": None, "1": False, "2": True, "3": None}
"""MLflow's view types, by name and by number: whether what is shown is deleted."""
_PAGE = 1000
_MAX_LOCATION = 2048


def routes(workspace: Workspace) -> list[Route]:
    """The routes of experiments. Makes experiment 0, which clients take for granted."""
    ensure_default(workspace)
    handlers = [
        ("POST", "create", _create),
        ("GET", "get", _get),
        ("GET", "get-by-name", _get_by_name),
        ("GET", "search", _search),
        ("POST", "search", _search),
        ("POST", "update", _update),
        ("POST", "delete", _delete),
        ("POST", "restore", _restore),
        ("POST", "set-experiment-tag", _set_tag),
        ("POST", "delete-experiment-tag", _delete_tag),
    ]
    return [route(method, path, handler, workspace) for method, name, handler in handlers for path in both(f"experiments/{name}")]


def ensure_default(workspace: Workspace) -> None:
    """Makes experiment 0 with the name ``Default``, unless there is one of that name."""
    if workspace.store.experiments.find(DEFAULT) is None:
        try:
            workspace.store.experiments.create(DEFAULT, at=workspace.clock.now(), number=0)
        except ConflictError:  # another server was faster
            return


def experiment_of(workspace: Workspace, text: str) -> Experiment:
    """The experiment that a client calls by this id, deleted or not; 0 is the default one.

    Raises:
        MlflowError: there is none, or the id is no number.
    """
    number = number_of(text)
    try:
        return workspace.store.experiments.get(number)
    except NotFoundError:
        found = workspace.store.experiments.find(DEFAULT) if number == 0 else None
        if found is None:
            raise missing(f"No Experiment with id={number} exists") from None
        return found


def active_experiment(workspace: Workspace, text: str) -> Experiment:
    """The experiment that a client calls by this id, if something may be added to it.

    Raises:
        MlflowError: there is none, the id is no number, or it is deleted.
    """
    found = experiment_of(workspace, text)
    if found.deleted_at is not None:
        raise invalid(f"The experiment {found.id} must be in the 'active' state. Current state is deleted.")
    return found


def number_of(text: str) -> int:
    """The number that an experiment's id is.

    Raises:
        MlflowError: it is none.
    """
    try:
        number = int(text or "0")
    except ValueError:
        number = -1
    if not 0 <= number < 2**31:
        raise invalid(f"Invalid experiment ID '{text[:100]}'. Experiment ID must be a valid integer.")
    return number


def view_type(call: Call, name: str) -> bool | None:
    """Whether deleted things are asked for: no, yes, or both (None).

    Raises:
        MlflowError: the view type is unknown.
    """
    text = call.text(name, default="ACTIVE_ONLY")
    if text not in VIEWS:
        raise wrong(name, text)
    return VIEWS[text]


def page_size(call: Call, default: int) -> int:
    """``max_results``.

    Raises:
        MlflowError: it is not between 1 and 50,000.
    """
    size = call.integer("max_results", default=default)
    if size < 1:
        raise invalid(f"Invalid value {size} for parameter 'max_results' supplied. It must be a positive integer")
    if size > MAX_PAGE:
        raise invalid(f"Invalid value {size} for parameter 'max_results' supplied. It must be at most {MAX_PAGE}")
    return size


def _create(call: Call) -> Any:
    name = _name(call, "name")
    location = call.text("artifact_location", default="")
    check_length("artifact_location", location, _MAX_LOCATION)
    if location.startswith("runs:") or "\0" in location:
        raise invalid(f"Artifact location cannot be a runs:/ URI. Given: '{location}'")
    tags = experiment_tags_of(call.records("tags"))
    try:
        made = call.workspace.store.experiments.create(name, at=call.workspace.clock.now(), location=location, tags=tags)
    except ConflictError:
        raise _taken(name) from None
    return {"experiment_id": str(made.id)}


def _get(call: Call) -> Any:
    return {"experiment": experiment_view(experiment_of(call.workspace, call.text("experiment_id")))}


def _get_by_name(call: Call) -> Any:
    name = call.text("experiment_name")
    found = call.workspace.store.experiments.find(name)
    if found is None:
        raise missing(f"Could not find experiment with name '{name}'")
    return {"experiment": experiment_view(found)}


def _update(call: Call) -> Any:
    found, name = experiment_of(call.workspace, call.text("experiment_id")), _name(call, "new_name")
    if found.deleted_at is not None:
        raise MlflowError("INVALID_STATE", "Cannot rename a non-active experiment.")
    try:
        call.workspace.store.experiments.change(found.id, at=call.workspace.clock.now(), name=name)
    except ConflictError:
        raise _taken(name) from None
    return {}


def _delete(call: Call) -> Any:
    found = experiment_of(call.workspace, call.text("experiment_id"))
    if found.deleted_at is not None:
        raise missing(f"No Experiment with id={found.id} exists")
    call.workspace.store.experiments.delete(found.id, at=call.workspace.clock.now())
    return {}


def _restore(call: Call) -> Any:
    found = experiment_of(call.workspace, call.text("experiment_id"))
    if found.deleted_at is None:
        raise missing(f"No Experiment with id={found.id} exists")
    call.workspace.store.experiments.delete(found.id, at=None)
    return {}


def _set_tag(call: Call) -> Any:
    found, key = active_experiment(call.workspace, call.text("experiment_id")), check_key(call.text("key"))
    value = check_length("value", call.text("value", default=""), MAX_EXPERIMENT_TAG)
    call.workspace.store.experiments.change(found.id, at=found.updated_at, tags={key: value})
    return {}


def _delete_tag(call: Call) -> Any:
    found, key = active_experiment(call.workspace, call.text("experiment_id")), call.text("key")
    if key not in found.tags:
        raise missing(f"No tag with name: {key} in experiment with id {found.id}")
    call.workspace.store.experiments.change(found.id, at=found.updated_at, drop_tags=[key])
    return {}


def _search(call: Call) -> Any:
    deleted, size = view_type(call, "view_type"), page_size(call, _PAGE)
    tree = parse_filter(call.text("filter", default=""), EXPERIMENTS)
    for comparison in comparisons(tree):
        if comparison.name == "experiment_id" and comparison.space == "attributes" and comparison.value is not None:
            for text in comparison.value if isinstance(comparison.value, tuple) else [str(comparison.value)]:
                number_of(text)
    offset = offset_of(call.text("page_token", default=""))
    found = [
        experiment
        for experiment in call.workspace.store.experiments.list()
        if (deleted is None or (experiment.deleted_at is not None) is deleted)
        and matches(tree, lookup(_attributes(experiment), experiment.tags))
    ]
    found = ordered(
        found,
        call,
        EXPERIMENTS,
        lambda experiment, name: experiment.id if name == "experiment_id" else _attributes(experiment)[name],
        default=[("creation_time", True), ("experiment_id", False)],
        last=[("experiment_id", True)],
    )
    page, token = paged(found[offset : offset + size + 1], size, offset)
    answer: dict[str, Any] = {"experiments": [experiment_view(experiment) for experiment in page]} if page else {}
    return answer | ({"next_page_token": token} if token else {})


def _attributes(experiment: Experiment) -> dict[str, str | int]:
    return {
        "name": experiment.name,
        "experiment_id": str(experiment.id),
        "creation_time": experiment.created_at // MS,
        "last_update_time": experiment.updated_at // MS,
    }


def _name(call: Call, field: str) -> str:
    name = call.fields.get(field)
    if isinstance(name, str) and name and (not name.strip() or "\0" in name):
        raise invalid(f"Invalid experiment name: {name!r}")
    if name is not None and not isinstance(name, str):
        raise wrong(field, name)
    if not name:
        raise absent(field)
    return check_length("name", name, MAX_EXPERIMENT_NAME)


def _taken(name: str) -> MlflowError:
    return MlflowError("RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists.")
