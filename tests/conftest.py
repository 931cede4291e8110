"""What every test may ask for: a bucket, a store, a clock that stands still; and hypothesis that is the same twice."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from postgres_server import PostgresServer
from registry_server import RegistryServer
from s3_server import S3Server
from tidegate.clock import Clock, parse_time
from tidegate.store import Store, open_store
from tidegate.store.bucket.folder import FolderBucket

# Here and in the processes that tests start. On shared cores the threads of OpenMP and OpenBLAS wait for each other by spinning: boosting
# that takes 0.2 s alone burns 7 s.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# The cores are shared and the first example pays for imports, so time says nothing about a property.
settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.register_profile("ci", parent=settings.get_profile("here"), derandomize=True, print_blob=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

NOON = parse_time("2013-06-01T12:00:00+00:00")


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    """An empty bucket in a folder of its own."""
    return FolderBucket(tmp_path / "bucket")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty store, to copy: making the tables anew costs each test 50 ms."""
    folder = tmp_path_factory.mktemp("empty") / "store"
    open_store(folder).close()
    return folder


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Iterator[Store]:
    """An empty store: SQLite beside a folder."""
    opened = open_store(shutil.copytree(empty_store, tmp_path / "store"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A Postgres, started once for all tests that ask for it."""
    # Not below pytest's folder: the next session of pytest locks that against the server's own user.
    with tempfile.TemporaryDirectory(prefix="tidegate-postgres-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        server = PostgresServer(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The address of an empty store on Postgres."""
    return postgres_server.fresh()


@pytest.fixture
def postgres_store(postgres_url: str, tmp_path: Path) -> Iterator[Store]:
    """An empty store: Postgres beside a folder."""
    opened = open_store(tmp_path / "store", database=postgres_url)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
def any_store(request: pytest.FixtureRequest) -> Store:
    """An empty store on each database in turn."""
    return request.getfixturevalue("store" if request.param == "sqlite" else "postgres_store")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on loopback, started once for all tests that ask for it."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket on it, with the environment set as a user would."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server.fresh_url()


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """An OCI registry on loopback without sign-in, started once for all tests that ask for it."""
    server = RegistryServer(tmp_path_factory.mktemp("registry"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def clock() -> Clock:
    """Noon of 1 June 2013, for ever."""
    return Clock.replay(NOON)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the person who runs the tests, or of the CI job that does, must not reach them."""
    jobs = {"GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "CIRCLECI"}
    for name in [name for name in os.environ if name.startswith("TIDEGATE_") or name in jobs]:
        monkeypatch.delenv(name)
