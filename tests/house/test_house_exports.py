"""Every room shows its nouns in ``__all__``, and everything that can be imported says what it is."""

from __future__ import annotations

import ast
import importlib
import inspect

import pytest

from house import Module, classes, public_methods, source_modules

ROOMS = sorted({module.room for module in source_modules() if module.path.name == "__init__.py" and module.room})
EXPORTING = [module for module in source_modules() if module.path.name == "__init__.py" and "__all__" in module.text]


@pytest.mark.parametrize("module", EXPORTING, ids=lambda module: module.name)
def test_exports_exist_and_are_documented(module: Module) -> None:
    room = importlib.import_module(module.name)
    exports = list(room.__all__)
    assert len(exports) == len(set(exports))
    missing = [export for export in exports if not hasattr(room, export)]
    assert missing == []
    silent = [
        export
        for export in exports
        if (inspect.isclass(value := getattr(room, export)) or inspect.isfunction(value)) and not inspect.getdoc(value)
    ]
    assert silent == []


LAZY = [module for module in EXPORTING if "tidegate.lazy" in module.text]


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.name)
def test_what_is_loaded_on_demand_is_what_a_type_checker_sees(module: Module) -> None:
    room = importlib.import_module(module.name)
    seen = {
        alias.asname or alias.name
        for block in ast.walk(module.tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == set(room.__dir__())
    assert seen <= set(room.__all__)


def test_every_room_exports_its_nouns() -> None:
    # records and stats are imported from the file of their noun (what is not used is not loaded); a demo and the command line are run, not imported
    closed = [
        room
        for room in ROOMS
        if f"tidegate.{room}" not in {module.name for module in EXPORTING} and room not in {"records", "stats", "cli", "demo"}
    ]
    assert closed == []


def test_methods_are_documented_where_they_stand_or_by_their_port() -> None:
    of_ports = {
        method.name
        for module in source_modules()
        for node in classes(module.tree)
        if any(isinstance(parent, ast.Name) and parent.id == "Protocol" for parent in node.bases)
        for method in public_methods(node)
        if ast.get_docstring(method)
    }
    silent = [
        f"{module.at(method)} {node.name}.{method.name}"
        for module in source_modules()
        for node in classes(module.tree)
        if not node.name.startswith("_")
        for method in public_methods(node)
        if not ast.get_docstring(method) and method.name not in of_ports
    ]
    assert silent == []
