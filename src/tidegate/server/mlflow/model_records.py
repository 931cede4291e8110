"""Our models as MLflow's registered models: the ledger says what there is, documents add what only MLflow knows.

A model keeps its first name in the ledger and in its packages; MLflow clients may see it under another one. What they delete is
hidden from them and stays in the ledger: numbers are never given again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from tidegate.errors import ConflictError
from tidegate.models.registry import KIND as PACKAGES
from tidegate.records.names import is_name
from tidegate.release import LedgerState
from tidegate.server.mlflow.packages import package_uri
from tidegate.server.mlflow.protocol import MlflowError, absent, invalid, missing
from tidegate.server.mlflow.views import MS, pairs
from tidegate.store.ports import CatalogEntry, Document
from tidegate.workspace import Workspace

MODEL = "registered-model"
VERSION = "model-version"
"""Kinds of the documents. A model's document has its first name as id; another name that it is shown under has one that says so."""

ACTIVE, DELETED, ALIAS = "active", "deleted", "name"
IS_PROMPT = "mlflow.prompt.is_prompt"
_ATTEMPTS = 200


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What MLflow keeps of a registered model. Times are microseconds UTC."""

    shown: str
    description: str = ""
    tags: dict[str, str] = {}
    created_at: int
    updated_at: int
    hidden: int = 0
    """Versions up to this number were deleted together with the model."""


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What MLflow keeps of a version. Times are microseconds UTC."""

    description: str | None = None
    tags: dict[str, str] = {}
    source: str = ""
    run_id: str = ""
    run_link: str | None = None
    model_id: str = ""
    created_at: int
    updated_at: int


class Model(NamedTuple):
    """A model: its name in the ledger, what MLflow keeps of it, and what its ledger adds up to."""

    name: str
    about: About
    state: LedgerState


class Version(NamedTuple):
    """A version of a model as MLflow sees it."""

    model: Model
    number: int
    details: Details

    @property
    def stage(self) -> str:
        """The stage that it is in."""
        return self.model.state.stage(self.number)

    @property
    def aliases(self) -> list[str]:
        """The names that stand for it."""
        return [alias for alias, number in self.model.state.names().items() if number == self.number]


def check_model_name(name: str, field: str = "name") -> str:
    """A name that a model of ours can have.

    Raises:
        MlflowError: it cannot.
    """
    if not name.strip():
        raise absent(field)
    if "/" in name or ":" in name:
        raise invalid(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    if not is_name(name):
        raise invalid(
            f"Invalid model name '{name[:120]}'. Tidegate names its models with 1 to 100 letters, digits, dots, dashes and underscores;"
            " the first is a letter or a digit."
        )
    return name


def check_number(text: str) -> int:
    """A version's number.

    Raises:
        MlflowError: it is none.
    """
    try:
        return int(text) if len(text) < 12 else int(text[:0])
    except ValueError:
        raise invalid(f"Parameter 'version' must be an integer, got '{text[:40]}'.") from None


def find_model(workspace: Workspace, shown: str) -> Model | None:
    """The model that MLflow clients see under this name, or None."""
    if not is_name(shown):
        return None
    document = workspace.store.documents.find(MODEL, shown)
    if document is not None and document.state == ALIAS:
        document = workspace.store.documents.find(MODEL, document.subject)
    model = _model(workspace, document.id if document else shown, document, None)
    return model if model is not None and model.about.shown == shown else None


def get_model(workspace: Workspace, shown: str) -> Model:
    """The model that MLflow clients see under this name.

    Raises:
        MlflowError: there is none.
    """
    model = find_model(workspace, shown) if shown.strip() else None
    if model is None:
        if not shown.strip() or "/" in shown or ":" in shown:
            check_model_name(shown)
        raise missing(f"Registered Model with name={shown} not found")
    return model


def all_models(workspace: Workspace) -> list[Model]:
    """Every model that MLflow clients see, by name."""
    documents = {item.id: item for item in workspace.store.documents.list(MODEL) if item.state != ALIAS}
    entries: dict[str, list[CatalogEntry]] = {}
    for entry in workspace.store.catalog.list(PACKAGES):
        entries.setdefault(entry.name, []).append(entry)
    found = [_model(workspace, name, documents.get(name), entries.get(name, [])) for name in {*documents, *entries}]
    return sorted((model for model in found if model is not None), key=lambda model: model.about.shown)


def versions_of(workspace: Workspace, model: Model) -> list[Version]:
    """The versions of a model that MLflow clients see, by number."""
    documents = {item.id: item for item in workspace.store.documents.list(VERSION, subject=model.name)}
    entries = {entry.digest: entry for entry in workspace.store.catalog.list(PACKAGES, model.name)}
    found = [
        _version(workspace, model, number, documents.get(version_key(model.name, number)), entries.get(digest))
        for number, digest in sorted(model.state.digests.items())
    ]
    return [version for version in found if version is not None]


def get_version(workspace: Workspace, model: Model, number: int) -> Version:
    """One version.

    Raises:
        MlflowError: there is none, or it was deleted.
    """
    found = None
    if number in model.state.digests:
        found = _version(workspace, model, number, workspace.store.documents.find(VERSION, version_key(model.name, number)), None)
    if found is None:
        raise missing(f"Model Version (name={model.about.shown}, version={number}) not found")
    return found


def amend_model(workspace: Workspace, model: Model, change: Callable[[About], About]) -> Model:
    """Changes what MLflow keeps of a model; of several at once none is lost."""

    def edit(found: Document | None) -> Document:
        about = change(_about(found) if found else model.about)
        state = found.state if found else ACTIVE
        return Document(MODEL, model.name, model.name, state, about.created_at, msgspec.to_builtins(about), 1)

    return model._replace(about=_about(amend(workspace, MODEL, model.name, edit)))


def amend_version(
    workspace: Workspace, version: Version, change: Callable[[Details], Details], *, state: str = ACTIVE
) -> Version:
    """Changes what MLflow keeps of a version; of several at once none is lost."""
    key = version_key(version.model.name, version.number)

    def edit(found: Document | None) -> Document:
        details = change(msgspec.convert(found.body, Details) if found else version.details)
        return Document(VERSION, key, version.model.name, state, details.created_at, msgspec.to_builtins(details), 1)

    return version._replace(details=msgspec.convert(amend(workspace, VERSION, key, edit).body, Details))


def amend(workspace: Workspace, kind: str, key: str, edit: Callable[[Document | None], Document]) -> Document:
    """Replaces a document by what ``edit`` makes of it, anew whenever somebody else was faster.

    Raises:
        MlflowError: others change it all the time.
    """
    for _ in range(_ATTEMPTS):
        found = workspace.store.documents.find(kind, key)
        wanted = edit(found)
        if found is None:
            if workspace.store.documents.add(wanted):
                return wanted
            continue
        try:
            return workspace.store.documents.update(wanted._replace(revision=found.revision))
        except ConflictError:
            continue
    raise MlflowError("REQUEST_LIMIT_EXCEEDED", f"{key} is changed by others all the time. Try again.")


def version_key(name: str, number: int) -> str:
    """The id of a version's document: ``delay@3``."""
    return f"{name}@{number}"


def is_prompt(tags: dict[str, str]) -> bool:
    """Whether a registered model with these tags is a prompt."""
    return tags.get(IS_PROMPT, "").lower() == "true"


def model_view(model: Model, versions: Iterable[Version]) -> dict[str, Any]:
    """MLflow's ``RegisteredModel``, with the newest of its versions in each stage."""
    about = model.about
    found: dict[str, Any] = {
        "name": about.shown,
        "creation_timestamp": about.created_at // MS,
        "last_updated_timestamp": about.updated_at // MS,
    }
    newest = latest(versions)
    optional = {
        "description": about.description,
        "latest_versions": [version_view(version, with_aliases=False) for version in newest],
        "tags": pairs(about.tags),
        "aliases": [{"alias": alias, "version": str(number)} for alias, number in sorted(model.state.names().items())],
    }
    return found | {key: value for key, value in optional.items() if value}


def version_view(version: Version, *, with_aliases: bool = True) -> dict[str, Any]:
    """MLflow's ``ModelVersion``. It is always READY: it exists once its files are kept."""
    details = version.details
    found: dict[str, Any] = {
        "name": version.model.about.shown,
        "version": str(version.number),
        "creation_timestamp": details.created_at // MS,
        "last_updated_timestamp": details.updated_at // MS,
        "current_stage": version.stage,
        "source": details.source or package_uri(version.model.name, version.number),
        "run_id": details.run_id,
        "status": "READY",
    }
    optional: dict[str, Any] = {"description": details.description, "run_link": details.run_link}
    found |= {key: value for key, value in optional.items() if value is not None}
    lists = {"tags": pairs(details.tags), "aliases": version.aliases if with_aliases else []}
    return found | {key: value for key, value in lists.items() if value}


def latest(versions: Iterable[Version]) -> list[Version]:
    """The newest version of each stage, by number."""
    newest = {version.stage: version for version in sorted(versions, key=lambda version: version.number)}
    return sorted(newest.values(), key=lambda version: version.number)


def _model(workspace: Workspace, name: str, document: Document | None, entries: list[CatalogEntry] | None) -> Model | None:
    state = workspace.release.state(name)
    newest = max(state.digests, default=0)
    if document is not None:
        about = _about(document)
        return Model(name, about, state) if document.state == ACTIVE or newest > about.hidden else None
    if not newest:
        return None
    times = [entry.created_at for entry in (workspace.store.catalog.list(PACKAGES, name) if entries is None else entries)]
    about = About(shown=name, created_at=min(times, default=0), updated_at=max(times, default=0))
    return Model(name, about, state)


def _about(document: Document) -> About:
    return msgspec.convert(document.body, About)


def _version(
    workspace: Workspace, model: Model, number: int, document: Document | None, entry: CatalogEntry | None
) -> Version | None:
    if number <= model.about.hidden or (document is not None and document.state == DELETED):
        return None
    if document is not None:
        return Version(model, number, msgspec.convert(document.body, Details))
    if entry is not None:
        run, description, at = entry.summary.get("run", ""), entry.summary.get("description", ""), entry.created_at
    else:
        manifest = workspace.models.get(f"{model.name}@{number}").manifest
        run, description, at = manifest.lineage.run, manifest.description, manifest.created_at
    return Version(model, number, Details(description=description or None, run_id=run, created_at=at, updated_at=at))
