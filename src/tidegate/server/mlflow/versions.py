"""``model-versions/*`` of MLflow's REST API: its versions are packages of ours, with an entry in the model's ledger each.

Source: ``mlflow/store/model_registry/sqlalchemy_store.py`` and ``mlflow/server/handlers.py`` of MLflow 3.18.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.routing import Route

from tidegate.models.formats.mlflow import DESCRIPTION, FORMAT, read_signature
from tidegate.records.model import Lineage, PackagedFile, Signature
from tidegate.release.state import PRODUCTION
from tidegate.server.mlflow.aliases import make_champion, refusing
from tidegate.server.mlflow.announcing import announce, announced_tags
from tidegate.server.mlflow.limits import check_key
from tidegate.server.mlflow.logged_records import About as LoggedAbout
from tidegate.server.mlflow.logged_records import amend_logged
from tidegate.server.mlflow.model_records import (
    DELETED,
    IS_PROMPT,
    Details,
    Model,
    Version,
    all_models,
    amend_model,
    amend_version,
    check_number,
    find_model,
    get_model,
    get_version,
    is_prompt,
    version_view,
    versions_of,
)
from tidegate.server.mlflow.packages import package_uri
from tidegate.server.mlflow.protocol import Call, MlflowError, both, invalid, offset_of, paged, route
from tidegate.server.mlflow.record_search import VERSIONS, comparisons, lookup, ordered, prompts_wanted, tree_of
from tidegate.server.mlflow.registry import one_tag, registry_tags
from tidegate.server.mlflow.sources import PROMPT_SOURCES, Origin, find_origin
from tidegate.server.mlflow.stages import ACTIVE_STAGES, canonical_stage
from tidegate.store.filter import Combination, Tree, matches
from tidegate.store.objects import fetch_object
from tidegate.workspace import Workspace

REGISTERED_AS = "mlflow.modelVersions"
"""The tag of a logged model that names the versions made of it."""

_PAGE = _MAX_PAGE = 200_000
_MAX_DESCRIPTION = 4 * 1024 * 1024
_PINNED = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*==\s*([\w.+!-]+)")


def routes(workspace: Workspace) -> list[Route]:
    """The routes of model versions."""
    handlers = [
        ("POST", "create", _create),
        ("GET", "get", _get),
        ("GET", "search", _search),
        ("PATCH", "update", _update),
        ("DELETE", "delete", _delete),
        ("GET", "get-download-uri", _download_uri),
        ("POST", "set-tag", _set_tag),
        ("DELETE", "delete-tag", _delete_tag),
        ("POST", "transition-stage", _transition),
    ]
    return [
        route(method, path, handler, workspace) for method, name, handler in handlers for path in both(f"model-versions/{name}")
    ]


def named_version(call: Call) -> Version:
    """The version that a request names.

    Raises:
        MlflowError: there is none.
    """
    number = check_number(call.text("version"))
    return get_version(call.workspace, get_model(call.workspace, call.text("name")), number)


def _create(call: Call) -> Any:
    workspace, source = call.workspace, call.text("source")
    model, tags, now = get_model(workspace, call.text("name")), registry_tags(call), workspace.clock.now()
    if is_prompt(tags):
        if source not in PROMPT_SOURCES:
            raise invalid(f"Invalid prompt source: '{source[:300]}'. Prompt sources must use an MLflow placeholder.")
        origin = Origin([], source, call.text("run_id", default=""), "")
    else:
        run_id, model_id = (call.text(name, default="") if name in call.fields else None for name in ("run_id", "model_id"))
        origin = find_origin(workspace, source, run_id=run_id, model_id=model_id)
    description = call.text("description", default="")
    number = _keep(workspace, model, origin, description)
    details = Details(
        description=description,
        tags=tags,
        source=origin.source,
        run_id=origin.run_id,
        run_link=call.text("run_link", default=""),
        model_id=origin.model_id,
        created_at=now,
        updated_at=now,
    )
    version = amend_version(workspace, Version(model, number, details), lambda _: details)
    amend_model(workspace, model, lambda about: msgspec.structs.replace(about, updated_at=now))
    if origin.model_id:
        _tell_logged(workspace, origin.model_id, model.about.shown, number)
    _announce_created(workspace, version)
    return {"model_version": version_view(version)}


def _announce_created(workspace: Workspace, version: Version) -> None:
    details, model = version.details, version.model
    told: dict[str, Any] = {"version": str(version.number), "tags": announced_tags(model, details.tags)}
    if is_prompt(model.about.tags):
        told["template"] = details.tags.get("mlflow.prompt.text")
    else:
        told |= {"source": details.source, "run_id": details.run_id or None}
    announce(workspace, model, "version", "created", **told, description=details.description or None)


def _keep(workspace: Workspace, model: Model, origin: Origin, description: str) -> int:
    """Makes the files a package and enters it into the ledger; its number."""
    files = {file.path: file for file in origin.files}
    described = _read(workspace, files.get(DESCRIPTION))
    run = workspace.store.runs.get(origin.run_id) if origin.run_id else None
    required = dict(_PINNED.findall(_read(workspace, files.get("requirements.txt")).decode("utf-8", "replace")))
    environment = run.environment if run else None
    lineage = Lineage(
        run=origin.run_id,
        git_commit=(environment.git_commit if environment else "")
        or (run.tags.get("mlflow.source.git.commit", "") if run else ""),
        git_dirty=environment.git_dirty if environment else None,
        packages=(environment.packages if environment else {}) or required,
    )
    version = workspace.models.keep(
        model.name,
        origin.files,
        format=FORMAT,
        loads_code=DESCRIPTION in files,
        signature=read_signature(described) if described else Signature(inputs=[], outputs=[]),
        lineage=lineage,
        description=description,
    )
    workspace.release.register(version)
    return version.version


def _read(workspace: Workspace, file: PackagedFile | None) -> bytes:
    if file is None or file.size > _MAX_DESCRIPTION:
        return b""
    return fetch_object(workspace.store.bucket, file.digest).read_bytes()


def _tell_logged(workspace: Workspace, model_id: str, name: str, number: int) -> None:
    def told(about: LoggedAbout) -> LoggedAbout:
        try:
            known: list[Any] = msgspec.json.decode(about.tags.get(REGISTERED_AS, "[]"), type=list[Any])
        except msgspec.MsgspecError:
            known = []
        value = msgspec.json.encode([*known, {"name": name, "version": number}]).decode()
        return msgspec.structs.replace(about, tags={**about.tags, REGISTERED_AS: value})

    amend_logged(workspace, model_id, told)


def _get(call: Call) -> Any:
    return {"model_version": version_view(named_version(call))}


def _search(call: Call) -> Any:
    workspace = call.workspace
    size = call.integer("max_results", default=_PAGE)
    if size < 1:
        raise invalid(f"Invalid value for max_results. It must be a positive integer, but got {size}")
    if size > _MAX_PAGE:
        raise invalid(f"Invalid value {size} for parameter 'max_results' supplied. It must be at most {_MAX_PAGE}.")
    tree, offset = tree_of(call, VERSIONS), offset_of(call.text("page_token", default=""))
    found = [version for version in _candidates(workspace, tree) if matches(tree, _facts(version))]
    found = ordered(
        found, call, VERSIONS, _sorted_by, default=[("updated_at", True)], last=[("name", False), ("version_number", True)]
    )
    page, token = paged(found[offset : offset + size + 1], size, offset)
    answer: dict[str, Any] = {"model_versions": [version_view(version, with_aliases=False) for version in page]} if page else {}
    return answer | ({"next_page_token": token} if token else {})


def _candidates(workspace: Workspace, tree: Tree | None) -> list[Version]:
    """Every version that the filter may be about: those of one model where it names one and nothing else is allowed."""
    only = comparisons(tree)
    named = next((item for item in only if (item.space, item.name, item.operator) == ("attributes", "name", "=")), None)
    if named is not None and _all_hold(tree):
        model = find_model(workspace, str(named.value))
        models = [model] if model else []
    else:
        models = all_models(workspace)
    prompts = prompts_wanted(tree)
    return [
        version for model in models if prompts or not is_prompt(model.about.tags) for version in versions_of(workspace, model)
    ]


def _all_hold(tree: Tree | None) -> bool:
    return not isinstance(tree, Combination) or (tree.kind == "and" and all(map(_all_hold, tree.terms)))


def _facts(version: Version) -> Any:
    details = version.details
    attributes = {
        "name": version.model.about.shown,
        "version_number": version.number,
        "run_id": details.run_id,
        "source_path": details.source or package_uri(version.model.name, version.number),
    }
    return lookup(attributes, {IS_PROMPT: "false", **details.tags})


def _sorted_by(version: Version, name: str) -> Any:
    if name in {"created_at", "updated_at"}:
        return getattr(version.details, name)
    return version.number if name == "version_number" else version.model.about.shown


def _update(call: Call) -> Any:
    version, now = named_version(call), call.workspace.clock.now()
    description = call.text("description", default="") if "description" in call.fields else None
    changed = amend_version(
        call.workspace, version, lambda details: msgspec.structs.replace(details, description=description, updated_at=now)
    )
    return {"model_version": version_view(changed)}


def _delete(call: Call) -> Any:
    """Hides a version from MLflow clients. Its package and its ledger entries stay."""
    workspace, version, now = call.workspace, named_version(call), call.workspace.clock.now()
    model = version.model
    if model.state.champion.version == version.number:
        raise MlflowError(
            "PERMISSION_DENIED",
            f"{model.about.shown} version {version.number} cannot be deleted: it is the champion, and something may serve it. Promote"
            " another version first.",
        )
    for alias in version.aliases:
        workspace.release.names.drop(model.name, alias)
    amend_version(workspace, version, lambda details: msgspec.structs.replace(details, updated_at=now), state=DELETED)
    amend_model(workspace, model, lambda about: msgspec.structs.replace(about, updated_at=now))
    return {}


def _download_uri(call: Call) -> Any:
    version = named_version(call)
    return {"artifact_uri": package_uri(version.model.name, version.number)}


def _set_tag(call: Call) -> Any:
    version, tag = named_version(call), one_tag(call)
    amend_version(call.workspace, version, lambda details: msgspec.structs.replace(details, tags=details.tags | tag))
    for key, value in tag.items():
        announce(call.workspace, version.model, "version_tag", "set", version=str(version.number), key=key, value=value)
    return {}


def _delete_tag(call: Call) -> Any:
    version, key = named_version(call), check_key(call.text("key"))

    def without(details: Details) -> Details:
        return msgspec.structs.replace(details, tags={name: value for name, value in details.tags.items() if name != key})

    amend_version(call.workspace, version, without)
    announce(call.workspace, version.model, "version_tag", "deleted", version=str(version.number), key=key)
    return {}


def _transition(call: Call) -> Any:
    """Production is our pointer: putting a version there promotes it, and whatever was there is archived."""
    workspace, stage = call.workspace, canonical_stage(call.text("stage"))
    archive = call.fields.get("archive_existing_versions") in {True, "true", "True"}
    if archive and stage not in ACTIVE_STAGES:
        raise invalid(
            f"Model version transition cannot archive existing model versions because '{call.text('stage')[:40]}' is not an Active"
            f" stage. Valid stages are {ACTIVE_STAGES}"
        )
    version = named_version(call)
    if stage == PRODUCTION:
        make_champion(workspace, version)
    else:
        with refusing(version, f"be put into {stage}"):
            workspace.release.names.stage(version.model.name, version.number, stage, archive_others=archive)
    now = workspace.clock.now()
    amend_version(workspace, version, lambda details: msgspec.structs.replace(details, updated_at=now))
    amend_model(workspace, version.model, lambda about: msgspec.structs.replace(about, updated_at=now))
    return {"model_version": version_view(named_version(call))}
