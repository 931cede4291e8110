"""Where a new version's files come from: a run, a logged model or another version of this server, and nothing else.

Source: ``_validate_source_run``, ``_validate_source_model`` and ``_resolve_registered_model_source_lineage`` in
``mlflow/server/handlers.py`` of MLflow 3.18. MLflow keeps the address; here the files themselves become the version.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_plus, urlsplit

from tidegate.errors import NotFoundError
from tidegate.records.model import PackagedFile
from tidegate.records.run import Artifact
from tidegate.server.mlflow.logged_records import find_logged, logged_by_run
from tidegate.server.mlflow.model_records import Version, check_number, get_model, get_version, is_prompt, versions_of
from tidegate.server.mlflow.protocol import MlflowError, invalid
from tidegate.server.mlflow.stages import canonical_stage
from tidegate.server.mlflow.views import artifact_root, within
from tidegate.workspace import Workspace

PROMPT_SOURCES = {"dummy-source", "prompt-template"}
"""What clients write as the source of a prompt, which has no files."""

_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")


class Origin(NamedTuple):
    """The files of a version, and the run and the logged model that they come from (empty if there is none)."""

    files: list[PackagedFile]
    source: str
    run_id: str
    model_id: str


def find_origin(workspace: Workspace, source: str, *, run_id: str | None, model_id: str | None) -> Origin:
    """The files that ``source`` names, which must lie in the run or the logged model that the request names.

    Raises:
        MlflowError: it names something else, or there are no files.
    """
    _refuse_relative(source)
    address = urlsplit(source)
    if address.scheme == "models":
        origin = _of_model(workspace, source, run_id, model_id)
    elif address.scheme == "runs" and not model_id:
        origin = _of_run_uri(workspace, source, run_id or "")
    elif address.scheme == "mlflow-artifacts":
        origin = _of_logged(workspace, source, model_id) if model_id else _of_run_root(workspace, source, run_id or "")
    elif address.scheme == "runs":
        raise _not_within(source, "model_id")
    else:
        raise invalid(
            f"Invalid model version source: '{source[:300]}'. Tidegate keeps the files of a version itself, so it takes them from a run"
            " (runs:/...), a logged model (models:/m-...) or a version (models:/name/1) whose artifacts are on this server."
        )
    if not origin.files:
        raise invalid(
            f"Invalid model version source: '{source[:300]}'. No files are there: log the model before you register it, to artifacts"
            " that this server keeps."
        )
    return origin


def _of_model(workspace: Workspace, source: str, run_id: str | None, model_id: str | None) -> Origin:
    address = urlsplit(source)
    if address.netloc:
        raise invalid(
            f"Invalid model version source: '{source[:300]}'. Registered model sources must use the active model registry."
        )
    parts = [part for part in address.path.split("/") if part]
    if len(parts) == 1 and _MODEL_ID.fullmatch(parts[0]):
        if model_id is None or parts[0] != model_id:
            raise _not_within(source, "model_id")
        return _of_logged(workspace, source, model_id)
    version = _named_version(workspace, source, parts)
    if is_prompt(version.model.about.tags):
        raise invalid(f"Invalid model version source: '{source[:300]}'. Prompt versions cannot be used as model version sources.")
    details = version.details
    if (run_id is not None and run_id != details.run_id) or (model_id is not None and model_id != details.model_id):
        raise invalid(
            f"Invalid model version source: '{source[:300]}'. The run_id and model_id request parameters must match the referenced"
            " model version."
        )
    files = workspace.models.get(f"{version.model.name}@{version.number}").manifest.files
    return Origin(files, f"models:/{version.model.about.shown}/{version.number}", details.run_id, details.model_id)


def _named_version(workspace: Workspace, source: str, parts: list[str]) -> Version:
    name, at, alias = parts[0].partition("@") if parts else ("", "", "")
    if at and len(parts) == 1:
        model = get_model(workspace, name)
        number = model.state.names().get(alias, 0)
        if not number:
            raise invalid(f"Registered model alias {alias[:100]} not found.")
        return get_version(workspace, model, number)
    if len(parts) != 2:
        raise _not_within(source, "model_id")
    model = get_model(workspace, name)
    if parts[1].isdigit():
        return get_version(workspace, model, check_number(parts[1]))
    versions = versions_of(workspace, model)
    if parts[1].lower() != "latest":
        stage = canonical_stage(parts[1])
        versions = [version for version in versions if version.stage == stage]
    if not versions:
        raise invalid(f"No versions of model with name '{name}' and stage '{parts[1][:40]}' found")
    return versions[-1]


def _of_run_uri(workspace: Workspace, source: str, run_id: str) -> Origin:
    address = urlsplit(source)
    named, _, path = address.path.lstrip("/").partition("/")
    if address.netloc or not run_id or named != run_id:
        raise _not_within(source, "run_id")
    return _of_run(workspace, source, run_id, unquote_plus(path) if "%" in path else path)


def _of_run_root(workspace: Workspace, source: str, run_id: str) -> Origin:
    if not run_id:
        raise _not_within(source, "run_id")
    experiment = _experiment_of(workspace, source, run_id)
    root = artifact_root(run_id, workspace.store.experiments.get(experiment))
    if source != root and not source.startswith(within(root, "")):
        raise _not_within(source, "run_id")
    return _of_run(workspace, source, run_id, source[len(root) :].strip("/"))


def _of_run(workspace: Workspace, source: str, run_id: str, path: str) -> Origin:
    """A run's own files; where there are none, those of the model that was logged in it under this name, as clients 3.x do."""
    experiment = _experiment_of(workspace, source, run_id)
    files = _below(workspace.store.artifacts.list(run_id), path)
    if files:
        return Origin(files, source, run_id, "")
    for logged in logged_by_run(workspace, str(experiment), run_id):
        name, _, rest = path.partition("/")
        if logged.about.name == name:
            return Origin(_below(workspace.store.artifacts.list(logged.id), rest), source, run_id, logged.id)
    return Origin([], source, run_id, "")


def _of_logged(workspace: Workspace, source: str, model_id: str) -> Origin:
    logged = find_logged(workspace, model_id)
    if logged is None:
        raise _not_within(source, "model_id")
    path = ""
    if urlsplit(source).scheme == "mlflow-artifacts":
        root = logged.artifact_uri
        if source != root and not source.startswith(within(root, "")):
            raise _not_within(source, "model_id")
        path = source[len(root) :].strip("/")
    return Origin(_below(workspace.store.artifacts.list(logged.id), path), source, logged.about.source_run_id, logged.id)


def _experiment_of(workspace: Workspace, source: str, run_id: str) -> int:
    try:
        run = workspace.store.runs.get(run_id)
    except NotFoundError:
        raise _not_within(source, "run_id") from None
    experiment = workspace.store.experiments.find(run.experiment)
    if experiment is None:
        raise _not_within(source, "run_id")
    return experiment.id


def _below(artifacts: list[Artifact], path: str) -> list[PackagedFile]:
    """The files below a folder by their path in it; a path that is a file itself gives that file."""
    folder = f"{path.strip('/')}/" if path.strip("/") else ""
    found = [
        PackagedFile(path=item.path.removeprefix(folder), size=item.size, digest=item.digest)
        for item in artifacts
        if item.path.startswith(folder)
    ]
    alone = [
        PackagedFile(path=item.path.rpartition("/")[2], size=item.size, digest=item.digest)
        for item in artifacts
        if item.path == path
    ]
    return found or alone


def _refuse_relative(source: str) -> None:
    plain = source
    while (unquoted := unquote_plus(plain)) != plain:
        plain = unquoted
    if "\x00" in plain or any(part in {"..", "."} for part in plain.split("/")):
        raise invalid(
            f"Invalid model version source: '{source[:300]}'. If supplying a source as an http, https, local file path, ftp, objectstore,"
            " or mlflow-artifacts uri, an absolute path must be provided without relative path references present. Please provide an"
            " absolute path."
        )


def _not_within(source: str, field: str) -> MlflowError:
    return invalid(
        f"Invalid model version source: '{source[:300]}'. The {field} request parameter must identify the resource that contains the"
        " source."
    )
