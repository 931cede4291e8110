"""The files of a version as artifacts that nobody can change: ``mlflow-artifacts:/models/delay@3/artifacts``."""

from __future__ import annotations

from tidegate import digest as digests
from tidegate.errors import NotFoundError
from tidegate.models.formats.mlflow import FORMAT
from tidegate.records.names import is_name
from tidegate.records.run import Artifact
from tidegate.server.mlflow.protocol import MlflowError
from tidegate.store.objects import put_object
from tidegate.workspace import Workspace

MANIFEST = "manifest.json"


def package_uri(name: str, number: int) -> str:
    """Where an MLflow client downloads a version's files."""
    return f"mlflow-artifacts:/models/{name}@{number}/artifacts"


def is_package(owner: str) -> bool:
    """Whether the owner of artifacts is a version: no run and no logged model has an ``@`` in its id."""
    return "@" in owner


def package_files(workspace: Workspace, owner: str) -> list[Artifact]:
    """The files of a version by path; empty if there is none.

    A package of ours comes with its manifest. One that an MLflow client registered is the folder that it logged, nothing else.
    """
    name, _, number = owner.partition("@")
    if not is_name(name) or not number.isdigit() or len(number) > 9:
        return []
    try:
        version = workspace.models.get(owner)
    except NotFoundError:
        return []
    files = [Artifact(path=file.path, digest=file.digest, size=file.size) for file in version.manifest.files]
    if version.manifest.format != FORMAT and all(file.path != MANIFEST for file in files):
        data = digests.canonical(version.manifest)
        # As an object it can be sent like any file; its digest is the version's.
        files.append(Artifact(path=MANIFEST, digest=put_object(workspace.store.bucket, data), size=len(data)))
    return sorted(files, key=lambda file: file.path)


def refuse_change(owner: str) -> None:
    """Refuses to write into a version.

    Raises:
        MlflowError: the owner is a version.
    """
    if is_package(owner):
        raise MlflowError(
            "PERMISSION_DENIED",
            f"The files of {owner} cannot be changed: a version is immutable. Register a new version instead.",
        )
