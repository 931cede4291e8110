"""Rooms and files are named after nouns of the design, never after drawers for odds and ends."""

from __future__ import annotations

from pathlib import Path

from house import classes, source_modules, test_modules

DRAWERS = {"utils", "util", "core", "common", "helpers", "helper", "base", "manager", "managers", "misc"}
SUFFIXES = ("Manager", "Service", "Helper", "Helpers", "Utils", "Util", "Base")


def test_no_module_is_a_drawer() -> None:
    drawers = [module.name for module in source_modules() if DRAWERS & set(module.name.strip("_").replace("._", ".").split("."))]
    assert drawers == []


def test_no_class_is_a_manager() -> None:
    vague = [
        f"{module.at(node)} {node.name}"
        for module in source_modules()
        for node in classes(module.tree)
        if node.name.endswith(SUFFIXES)
    ]
    assert vague == []


def test_unit_tests_stand_in_the_room_that_they_test() -> None:
    rooms = {module.room for module in source_modules()}
    lost = [
        str(module.path)
        for module in test_modules()
        if (place := _unit_folder(module.path)) and place not in rooms | {"foundation"}
    ]
    assert lost == []


def test_test_files_have_names_of_their_own() -> None:
    names = [module.path.name for module in test_modules()]
    assert sorted(names) == sorted(set(names)), "pytest imports them by name: two of the same name are one"


def _unit_folder(path: Path) -> str:
    """``gate`` of tests/unit/gate/test_x.py; empty for a test that stands at the root of tests/unit or elsewhere."""
    parts = path.parts
    if "unit" not in parts or parts[-2] == "unit":
        return ""
    return parts[parts.index("unit") + 1]
