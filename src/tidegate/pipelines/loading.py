"""Finding a pipeline or function by its name, ``module:function``, in a project folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tidegate.errors import ConflictError, TidegateError, UsageError
from tidegate.pipelines.authoring import Pipeline
from tidegate.pipelines.failure import PipelineBrokenError, user_frames
from tidegate.records.names import nearest


def load_pipeline(target: str, folder: Path) -> Pipeline[..., Any]:
    """Imports ``module`` from a project folder and returns the pipeline ``function`` in it.

    Raises:
        UsageError: the target is not ``module:function``, or there is no such module or pipeline.
        ConflictError: another module of that name was imported before.
        PipelineBrokenError: the module fails when it is imported.
    """
    module, name = import_target(target, folder)
    found = list_pipelines(module)
    by_name = {item.name: item for item in found.values()} | found
    if name in by_name:
        return by_name[name]
    if hasattr(module, name):
        kind = type(getattr(module, name)).__name__
        raise UsageError("not-a-pipeline", f"{target} is a {kind}, not a pipeline", fix="decorate the function with @pipeline")
    fix = nearest(name, list(found)) if found else f"decorate a function in {module.__name__} with @pipeline"
    raise UsageError("no-such-pipeline", f"module {module.__name__} has no pipeline {name!r}", fix=fix)


def load_function(target: str, folder: Path) -> Callable[..., Any]:
    """Imports ``module`` from a project folder and returns any callable ``function`` in it.

    Raises:
        UsageError: the target is not ``module:function``, or there is no such module or function.
        ConflictError: another module of that name was imported before.
        PipelineBrokenError: the module fails when it is imported.
    """
    module, name = import_target(target, folder)
    found: Any = getattr(module, name, None)
    if callable(found):
        return found
    names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    fix = nearest(name, names) if names else f"define it in {module.__name__}"
    raise UsageError("no-such-function", f"module {module.__name__} has no function {name!r}", fix=fix)


def list_pipelines(module: ModuleType) -> dict[str, Pipeline[..., Any]]:
    """The pipelines of a module by the names that they have in it."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Pipeline)}


def import_target(target: str, folder: Path) -> tuple[ModuleType, str]:
    """Imports the module of ``module:name`` from a project folder; gives it with the name, which may not be in it.

    Raises:
        UsageError: the target is not ``module:name``, or there is no such module.
        ConflictError: another module of that name was imported before.
        PipelineBrokenError: the module fails when it is imported.
    """
    module, colon, name = target.partition(":")
    if not (module and colon and name):
        raise UsageError(
            "bad-target",
            f"{target!r} names nothing in a module",
            why="pipelines, functions and feature views are named by their module and name",
            fix="write module:function",
        )
    if module.endswith(".py"):
        raise UsageError("bad-target", f"{module!r} is a file", fix=f"write the module: {Path(module).stem}:{name}")
    return _import(module, folder), name


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


def _broken(name: str, error: Exception) -> PipelineBrokenError:
    return PipelineBrokenError(
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
