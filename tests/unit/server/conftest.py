"""A real project with hostile names in it, built once through the public rooms, and a client of its pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_rest import Rest
from server_client import Client
from server_project import build_project

from tidegate.server import create_app
from tidegate.workspace import Workspace


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The project of ``server_project``; tests only read it."""
    folder: Path = tmp_path_factory.mktemp("server") / "flights"
    build_project(folder)
    workspace = Workspace.open(folder, now="2013-07-01T00:00:00+00:00")
    yield workspace
    workspace.store.close()


@pytest.fixture(scope="session")
def client(project: Workspace) -> Client:
    return Client(create_app(project))


@pytest.fixture
def empty(empty_store: Path, tmp_path: Path) -> Iterator[Client]:
    """A client of a project in which nothing has happened."""
    folder = tmp_path / "empty"
    shutil.copytree(empty_store, folder / ".tidegate")
    workspace = Workspace.open(folder)
    yield Client(create_app(workspace))
    workspace.store.close()


@pytest.fixture
def workspace(empty_store: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A project in which nothing has happened."""
    folder = tmp_path / "fresh"
    shutil.copytree(empty_store, folder / ".tidegate")
    workspace = Workspace.open(folder)
    yield workspace
    workspace.store.close()


@pytest.fixture
def rest(workspace: Workspace) -> Rest:
    return Rest(create_app(workspace))
