"""``registered-models/*`` of MLflow's REST API, but for aliases.

Source: ``mlflow/store/model_registry/sqlalchemy_store.py`` and ``mlflow/server/handlers.py`` of MLflow 3.18.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.routing import Route

from tidegate.server.mlflow.announcing import announce, announced_tags
from tidegate.server.mlflow.limits import check_key, check_length
from tidegate.server.mlflow.model_records import (
    ACTIVE,
    ALIAS,
    DELETED,
    IS_PROMPT,
    MODEL,
    About,
    Model,
    all_models,
    amend,
    amend_model,
    check_model_name,
    find_model,
    get_model,
    is_prompt,
    latest,
    model_view,
    version_view,
    versions_of,
)
from tidegate.server.mlflow.protocol import Call, MlflowError, both, invalid, offset_of, paged, route
from tidegate.server.mlflow.record_search import MODELS, lookup, ordered, prompts_wanted, tree_of
from tidegate.server.mlflow.stages import canonical_stage
from tidegate.store.filter import matches
from tidegate.store.ports import Document
from tidegate.workspace import Workspace

MAX_TAG_KEY, MAX_TAG_VALUE = 250, 100_000
_PAGE, _MAX_PAGE = 100, 1000


def routes(workspace: Workspace) -> list[Route]:
    """The routes of registered models."""
    handlers = [
        ("POST", "create", _create),
        ("GET", "get", _get),
        ("PATCH", "update", _update),
        ("POST", "rename", _rename),
        ("DELETE", "delete", _delete),
        ("GET", "search", _search),
        ("POST", "get-latest-versions", _latest_versions),
        ("GET", "get-latest-versions", _latest_versions),
        ("POST", "set-tag", _set_tag),
        ("DELETE", "delete-tag", _delete_tag),
    ]
    return [
        route(method, path, handler, workspace)
        for method, name, handler in handlers
        for path in both(f"registered-models/{name}")
    ]


def registry_tags(call: Call) -> dict[str, str]:
    """The tags of a request, which the registry refuses where they are too long.

    Raises:
        MlflowError: a key or value is missing, wrong or too long.
    """
    tags = {str(item.get("key") or ""): str(item.get("value") or "") for item in call.records("tags")}
    return {check_key(key): _check_value(key, value) for key, value in tags.items()}


def one_tag(call: Call) -> dict[str, str]:
    """The one tag that a request sets.

    Raises:
        MlflowError: its key or value is missing, wrong or too long.
    """
    key = check_key(call.text("key"))
    return {key: _check_value(key, call.text("value", default=""))}


def _check_value(key: str, value: str) -> str:
    if key == "mlflow.prompt.text" and len(value) > MAX_TAG_VALUE:
        raise invalid(f"Prompt text exceeds max length of {MAX_TAG_VALUE} characters.")
    return check_length("value", value, MAX_TAG_VALUE)


def _create(call: Call) -> Any:
    workspace, name = call.workspace, check_model_name(call.text("name"))
    tags, now = registry_tags(call), call.workspace.clock.now()
    about = About(shown=name, description=call.text("description", default=""), tags=tags, created_at=now, updated_at=now)
    known = find_model(workspace, name)
    if known is not None:
        raise _exists(name, known, is_prompt(tags))

    def edit(found: Document | None) -> Document:
        if found is not None and found.state != DELETED:
            raise _taken(name, found)
        hidden = msgspec.convert(found.body, About).hidden if found else 0
        body = msgspec.to_builtins(msgspec.structs.replace(about, hidden=hidden))
        return Document(MODEL, name, name, ACTIVE, now, body, 1)

    amend(workspace, MODEL, name, edit)
    model = get_model(workspace, name)
    told = {"tags": announced_tags(model, tags), "description": about.description}
    announce(workspace, model, "model", "created", **told)
    return {"registered_model": model_view(model, [])}


def _exists(name: str, known: Model, prompt: bool) -> MlflowError:
    there, wanted = ("Prompt" if item else "Registered Model" for item in (is_prompt(known.about.tags), prompt))
    if there != wanted:
        return MlflowError(
            "RESOURCE_ALREADY_EXISTS",
            f"Tried to create a {wanted.lower()} with name {name!r}, but the name is already taken by a {there.lower()}. MLflow does not"
            " allow creating a model and a prompt with the same name.",
        )
    return MlflowError("RESOURCE_ALREADY_EXISTS", f"{wanted} (name={name}) already exists.")


def _taken(name: str, found: Document) -> MlflowError:
    why = "another client was faster"
    if found.state == ALIAS:
        why = f"{found.subject} is shown under it"
    elif found.body["shown"] != name:
        why = f"it was renamed to {found.body['shown']}, and its ledger and its packages keep the first name"
    return MlflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists: {why}.")


def _get(call: Call) -> Any:
    model = get_model(call.workspace, call.text("name"))
    return {"registered_model": model_view(model, versions_of(call.workspace, model))}


def _update(call: Call) -> Any:
    workspace, model = call.workspace, get_model(call.workspace, call.text("name"))
    description, now = call.text("description", default=""), workspace.clock.now()
    model = amend_model(workspace, model, lambda about: msgspec.structs.replace(about, description=description, updated_at=now))
    return {"registered_model": model_view(model, versions_of(workspace, model))}


def _rename(call: Call) -> Any:
    """Shows a model under another name. Its ledger and packages keep the first one, which stays taken."""
    workspace, shown, now = call.workspace, call.text("name"), call.workspace.clock.now()
    model = get_model(workspace, shown)
    new = check_model_name(call.text("new_name"), "new_name")
    if new not in {model.name, shown}:
        if new in workspace.policies:  # another gate is declared for that name: nothing may borrow it
            raise MlflowError(
                "RESOURCE_ALREADY_EXISTS",
                f"Registered Model (name={new}) already exists: the project declares a policy for a model of that name.",
            )
        alias = Document(MODEL, new, model.name, ALIAS, now, {}, 1)
        if workspace.release.state(new).head or not workspace.store.documents.add(alias):
            raise MlflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={new}) already exists.")
    model = amend_model(workspace, model, lambda about: msgspec.structs.replace(about, shown=new, updated_at=now))
    if shown not in {new, model.name}:
        workspace.store.documents.remove(MODEL, shown)
    return {"registered_model": model_view(model, versions_of(workspace, model))}


def _delete(call: Call) -> Any:
    """Hides a model and its versions from MLflow clients. Its ledger and packages stay, and its numbers are never given again."""
    workspace = call.workspace
    model = get_model(workspace, call.text("name"))
    if model.state.champion.version:
        raise MlflowError(
            "PERMISSION_DENIED",
            f"{model.about.shown} cannot be deleted: version {model.state.champion.version} is its champion, and something may serve it."
            " A champion is replaced by promoting another version, never by deleting.",
        )
    for alias in model.state.aliases:
        workspace.release.names.drop(model.name, alias)
    shown, now = model.about.shown, workspace.clock.now()

    def edit(_found: Document | None) -> Document:
        hidden = max(workspace.release.state(model.name).digests, default=0)
        about = About(shown=model.name, created_at=model.about.created_at, updated_at=now, hidden=hidden)
        return Document(MODEL, model.name, model.name, DELETED, about.created_at, msgspec.to_builtins(about), 1)

    amend(workspace, MODEL, model.name, edit)
    if shown != model.name:
        workspace.store.documents.remove(MODEL, shown)
    return {}


def _search(call: Call) -> Any:
    workspace = call.workspace
    size = call.integer("max_results", default=_PAGE)
    if not 1 <= size <= _MAX_PAGE:
        raise invalid(f"Invalid value {size} for parameter 'max_results' supplied. It must be between 1 and {_MAX_PAGE}.")
    tree, offset = tree_of(call, MODELS), offset_of(call.text("page_token", default=""))
    prompts = prompts_wanted(tree)
    found: list[Model] = []
    for model in all_models(workspace):
        tags = model.about.tags
        if is_prompt(tags) and not prompts:
            continue
        if matches(tree, lookup({"name": model.about.shown}, {IS_PROMPT: "false", **tags})):
            found.append(model)
    attributes = {"name": "shown", "updated_at": "updated_at"}
    found = ordered(
        found, call, MODELS, lambda model, name: getattr(model.about, attributes[name]), default=[], last=[("name", False)]
    )
    page, token = paged(found[offset : offset + size + 1], size, offset)
    answer: dict[str, Any] = {}
    if page:
        answer["registered_models"] = [model_view(model, versions_of(workspace, model)) for model in page]
    return answer | ({"next_page_token": token} if token else {})


def _latest_versions(call: Call) -> Any:
    model = get_model(call.workspace, call.text("name"))
    stages = {canonical_stage(stage) for stage in call.texts("stages")}
    versions = [item for item in latest(versions_of(call.workspace, model)) if not stages or item.stage in stages]
    return {"model_versions": [version_view(version) for version in versions]} if versions else {}


def _set_tag(call: Call) -> Any:
    model, tag = get_model(call.workspace, call.text("name")), one_tag(call)
    amend_model(call.workspace, model, lambda about: msgspec.structs.replace(about, tags=about.tags | tag))
    for key, value in tag.items():
        announce(call.workspace, model, "tag", "set", key=key, value=value)
    return {}


def _delete_tag(call: Call) -> Any:
    model, key = get_model(call.workspace, call.text("name")), check_key(call.text("key"))

    def without(about: About) -> About:
        return msgspec.structs.replace(about, tags={name: value for name, value in about.tags.items() if name != key})

    amend_model(call.workspace, model, without)
    announce(call.workspace, model, "tag", "deleted", key=key)
    return {}
