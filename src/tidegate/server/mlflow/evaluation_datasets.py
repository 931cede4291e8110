"""Evaluation datasets: named collections of questions and what is expected of the answers, which grow record by record.

A dataset is a document, and so is each of its records, under the digest of its inputs: the same inputs are one record.

Source: ``_create_dataset_handler`` and its neighbours in ``mlflow/server/handlers.py`` of MLflow 3.18.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.routing import Route

from tidegate.errors import ConflictError, NotFoundError
from tidegate.server.mlflow.protocol import (
    Call,
    Handler,
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
from tidegate.server.mlflow.trace_records import experiment_number
from tidegate.store.filter import Attribute, Grammar, matches, parse_filter, parse_order
from tidegate.store.ports import Document
from tidegate.workspace import Workspace

KIND = "evaluation-dataset"
RECORD = "evaluation-record"
MAX_RECORDS = 1000
MAX_PAGE = 50_000
_USER = "mlflow.user"
_MS = 1000
_TRIES = 100
_GRAMMAR = Grammar(
    {"tags": "tags", "tag": "tags", "attribute": "attributes", "attributes": "attributes"},
    {
        "name": Attribute("name"),
        "created_time": Attribute("created_time", "number"),
        "last_update_time": Attribute("last_update_time", "number"),
        "created_by": Attribute("created_by"),
        "last_updated_by": Attribute("last_updated_by"),
    },
)
_TYPES: list[tuple[type, str]] = [
    (bool, "boolean"),
    (int, "integer"),
    (float, "float"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
]


def routes(workspace: Workspace) -> list[Route]:
    """The addresses of evaluation datasets."""
    one = "datasets/{dataset_id}"
    handlers: list[tuple[str, str, Handler]] = [
        ("POST", "datasets/create", _create),
        ("POST", "datasets/search", _search),
        ("GET", one, lambda call: {"dataset": _view(_found(call))}),
        ("DELETE", one, _delete),
        ("PATCH", f"{one}/tags", _set_tags),
        ("DELETE", f"{one}/tags/{{key:path}}", _delete_tag),
        ("POST", f"{one}/records", _upsert),
        ("GET", f"{one}/records", _records),
        ("DELETE", f"{one}/records", _delete_records),
        ("GET", f"{one}/experiment-ids", _experiment_ids),
        ("POST", f"{one}/add-experiments", _add_experiments),
        ("POST", f"{one}/remove-experiments", _remove_experiments),
    ]
    return [route(method, each, handler, workspace) for method, path, handler in handlers for each in both(path, "3.0")]


def _create(call: Call) -> dict[str, Any]:
    name = call.text("name")
    tags = {key: str(value) for key, value in _json_object(call, "tags").items() if value is not None}
    now = call.workspace.clock.now()
    body = {
        "name": name,
        "tags": tags,
        "digest": _digest(name, now // _MS),
        "created_time": now // _MS,
        "last_update_time": now // _MS,
        "created_by": tags.get(_USER, ""),
        "last_updated_by": tags.get(_USER, ""),
        "experiments": list(dict.fromkeys(call.texts("experiment_ids"))),
        "schema": None,
    }
    document = Document(KIND, f"d-{secrets.token_hex(16)}", "", "", now, body, 0)
    call.workspace.store.documents.add(document)
    return {"dataset": _view(document) | ({"experiment_ids": body["experiments"]} if body["experiments"] else {})}


def _search(call: Call) -> dict[str, Any]:
    limit = call.integer("max_results", default=MAX_RECORDS) or MAX_RECORDS
    if not 1 <= limit <= MAX_PAGE:
        raise wrong("max_results", limit)
    offset = offset_of(call.text("page_token", default=""))
    tree = parse_filter(call.text("filter_string", default=""), _GRAMMAR)
    sorts = parse_order(call.texts("order_by") or ["created_time DESC"], _GRAMMAR)
    if any(sort.space != "attributes" or sort.name not in {"name", "created_time", "last_update_time"} for sort in sorts):
        raise invalid("Evaluation datasets are ordered by name, created_time and last_update_time.")
    within = set(call.texts("experiment_ids"))
    found = [
        document
        for document in call.workspace.store.documents.list(KIND)
        if (not within or within & set(document.body["experiments"])) and matches(tree, _lookup(document))
    ]
    for sort in reversed(sorts):
        found.sort(key=lambda document: document.body[sort.name], reverse=sort.descending)
    page, token = paged(found[offset : offset + limit + 1], limit, offset)
    return _filled({"datasets": [_view(document) for document in page], "next_page_token": token})


def _lookup(document: Document) -> Callable[[str, str], Any]:
    def lookup(space: str, name: str) -> Any:
        return document.body["tags"].get(name) if space == "tags" else document.body.get(name)

    return lookup


def _delete(call: Call) -> dict[str, Any]:
    documents = call.workspace.store.documents
    dataset_id = call.text("dataset_id")
    for record in documents.list(RECORD, subject=dataset_id):
        documents.remove(RECORD, record.id)
    documents.remove(KIND, dataset_id)
    return {}


def _set_tags(call: Call) -> dict[str, Any]:
    if call.fields.get("tags") in {None, ""}:
        raise absent("tags")
    tags = {key: str(value) for key, value in _json_object(call, "tags").items() if value is not None}
    _change(call, lambda body: body["tags"].update(tags))
    return {}


def _delete_tag(call: Call) -> dict[str, Any]:
    key = call.text("key")
    if call.workspace.store.documents.find(KIND, call.text("dataset_id")) is not None:
        _change(call, lambda body: body["tags"].pop(key, None))
    return {}


def _upsert(call: Call) -> dict[str, Any]:
    """Takes records in. One whose inputs are there already is merged into the one that is there."""
    if call.fields.get("records") in {None, ""}:
        raise absent("records")
    records = _parsed(call, "records")
    if not isinstance(records, list) or not all(isinstance(item, dict) for item in records):  # pyright: ignore[reportUnknownVariableType] - JSON
        raise wrong("records", "no list of objects")
    given: list[dict[str, Any]] = records  # pyright: ignore[reportUnknownVariableType] - JSON
    dataset = _found(call)
    now = call.workspace.clock.now()
    inserted = sum(_put(call, dataset.id, item, now + place) for place, item in enumerate(given))
    users = [tags[_USER] for item in given for tags in [item.get("tags") or {}] if _USER in tags]

    def change(body: dict[str, Any]) -> None:
        body["schema"] = _schema(body["schema"], given)
        body["last_updated_by"] = users[-1] if users else ""
        body["last_update_time"] = now // _MS
        body["digest"] = _digest(body["name"], now // _MS)
        body["records"] = body.get("records", 0) + inserted

    _change(call, change)
    return {"inserted_count": inserted, "updated_count": len(given) - inserted}


def _put(call: Call, dataset_id: str, given: dict[str, Any], at: int) -> bool:
    """Adds one record or merges it; tells whether it was new."""
    documents = call.workspace.store.documents
    inputs = given.get("inputs") or {}
    key = f"{dataset_id}/{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()}"
    user = (given.get("tags") or {}).get(_USER)
    fresh = {
        "dataset_record_id": f"dr-{secrets.token_hex(16)}",
        "dataset_id": dataset_id,
        "inputs": inputs,
        "expectations": given.get("expectations"),
        "tags": given.get("tags"),
        "source": given.get("source"),
        "source_type": (given.get("source") or {}).get("source_type"),
        "created_time": at // _MS,
        "last_update_time": at // _MS,
        "created_by": user,
        "last_updated_by": user,
        "outputs": given.get("outputs", {}),
    }
    if documents.add(Document(RECORD, key, dataset_id, "", at, _known(fresh), 0)):
        return True
    for _ in range(_TRIES):
        document = documents.find(RECORD, key)
        if document is None:
            break
        body = dict(document.body)
        if "outputs" in given:
            body["outputs"] = given["outputs"]
        for name in ("expectations", "tags"):
            if given.get(name):
                body[name] = (body.get(name) or {}) | given[name]
        body["last_update_time"] = at // _MS
        body["last_updated_by"] = user or body.get("last_updated_by")
        try:
            documents.update(document._replace(body=_known(body)))
        except ConflictError:
            continue
        return False
    raise MlflowError("REQUEST_LIMIT_EXCEEDED", "The record is being changed by too many at once.")


def _records(call: Call) -> dict[str, Any]:
    limit = call.integer("max_results", default=MAX_RECORDS) or MAX_RECORDS
    if limit < 0:
        raise wrong("max_results", limit)
    offset = offset_of(call.text("page_token", default=""))
    records = call.workspace.store.documents.list(RECORD, subject=_found(call).id)[::-1]
    page, token = paged(records[offset : offset + limit + 1], limit, offset)
    return _filled({"records": json.dumps([document.body for document in page]), "next_page_token": token})


def _delete_records(call: Call) -> dict[str, Any]:
    wanted = set(call.texts("dataset_record_ids"))
    documents = call.workspace.store.documents
    gone = [item for item in documents.list(RECORD, subject=_found(call).id) if item.body["dataset_record_id"] in wanted]
    for document in gone:
        documents.remove(RECORD, document.id)
    if gone:
        _change(call, lambda body: body.update(records=max(0, body.get("records", 0) - len(gone))))
    return {"deleted_count": len(gone)}


def _experiment_ids(call: Call) -> dict[str, Any]:
    document = call.workspace.store.documents.find(KIND, call.text("dataset_id"))
    return _filled({"experiment_ids": document.body["experiments"] if document else []})


def _add_experiments(call: Call) -> dict[str, Any]:
    wanted = call.texts("experiment_ids")
    for name in wanted:
        try:
            call.workspace.store.experiments.get(experiment_number(name))
        except NotFoundError:
            raise missing(f"No Experiment with id={name}") from None

    def change(body: dict[str, Any]) -> None:
        body["experiments"] = list(dict.fromkeys([*body["experiments"], *wanted]))
        body["last_update_time"] = call.workspace.clock.now() // _MS

    return _linked(_change(call, change))


def _remove_experiments(call: Call) -> dict[str, Any]:
    unwanted = set(call.texts("experiment_ids"))

    def change(body: dict[str, Any]) -> None:
        if unwanted & set(body["experiments"]):
            body["experiments"] = [name for name in body["experiments"] if name not in unwanted]
            body["last_update_time"] = call.workspace.clock.now() // _MS

    return _linked(_change(call, change))


def _linked(document: Document) -> dict[str, Any]:
    return {"dataset": _view(document) | _filled({"experiment_ids": document.body["experiments"]})}


def _found(call: Call) -> Document:
    dataset_id = call.text("dataset_id")
    document = call.workspace.store.documents.find(KIND, dataset_id)
    if document is None:
        raise missing(f"Evaluation dataset with id '{dataset_id}' not found")
    return document


def _change(call: Call, change: Callable[[dict[str, Any]], Any]) -> Document:
    for _ in range(_TRIES):
        document = _found(call)
        body = dict(document.body)
        change(body)
        try:
            return call.workspace.store.documents.update(document._replace(body=body))
        except ConflictError:
            continue
    raise MlflowError("REQUEST_LIMIT_EXCEEDED", "The dataset is being changed by too many at once.")


def _view(document: Document) -> dict[str, Any]:
    body = document.body
    view: dict[str, Any] = {
        "dataset_id": document.id,
        "name": body["name"],
        "tags": json.dumps(body["tags"]),
        "schema": json.dumps(body["schema"]) if body["schema"] else None,
        "profile": json.dumps({"num_records": body["records"]}) if body.get("records") else None,
        "digest": body["digest"],
        "created_time": body["created_time"],
        "last_update_time": body["last_update_time"],
        "created_by": body["created_by"],
        "last_updated_by": body["last_updated_by"],
    }
    return {key: value for key, value in view.items() if value not in {None, ""}}


def _schema(schema: dict[str, Any] | None, records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The kinds of all fields seen so far."""
    if not records and not schema:
        return None
    found: dict[str, Any] = schema or {"inputs": {}, "outputs": {}, "expectations": {}, "version": "1.0"}
    for record in records:
        for part in ("inputs", "outputs", "expectations"):
            value = record.get(part)
            if isinstance(value, dict):
                for key, item in value.items():  # pyright: ignore[reportUnknownVariableType] - JSON
                    found[part].setdefault(key, _kind_of(item))
            elif value is not None and not found[part]:
                found[part] = _kind_of(value)
    return found


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "unknown")


def _digest(name: str, ms: int) -> str:
    return hashlib.sha256(f"{name}:{ms}".encode()).hexdigest()[:8]


def _json_object(call: Call, name: str) -> dict[str, Any]:
    value = _parsed(call, name) if call.fields.get(name) else {}
    if not isinstance(value, dict):
        raise wrong(name, "no object")
    return value  # pyright: ignore[reportUnknownVariableType] - JSON


def _parsed(call: Call, name: str) -> Any:
    """A field that holds JSON as text, as this part of the API does.

    Raises:
        MlflowError: it holds none.
    """
    text = call.fields[name]
    if not isinstance(text, str):
        raise wrong(name, text)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise wrong(name, text) from None


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}
