"""The house's own source, parsed once: what the tests beside this file look at."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tidegate"


class Module(NamedTuple):
    """One source file: where it is, its dotted name, its text and its tree."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The child of ``tidegate`` that it belongs to; empty for the package itself."""
        return [*self.name.split("."), ""][1]

    def at(self, node: ast.AST) -> str:
        """Where ``node`` stands, as an editor takes it."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def read_module(path: Path) -> Module:
    """A Python file of the repository."""
    text = path.read_text(encoding="utf-8")
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "src" else parts
    return Module(path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts), text, ast.parse(text))


@cache
def source_modules() -> tuple[Module, ...]:
    """Every module of the package."""
    return tuple(read_module(path) for path in sorted(PACKAGE.rglob("*.py")))


@cache
def test_modules() -> tuple[Module, ...]:
    """Every test file."""
    return tuple(read_module(path) for path in sorted((ROOT / "tests").rglob("test_*.py")))


test_modules.__test__ = False  # it is no test, whatever its name


@cache
def repository_files() -> tuple[Path, ...]:
    """The files that are committed or would be; in a copy without git, all but what .gitignore's folders hold."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, check=False
    )
    if listed.returncode == 0:
        return tuple(path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file())
    left_out = {
        ".venv",
        ".git",
        "build",
        "dist",
        "demo",
        "__pycache__",
        ".hypothesis",
        ".pytest_cache",
        ".ruff_cache",
        ".tidegate",
    }
    return tuple(
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not left_out & set(path.relative_to(ROOT).parts[:1]) and "__pycache__" not in path.parts
    )


def own_imports(module: Module, node: ast.AST) -> list[str]:
    """The dotted names of our own that an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.split(".")[0] == "tidegate"]
    if isinstance(node, ast.ImportFrom):
        parts = module.name.split(".") if module.path.name == "__init__.py" else module.name.split(".")[:-1]
        above = parts[: len(parts) - node.level + 1] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        if source.split(".")[0] == "tidegate":
            return [f"{source}.{alias.name}" for alias in node.names]
    return []


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    """Every class."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def public_methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The methods of a class that its users call."""
    return [
        item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_")
    ]
