"""Finding a pipeline by its name, ``module:function``, in a project folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tidegate.errors import ConflictError, TidegateError, UsageError
from tidegate.pipelines.authoring import Pipeline
from tidegate.pipelines.failure import PipelineBroken, user_frames
from tidegate.records.names import nearest


def load_pipeline(target: str, folder: Path) -> Pipeline[..., Any]:
    """Imports ``module`` from a project folder and returns the pipeline ``function`` in it.

    Raises:
        UsageError: the target is not ``module:function``, or there is no such module or pipeline.
        ConflictError: another module of that name was imported before.
        PipelineBroken: the module fails when it is imported.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise UsageError(
            "bad-target",
            f"{target!r} names no pipeline",
            why="a pipeline is named by its module and function",
            fix="write module:function",
        )
    module = _import(module_name, folder)
    found = list_pipelines(module)
    if name in found:
        return found[name]
    by_name = {item.name: item for item in found.values()}
    if name in by_name:
        return by_name[name]
    if hasattr(module, name):
        raise UsageError(
            "not-a-pipeline",
            f"{target} is a {type(getattr(module, name)).__name__}, not a pipeline",
            fix="decorate the function with @pipeline",
        )
    fix = nearest(name, list(found)) if found else f"decorate a function in {module_name} with @pipeline"
    raise UsageError("no-such-pipeline", f"module {module_name} has no pipeline {name!r}", fix=fix)


def list_pipelines(module: ModuleType) -> dict[str, Pipeline[..., Any]]:
    """The pipelines of a module by the names that they have in it."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Pipeline)}


def _import(name: str, folder: Path) -> ModuleType:
    _make_importable(folder)
    try:
        module = importlib.import_module(name)
    except TidegateError:
        raise
    except ModuleNotFoundError as error:
        if error.name != name and not name.startswith(f"{error.name}."):
            raise _broken(name, error) from error
        fix = nearest(name, _modules_in(folder)) if _modules_in(folder) else f"there is no Python file in {folder.resolve()}"
        raise UsageError("no-such-module", f"no module {name!r} in {folder.resolve()}", fix=fix) from None
    except Exception as error:
        raise _broken(name, error) from error
    _check_origin(module, name, folder)
    return module


def _make_importable(folder: Path) -> None:
    """Puts the project folder first on ``sys.path``, once; steps import from it while they run, so it stays there."""
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.insert(0, place)
    importlib.invalidate_caches()


def _broken(name: str, error: Exception) -> PipelineBroken:
    return PipelineBroken(
        "pipeline-broken",
        f"module {name} cannot be imported: {type(error).__name__}: {error}",
        why="\n       ".join(user_frames(error)),
        fix=f"see that `python -c 'import {name}'` works in the project folder",
    )


def _check_origin(module: ModuleType, name: str, folder: Path) -> None:
    """The project has a module of this name, but Python found another one first."""
    own = folder.resolve().joinpath(*name.split("."))
    loaded = Path(getattr(module, "__file__", None) or own)
    candidates = [own.with_suffix(".py"), own / "__init__.py"]
    if any(path.is_file() for path in candidates) and loaded.resolve() not in [path.resolve() for path in candidates]:
        raise ConflictError(
            "module-shadowed",
            f"{name} is {loaded}, not the module of this project",
            why="another module of that name was found or imported first",
            fix="rename the file, or run each project in a process of its own",
        )


def _modules_in(folder: Path) -> list[str]:
    files = [path.stem for path in folder.glob("*.py") if path.stem.isidentifier()]
    packages = [
        f"{path.parent.name}.{path.stem}"
        for path in folder.glob("*/*.py")
        if path.parent.name.isidentifier() and path.stem.isidentifier()
    ]
    return sorted({*files, *(name.removesuffix(".__init__") for name in packages)})
