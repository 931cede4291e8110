"""``logged-models/*`` of MLflow's REST API, which clients 3.x keep a model's files, parameters and metrics in.

Source: ``mlflow/store/tracking/sqlalchemy_store.py``, ``mlflow/utils/search_logged_model_utils.py`` and
``mlflow/entities/logged_model.py`` of MLflow 3.18.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.routing import Route

from tidegate.server.mlflow.artifacts import entries, safe_path
from tidegate.server.mlflow.experiments import active_experiment
from tidegate.server.mlflow.logged_records import (
    DELETED,
    STATUSES,
    About,
    Logged,
    Point,
    add_logged,
    amend_logged,
    get_logged,
    latest_of,
    list_logged,
    read_metrics,
)
from tidegate.server.mlflow.protocol import Call, absent, both, invalid, missing, offset_of, paged, route, shown, wrong
from tidegate.server.mlflow.random_names import random_name
from tidegate.server.mlflow.record_search import comparisons
from tidegate.server.mlflow.views import MS, experiment_root, pairs, value_of, within
from tidegate.store.filter import Attribute, Grammar, Lookup, Tree, matches, parse_filter
from tidegate.workspace import Workspace

_PAGE, _MAX_PAGE = 100, 50_000
_BAD = ("/", ":", ".", "%", '"', "'")
_WORDS = {status: status.removeprefix("LOGGED_MODEL_").replace("UPLOAD_FAILED", "FAILED") for status in STATUSES}
_TIMES = {
    **dict.fromkeys(("creation_time", "creation_timestamp", "creation_timestamp_ms"), "created_at"),
    **dict.fromkeys(("last_updated_timestamp", "last_updated_timestamp_ms"), "updated_at"),
}
_TEXTS = ("name", "model_id", "model_type", "status", "source_run_id", "experiment_id", "artifact_location", "lifecycle_stage")
GRAMMAR = Grammar(
    {"attributes": "attributes", "metrics": "metrics", "params": "params", "tags": "tags"},
    {**{name: Attribute(name) for name in _TEXTS}, **{name: Attribute(kept, "number") for name, kept in _TIMES.items()}},
)


def routes(workspace: Workspace) -> list[Route]:
    """The routes of logged models."""
    handlers = [
        ("POST", "", _create),
        ("POST", "/search", _search),
        ("GET", "/{model_id}", _get),
        ("PATCH", "/{model_id}", _finalize),
        ("DELETE", "/{model_id}", _delete),
        ("PATCH", "/{model_id}/tags", _set_tags),
        ("DELETE", "/{model_id}/tags/{tag_key:path}", _delete_tag),
        ("POST", "/{model_id}/params", _log_params),
        ("GET", "/{model_id}/artifacts/directories", _list_artifacts),
    ]
    return [
        route(method, path, handler, workspace) for method, name, handler in handlers for path in both(f"logged-models{name}")
    ]


def logged_view(logged: Logged, points: Iterable[Point]) -> dict[str, Any]:
    """MLflow's ``LoggedModel``."""
    about = logged.about
    info: dict[str, Any] = {
        "model_id": logged.id,
        "experiment_id": about.experiment,
        "name": about.name,
        "creation_timestamp_ms": about.created_at // MS,
        "last_updated_timestamp_ms": about.updated_at // MS,
        "artifact_uri": logged.artifact_uri,
        "status": about.status,
        "model_type": about.model_type,
        "source_run_id": about.source_run_id,
    }
    if about.tags:
        info["tags"] = pairs(about.tags)
    data: dict[str, Any] = {"params": pairs(about.params)} if about.params else {}
    metrics = [_metric_view(logged, point) for point in points]
    return {"info": info, "data": data | ({"metrics": metrics} if metrics else {})}


def _metric_view(logged: Logged, point: Point) -> dict[str, Any]:
    found = {"key": point.key, "value": value_of(point.number), "timestamp": point.timestamp, "step": point.step}
    dataset = {"dataset_name": point.dataset_name, "dataset_digest": point.dataset_digest}
    return found | {key: value for key, value in dataset.items() if value} | {"model_id": logged.id, "run_id": point.run_id}


def _view(call: Call, logged: Logged) -> dict[str, Any]:
    return {"model": logged_view(logged, read_metrics(call.workspace, logged.id))}


def _texts(call: Call, field: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, item in enumerate(call.records(field)):
        key, value = item.get("key"), item.get("value")
        if key is None or key == "":
            raise absent(f"{field}[{index}].key")
        if not isinstance(key, str) or not isinstance(value, str | None):
            raise wrong(f"{field}[{index}]", item)
        found[key] = value or ""
    return found


def _create(call: Call) -> Any:
    workspace, now = call.workspace, call.workspace.clock.now()
    experiment = active_experiment(workspace, call.text("experiment_id"))
    name = call.text("name", default="") or random_name()
    if any(char in name for char in _BAD):
        raise invalid(
            f"Invalid model name ({name[:200]!r}) provided. Model name must be a non-empty string and cannot contain the following"
            f" characters: {_BAD}"
        )
    model_id = f"m-{secrets.token_hex(16)}"
    about = About(
        name=name,
        experiment=str(experiment.id),
        location=within(experiment_root(experiment), f"models/{model_id}/artifacts"),
        model_type=call.text("model_type", default=""),
        source_run_id=call.text("source_run_id", default=""),
        params=_texts(call, "params"),
        tags=_texts(call, "tags"),
        created_at=now,
        updated_at=now,
    )
    logged = Logged(model_id, about)
    add_logged(workspace, logged)
    return {"model": logged_view(logged, [])}


def _get(call: Call) -> Any:
    deleted = str(call.fields.get("allow_deleted", "")).lower() == "true"
    return _view(call, get_logged(call.workspace, call.text("model_id"), deleted=deleted))


def _finalize(call: Call) -> Any:
    status = call.text("status")
    if status.isdigit() and 1 <= int(status) <= len(STATUSES):
        status = STATUSES[int(status) - 1]
    if status not in STATUSES:
        raise invalid(f"Invalid value {shown(status)} for parameter 'status' supplied: it is one of {', '.join(STATUSES)}.")
    changed = amend_logged(call.workspace, call.text("model_id"), lambda about: msgspec.structs.replace(about, status=status))
    return _view(call, changed)


def _delete(call: Call) -> Any:
    amend_logged(call.workspace, call.text("model_id"), lambda about: about, state=DELETED)
    return {}


def _set_tags(call: Call) -> Any:
    tags = _texts(call, "tags")
    amend_logged(call.workspace, call.text("model_id"), lambda about: msgspec.structs.replace(about, tags={**about.tags, **tags}))
    return {}


def _delete_tag(call: Call) -> Any:
    model_id, key = call.text("model_id"), call.text("tag_key")

    def without(about: About) -> About:
        if key not in about.tags:
            raise missing(f"No tag with key {key!r} found for model with ID {model_id!r}.")
        return msgspec.structs.replace(about, tags={name: value for name, value in about.tags.items() if name != key})

    amend_logged(call.workspace, model_id, without)
    return {}


def _log_params(call: Call) -> Any:
    params, model_id = _texts(call, "params"), call.text("model_id")

    def added(about: About) -> About:
        changed = next((key for key, value in params.items() if about.params.get(key, value) != value), None)
        if changed is not None:
            raise invalid(
                f"Changing param values is not allowed. Param with key='{changed}' was already logged with"
                f" value='{about.params[changed]}' for model ID='{model_id}'. Attempted logging new value '{params[changed]}'."
            )
        return msgspec.structs.replace(about, params={**about.params, **params})

    amend_logged(call.workspace, model_id, added)
    return {}


def _list_artifacts(call: Call) -> Any:
    logged = get_logged(call.workspace, call.text("model_id"))
    path = safe_path(call.text("artifact_directory_path", default=""))
    files = entries(call.workspace.store.artifacts.list(logged.id), path)
    return {"root_uri": logged.artifact_uri} | ({"files": files} if files else {})


def _search(call: Call) -> Any:
    workspace, experiments = call.workspace, call.texts("experiment_ids")
    if not experiments:
        raise absent("experiment_ids")
    size = call.integer("max_results", default=0) or _PAGE
    if not 1 <= size <= _MAX_PAGE:
        raise invalid(f"Invalid value {size} for parameter 'max_results' supplied. It must be between 1 and {_MAX_PAGE}.")
    tree, datasets = parse_filter(call.text("filter", default=""), GRAMMAR), call.records("datasets")
    if any(not item.get("dataset_name") for item in datasets):
        raise invalid("`dataset_name` in the `datasets` clause must be specified.")
    orders, offset = [_order(item) for item in call.records("order_by")], offset_of(call.text("page_token", default=""))
    asks_metrics = (
        datasets or any(item.space == "metrics" for item in comparisons(tree)) or any("." in name for name, *_ in orders)
    )
    points: dict[str, list[Point]] = {}
    found: list[Logged] = []
    for logged in [item for experiment in dict.fromkeys(experiments) for item in list_logged(workspace, experiment)]:
        mine = read_metrics(workspace, logged.id) if asks_metrics else []
        if _fits(logged, _on(mine, datasets), tree, datasets):
            found.append(logged)
            points[logged.id] = mine
    found.sort(key=lambda logged: logged.id)
    found.sort(key=lambda logged: logged.about.created_at, reverse=True)
    for name, ascending, dataset in reversed(orders):
        found = _sorted(found, name, ascending, {key: _on(_on(mine, datasets), dataset) for key, mine in points.items()})
    page, token = paged(found[offset : offset + size + 1], size, offset)
    views = [logged_view(logged, points[logged.id] or read_metrics(workspace, logged.id)) for logged in page]
    return ({"models": views} if views else {}) | ({"next_page_token": token} if token else {})


def _order(item: Mapping[str, Any]) -> tuple[str, bool, list[Mapping[str, Any]]]:
    """The field, whether it ascends, and the dataset that a metric is taken from."""
    name = str(item.get("field_name") or "")
    if name.partition(".")[0] not in {"metrics", name}:
        raise invalid(f"Invalid order by field name: {name[:200]}. Only metrics are supported.")
    if "." not in name and name not in GRAMMAR.attributes:
        raise invalid(f"Invalid order by field name: {name[:200]}")
    dataset = [item] if item.get("dataset_name") else []
    return name, item.get("ascending") is not False, dataset


def _on(points: list[Point], datasets: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points that were measured on one of these datasets; all of them where none is named."""
    wanted = [(item.get("dataset_name"), item.get("dataset_digest") or None) for item in datasets]
    if not wanted:
        return points
    return [
        point
        for point in points
        if any(name == point.dataset_name and digest in {None, point.dataset_digest} for name, digest in wanted)
    ]


def _fits(logged: Logged, points: list[Point], tree: Tree | None, datasets: Sequence[Mapping[str, Any]]) -> bool:
    if datasets and not points:
        return False
    return matches(tree, _lookup(logged, latest_of(points)))


def _lookup(logged: Logged, metrics: Mapping[str, float]) -> Lookup:
    about = logged.about

    def look(space: str, name: str) -> Any:
        match space:
            case "metrics":
                return metrics.get(name)
            case "params":
                return about.params.get(name)
            case "tags":
                return about.tags.get(name)
            case _:
                return _attribute(logged, name)

    return look


def _attribute(logged: Logged, name: str) -> Any:
    about = logged.about
    match name:
        case "created_at" | "updated_at":
            return getattr(about, name) // MS
        case "model_id":
            return logged.id
        case "experiment_id":
            return about.experiment
        case "artifact_location":
            return about.location
        case "status":
            return _WORDS.get(about.status)
        case "lifecycle_stage":
            return "active"
        case _:
            return getattr(about, name)


def _sorted(found: list[Logged], name: str, ascending: bool, points: Mapping[str, list[Point]]) -> list[Logged]:
    """Sorted by one field, equal ones as they were; what has no value comes last in both directions."""
    space, _, metric = name.partition(".")
    values: dict[str, Any] = {}
    for logged in found:
        value = latest_of(points[logged.id]).get(metric) if metric else _attribute(logged, GRAMMAR.attributes[space].name)
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            values[logged.id] = value
    present = [logged for logged in found if logged.id in values]
    present.sort(key=lambda logged: values[logged.id], reverse=not ascending)
    return present + [logged for logged in found if logged.id not in values]
