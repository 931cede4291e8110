"""Where code comes from: the project, the standard library, or an installed distribution in some version."""

from __future__ import annotations

import functools
import sys
import sysconfig
from enum import Enum
from importlib import metadata, util
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))


class Place(Enum):
    """PROJECT code is hashed, a PACKAGE counts by its version, STANDARD code by the version of Python."""

    PROJECT = "project"
    PACKAGE = "package"
    STANDARD = "standard"


def place_of(module: str, file: str | None) -> Place:
    """Where the code of ``module``, read from ``file``, belongs.

    Everything that is neither in a site-packages folder nor in the standard library is the project's, so that packages
    installed as editable are hashed too, and a project's module counts even if it has the name of a standard one. Tidegate
    itself always counts by its version.
    """
    top = module.partition(".")[0]
    if top == "tidegate":
        return Place.PACKAGE
    path = file if file and not file.startswith("<") else _loaded_from(module)
    if path is None:
        return Place.STANDARD if top in sys.stdlib_module_names and top != "__main__" else Place.PROJECT
    if not _INSTALLED.isdisjoint(Path(path).parts):
        return Place.PACKAGE
    return Place.STANDARD if path.startswith(_STANDARD) else Place.PROJECT


def _loaded_from(module: str) -> str | None:
    """The file of a loaded module, also of a namespace package; None for one that is built in or made at run time."""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is None and (folders := list(getattr(loaded, "__path__", []))):
        file = str(Path(folders[0], "__init__.py"))
    return file if file and not file.startswith("<") else None


def place_of_import(module: str) -> Place | None:
    """Where a module would be imported from, without importing it; None if it cannot be found."""
    top = module.partition(".")[0]
    if top in sys.modules:
        return place_of(top, None)
    try:
        spec = util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.origin in {"built-in", "frozen"}:
        return Place.STANDARD
    folders = list(spec.submodule_search_locations or [])
    return place_of(top, spec.origin or (str(Path(folders[0], "__init__.py")) if folders else None))


@functools.cache
def distribution_of(module: str) -> tuple[str, str]:
    """The name and version of the distribution that a top-level module belongs to; version ``unknown`` if none claims it."""
    try:
        return module, metadata.version(module)
    except metadata.PackageNotFoundError:
        pass
    # importlib.metadata.packages_distributions() does this for every module at once, in a quarter of a second.
    for distribution in metadata.distributions():
        files = "\n" + (distribution.read_text("RECORD") or "")
        names = (distribution.read_text("top_level.txt") or "").split()
        if module in names or f"\n{module}/" in files or f"\n{module}.py," in files:
            return distribution.metadata["Name"], distribution.version
    return module, "unknown"
