"""Webhooks: who is told about models, versions, tags and aliases. ``deliveries.py`` sends them; the registry calls ``emit``.

A webhook is a document. Its secret is a file of its own beside the store's database (``secrets/webhook-<id>``, readable by its
owner alone, 0600), so that it is in no answer, no log and no copy of the database.

Source: ``_create_webhook`` and its neighbours in ``mlflow/server/handlers.py``, ``mlflow/entities/webhook.py`` of MLflow 3.18.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import uuid
import weakref
from pathlib import Path
from typing import Any

from starlette.routing import Route

from tidegate.errors import ConflictError
from tidegate.notices import Line, RefusedAddressError
from tidegate.server.mlflow.deliveries import Deliveries, Target, send
from tidegate.server.mlflow.protocol import Call, Handler, absent, both, invalid, missing, offset_of, paged, route, wrong
from tidegate.store.ports import Document
from tidegate.workspace import Workspace

KIND = "webhook"
MOST = 1000
ACTIONS: dict[str, set[str]] = {
    "registered_model": {"created"},
    "model_version": {"created"},
    "model_version_tag": {"set", "deleted"},
    "model_version_alias": {"created", "deleted"},
    "prompt": {"created"},
    "prompt_version": {"created"},
    "prompt_tag": {"set", "deleted"},
    "prompt_version_tag": {"set", "deleted"},
    "prompt_alias": {"created", "deleted"},
    "budget_policy": {"exceeded"},
}
EXAMPLES: dict[str, Any] = {
    "name": "example_model",
    "version": "1",
    "alias": "example_alias",
    "key": "example_key",
    "value": "example_value",
    "source": "models:/123",
    "run_id": "abcd1234abcd5678",
    "tags": {"example_key": "example_value"},
    "description": "An example",
    "template": "Hello {{name}}!",
}
_FIELDS: dict[str, tuple[str, ...]] = {
    "registered_model.created": ("name", "tags", "description"),
    "model_version.created": ("name", "version", "source", "run_id", "tags", "description"),
    "model_version_tag.set": ("name", "version", "key", "value"),
    "model_version_tag.deleted": ("name", "version", "key"),
    "model_version_alias.created": ("name", "alias", "version"),
    "model_version_alias.deleted": ("name", "alias"),
    "prompt.created": ("name", "tags", "description"),
    "prompt_version.created": ("name", "version", "template", "tags", "description"),
    "prompt_tag.set": ("name", "key", "value"),
    "prompt_tag.deleted": ("name", "key"),
    "prompt_version_tag.set": ("name", "version", "key", "value"),
    "prompt_version_tag.deleted": ("name", "version", "key"),
    "prompt_alias.created": ("name", "alias", "version"),
    "prompt_alias.deleted": ("name", "alias"),
}
_NAME = re.compile(r"(?=.{1,63}\Z)[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)
_STATUSES = {"ACTIVE", "DISABLED"}
_MS = 1000
_lock = threading.Lock()
_deliveries: weakref.WeakKeyDictionary[Workspace, Deliveries] = weakref.WeakKeyDictionary()


def routes(workspace: Workspace, line: Line | None = None) -> list[Route]:
    """The addresses of webhooks; ``line`` is how they reach the world."""
    line = line or Line()
    with _lock:
        _deliveries[workspace] = Deliveries(_wanted_by(weakref.ref(workspace)), workspace.clock, line)
    handlers: list[tuple[str, str, Handler]] = [
        ("POST", "webhooks", lambda call: _create(call, line)),
        ("GET", "webhooks", _list),
        ("GET", "webhooks/{webhook_id}", _get),
        ("PATCH", "webhooks/{webhook_id}", lambda call: _update(call, line)),
        ("DELETE", "webhooks/{webhook_id}", _delete),
        ("POST", "webhooks/{webhook_id}/test", lambda call: _test(call, line)),
    ]
    return [route(method, each, handler, workspace) for method, path, handler in handlers for each in both(path)]


def emit(workspace: Workspace, event: str, payload: dict[str, Any]) -> None:
    """Tells the webhooks of ``event``, such as ``model_version.created``, in the background. To be called after the commit."""
    with _lock:
        deliveries = _deliveries.get(workspace)
    if deliveries is not None:
        deliveries.add(event, payload)


def drain(workspace: Workspace) -> None:
    """Waits until all events so far have been sent or given up."""
    with _lock:
        deliveries = _deliveries.get(workspace)
    if deliveries is not None:
        deliveries.wait()


def _wanted_by(place: weakref.ref[Workspace]) -> Any:
    def targets(event: str) -> list[Target]:
        workspace = place()
        if workspace is None:
            return []
        found = [
            document for document in workspace.store.documents.list(KIND, state="ACTIVE") if event in document.body["events"]
        ]
        return [_target(workspace, document) for document in found]

    return targets


def _target(workspace: Workspace, document: Document) -> Target:
    return Target(document.id, document.body["url"], _read_secret(workspace, document.id))


def _create(call: Call, line: Line) -> dict[str, Any]:
    name, url = _name(call.text("name")), call.text("url")
    if call.fields.get("events") is None:
        raise absent("events")
    events, secret = _events(call), _secret(call)
    _check_url(url, line)
    documents = call.workspace.store.documents
    if len(documents.list(KIND, limit=MOST)) >= MOST:
        raise invalid(f"There are {MOST} webhooks already; delete one first.")
    now = call.workspace.clock.now()
    body = {
        "name": name,
        "url": url,
        "events": events,
        "description": call.text("description", default=""),
        "created": now // _MS,
        "updated": now // _MS,
    }
    document = Document(KIND, str(uuid.uuid4()), "", _status(call, "ACTIVE"), now, body, 0)
    if secret:
        _write_secret(call.workspace, document.id, secret)
    documents.add(document)
    return {"webhook": _view(document)}


def _list(call: Call) -> dict[str, Any]:
    limit = call.integer("max_results", default=100) or 100
    if not 1 <= limit <= MOST:
        raise invalid("max_results must be between 1 and 1000.")
    offset = offset_of(call.text("page_token", default=""))
    found, token = paged(call.workspace.store.documents.list(KIND, limit=offset + limit + 1)[offset:], limit, offset)
    view: dict[str, Any] = {"webhooks": [_view(document) for document in found], "next_page_token": token}
    return {key: value for key, value in view.items() if value}


def _get(call: Call) -> dict[str, Any]:
    return {"webhook": _view(_found(call))}


def _update(call: Call, line: Line) -> dict[str, Any]:
    document = _found(call)
    body = dict(document.body)
    if call.fields.get("name"):
        body["name"] = _name(call.text("name"))
    if call.fields.get("url"):
        body["url"] = call.text("url")
        _check_url(body["url"], line)
    if call.fields.get("events"):
        body["events"] = _events(call)
    if call.fields.get("description") is not None:
        body["description"] = call.text("description", default="")
    body["updated"] = call.workspace.clock.now() // _MS
    changed = document._replace(body=body, state=_status(call, document.state))
    secret = _secret(call)
    try:
        changed = call.workspace.store.documents.update(changed)
    except ConflictError:
        raise invalid(f"Webhook with ID {document.id} was changed by somebody else meanwhile; try again.") from None
    if secret is not None:
        _write_secret(call.workspace, document.id, secret)
    return {"webhook": _view(changed)}


def _delete(call: Call) -> dict[str, Any]:
    document = _found(call)
    call.workspace.store.documents.remove(KIND, document.id)
    with contextlib.suppress(FileNotFoundError):
        _secret_file(call.workspace, document.id).unlink()
    return {}


def _test(call: Call, line: Line) -> dict[str, Any]:
    """Sends an example now, once, and tells what came of it."""
    document = _found(call)
    event = _event(call.fields["event"]) if call.fields.get("event") else document.body["events"][0]
    data = {name: EXAMPLES[name] for name in _FIELDS.get(event, ())}
    outcome = send(_target(call.workspace, document), event, data, clock=call.workspace.clock, line=line, tries=1)
    if not outcome.status:
        return {"result": {"success": False, "error_message": f"Failed to test webhook: {outcome.body}"}}
    success = outcome.status < 400
    return {"result": {"success": success, "response_status": outcome.status, "response_body": outcome.body}}


def _found(call: Call) -> Document:
    webhook_id = call.text("webhook_id")
    document = call.workspace.store.documents.find(KIND, webhook_id)
    if document is None:
        raise missing(f"Webhook with ID {webhook_id} not found.")
    return document


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise invalid(
            f"Webhook name {name[:80]!r} is invalid. It must start and end with a letter or digit, be less than 63 characters long,"
            " and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
        )
    return name


def _check_url(url: str, line: Line) -> None:
    try:
        line.check(url)
    except RefusedAddressError as error:
        raise invalid(str(error)) from None


def _events(call: Call) -> list[str]:
    events = [_event(item) for item in call.items("events")]
    if not events:
        raise invalid("Webhook events must be a non-empty list of WebhookEvent objects.")
    return list(dict.fromkeys(events))


def _event(given: Any) -> str:
    entity, action = (str(given.get(name, "")).lower() for name in ("entity", "action")) if isinstance(given, dict) else ("", "")  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - JSON
    if entity not in ACTIONS:
        raise wrong("events", given)
    if action not in ACTIONS[entity]:
        raise invalid(f"Invalid action '{action}' for entity '{entity}'. Valid actions are: {sorted(ACTIONS[entity])}")
    return f"{entity}.{action}"


def _status(call: Call, default: str) -> str:
    status = call.fields.get("status") or default
    if status not in _STATUSES:
        raise wrong("status", status)
    return status


def _secret(call: Call) -> str | None:
    """The secret of a request; empty takes it away, None leaves it. It never comes into an error's text."""
    value = call.fields.get("secret")
    if value is not None and not isinstance(value, str):
        raise invalid("Invalid value for parameter 'secret' supplied: it is no text.")
    return value


def _view(document: Document) -> dict[str, Any]:
    body = document.body
    view: dict[str, Any] = {
        "webhook_id": document.id,
        "name": body["name"],
        "description": body["description"],
        "url": body["url"],
        "events": [{"entity": entity.upper(), "action": action.upper()} for entity, _, action in map(_split, body["events"])],
        "status": document.state,
        "creation_timestamp": body["created"],
        "last_updated_timestamp": body["updated"],
    }
    return {key: value for key, value in view.items() if value != ""}


def _split(event: str) -> tuple[str, str, str]:
    return event.partition(".")


def _secret_file(workspace: Workspace, webhook_id: str) -> Path:
    return workspace.store.root / "secrets" / f"webhook-{webhook_id}"


def _read_secret(workspace: Workspace, webhook_id: str) -> str:
    try:
        return _secret_file(workspace, webhook_id).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _write_secret(workspace: Workspace, webhook_id: str, secret: str) -> None:
    path = _secret_file(workspace, webhook_id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
