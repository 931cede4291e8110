"""The source files of a project that some modules reach: read, never imported. They travel in packages that bring code."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib import util
from pathlib import Path
from typing import NamedTuple

from tidegate.errors import BadInputError
from tidegate.places import Place, place_of_import

MAX_BYTES = 20 * 1024 * 1024
"""Of all files together."""


class Sources(NamedTuple):
    """Files by their path (``features/wind.py``), and the top-level modules of packages that they import."""

    files: dict[str, bytes]
    requires: frozenset[str]


def collect(modules: Iterable[str]) -> Sources:
    """The files of these modules of the project, of what they import, and so on; also imports inside functions count.

    What no reading can see is missing: names built at run time (``importlib.import_module(name)``), and data files, which belong
    into the model's state.

    Raises:
        BadInputError: a module has no source file, is the program itself, or the files are too large.
    """
    files: dict[str, bytes] = {}
    requires: set[str] = set()
    waiting, seen = list(modules), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        top = name.partition(".")[0]
        if top == "__main__":
            raise BadInputError(
                "code-in-main",
                "the model's code stands in the program itself, or in a notebook",
                why="a package brings modules, and the program is none",
                fix="move the function or class into a module of the project, and import it",
            )
        place = place_of_import(top)
        if place is Place.PACKAGE:
            requires.add(top)
        if place is not Place.PROJECT:
            continue
        for path, file in _files(name):
            data = file.read_bytes()
            if files.setdefault(path, data) is data and data.strip():
                waiting += _imports(data, _module_of(path), is_package=path.endswith("__init__.py"))
    if sum(map(len, files.values())) > MAX_BYTES:
        raise BadInputError(
            "code-too-large", f"the source files have more than {MAX_BYTES:,} bytes", fix="package less of the project"
        )
    return Sources(files, frozenset(requires - {"tidegate"}))


def _files(name: str) -> Iterator[tuple[str, Path]]:
    """The file of a module and those of the packages around it, by their paths in the package; nothing if it is no module."""
    top, *inner = name.split(".")
    spec = util.find_spec(top)
    if spec is None:
        return
    origin = Path(spec.origin) if spec.origin else None
    if spec.submodule_search_locations is None:
        if origin is None or origin.suffix != ".py":
            raise _no_source(top)
        yield f"{top}.py", origin
        return
    if origin is not None:
        yield f"{top}/__init__.py", origin
    for folder in map(Path, spec.submodule_search_locations):
        yield from _inside(folder, top, inner)


def _inside(folder: Path, path: str, names: list[str]) -> Iterator[tuple[str, Path]]:
    for name in names:
        folder, path = folder / name, f"{path}/{name}"
        if folder.with_suffix(".py").is_file():
            yield f"{path}.py", folder.with_suffix(".py")
            return
        if next(folder.parent.glob(f"{name}.*.so"), None) is not None:
            raise _no_source(path)
        if not folder.is_dir():
            return
        if (folder / "__init__.py").is_file():
            yield f"{path}/__init__.py", folder / "__init__.py"


def _module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(source: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """Every name that a file imports, and each that could be a module in one."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise BadInputError("bad-source", f"the source of {module} cannot be read", why=str(error)) from None
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level and not package:
                continue
            start = util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield start
            yield from (f"{start}.{alias.name}" for alias in node.names if alias.name != "*")


def _no_source(name: str) -> BadInputError:
    return BadInputError(
        "code-without-source",
        f"module {name} has no source file",
        why="a package brings source files, never compiled ones",
        fix="put compiled code into a distribution of its own, and install that where the model is served",
    )
