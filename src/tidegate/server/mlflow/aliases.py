"""``registered-models/alias`` of MLflow's REST API: every move of an alias is an entry in the model's ledger.

The alias ``champion`` is our pointer. It moves under the model's policy, like any promotion.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from starlette.routing import Route

from tidegate.errors import ConflictError, RefusedError
from tidegate.release.state import CHAMPION
from tidegate.server.mlflow.announcing import announce
from tidegate.server.mlflow.limits import check_length
from tidegate.server.mlflow.model_records import Version, check_number, get_model, get_version, version_view, versions_of
from tidegate.server.mlflow.protocol import Call, MlflowError, both, invalid, missing, route
from tidegate.workspace import Workspace

_ALIAS = re.compile(r"[\w\-]*")
_VERSION = re.compile(r"[vV]\d+")
_MAX_ALIAS = 255
LATEST = "latest"


def routes(workspace: Workspace) -> list[Route]:
    """The routes of aliases."""
    handlers = [("POST", _set), ("DELETE", _delete), ("GET", _get)]
    return [route(method, path, handler, workspace) for method, handler in handlers for path in both("registered-models/alias")]


def make_champion(workspace: Workspace, version: Version) -> None:
    """Promotes a version as an MLflow client asks for it.

    Raises:
        MlflowError: a rule of the release forbids it.
    """
    name = version.model.name
    policy = workspace.policies.get(name)
    with refusing(version, "become the champion"):
        workspace.release.name_champion(name, version.number, policy=policy)


@contextmanager
def refusing(version: Version, what: str) -> Generator[None]:
    """Says in MLflow's words which rule refuses and what to do. The status is one that no client repeats.

    Raises:
        MlflowError: a rule of the release forbids it.
    """
    try:
        yield
    except (RefusedError, ConflictError) as error:
        why = ". ".join(
            part for part in (f"{error.what}", f"Why: {error.why}" if error.why else "", f"To get there: {error.fix}") if part
        )
        code = "RESOURCE_CONFLICT" if isinstance(error, ConflictError) else "PERMISSION_DENIED"
        raise MlflowError(code, f"{version.model.about.shown} version {version.number} cannot {what}: {why}") from None


def _set(call: Call) -> Any:
    workspace, alias = call.workspace, _check_alias(call.text("alias"))
    if alias.lower() == LATEST:
        raise invalid("'latest' alias name (case insensitive) is reserved.")
    if _VERSION.fullmatch(alias):
        raise invalid(f"Version alias name '{alias}' is reserved.")
    number = check_number(call.text("version"))
    version = get_version(workspace, get_model(workspace, call.text("name")), number)
    if alias.lower() == CHAMPION:
        make_champion(workspace, version)
    else:
        workspace.release.names.alias(version.model.name, alias, number)
    announce(workspace, version.model, "alias", "created", alias=alias, version=str(number))
    return {}


def _delete(call: Call) -> Any:
    workspace, alias = call.workspace, _check_alias(call.text("alias"))
    model = get_model(workspace, call.text("name"))
    if alias.lower() == CHAMPION:
        if not model.state.champion.version:
            return {}
        raise MlflowError(
            "PERMISSION_DENIED",
            f"The alias champion of {model.about.shown} cannot be deleted: it is the pointer to what serves."
            f" To get there: promote another version, or go back with: tidegate rollback {model.name} --reason TEXT",
        )
    workspace.release.names.drop(model.name, alias)
    announce(workspace, model, "alias", "deleted", alias=alias)
    return {}


def _get(call: Call) -> Any:
    workspace, alias = call.workspace, _check_alias(call.text("alias"))
    model = get_model(workspace, call.text("name"))
    if alias.lower() == LATEST:
        versions = versions_of(workspace, model)
        if not versions:
            raise missing(f"Latest version not found for model {model.about.shown}.")
        return {"model_version": version_view(versions[-1])}
    number = model.state.names().get(CHAMPION if alias.lower() == CHAMPION else alias, 0)
    if not number:
        raise invalid(f"Registered model alias {alias} not found.")
    return {"model_version": version_view(get_version(workspace, model, number))}


def _check_alias(alias: str) -> str:
    if not _ALIAS.fullmatch(alias):
        raise invalid(
            f"Invalid alias name: '{alias[:300]}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
        )
    return check_length("Registered model alias name", alias, _MAX_ALIAS)
