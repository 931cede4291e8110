"""What every test may ask for: a bucket, a store, a clock that stands still; and hypothesis that is the same twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tidegate.clock import Clock, parse_time
from tidegate.store import Store, open_store
from tidegate.store.bucket.folder import FolderBucket

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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store: SQLite beside a folder."""
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    """Noon of 1 June 2013, for ever."""
    return Clock.replay(NOON)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the person who runs the tests must not reach them."""
    for name in [name for name in os.environ if name.startswith("TIDEGATE_")]:
        monkeypatch.delenv(name)
