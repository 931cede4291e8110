"""Real project modules, written to a folder and imported from there; a runner on a real store."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from tidegate.clock import Clock
from tidegate.data import Datasets
from tidegate.pipelines import Runner
from tidegate.store import Store
from tidegate.tracking import Runs

Project = Callable[..., ModuleType]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Writes modules into a new folder and imports the first one; each call forgets the modules of the call before."""
    before_path, before_modules = list(sys.path), set(sys.modules)
    count = 0

    def load(files: Mapping[str, str], folder: Path | None = None) -> ModuleType:
        nonlocal count
        count += 1
        place = folder or tmp_path / f"project{count}"
        for name in set(sys.modules) - before_modules:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
        sys.path[:] = [str(place), *before_path]
        for name, text in files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        importlib.invalidate_caches()
        return importlib.import_module(next(iter(files)).removesuffix(".py").replace("/", "."))

    yield load
    sys.path[:] = before_path
    for name in set(sys.modules) - before_modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def runs(store: Store, tmp_path: Path) -> Runs:
    return Runs(store, Clock(), journals=tmp_path / "journals", project=tmp_path)


@pytest.fixture
def datasets(store: Store) -> Datasets:
    return Datasets(store.bucket, store.catalog, Clock())


@pytest.fixture
def runner(store: Store, runs: Runs, datasets: Datasets, tmp_path: Path) -> Runner:
    """A runner whose project folder is the test's folder; its clock moves, so that newest means newest."""
    return Runner(store, datasets, runs, Clock(), folder=tmp_path)
