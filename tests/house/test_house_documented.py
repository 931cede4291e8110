"""What a user meets by name stands in the reference: error codes, settings, the words of the design."""

from __future__ import annotations

import ast
import re

from house import ROOT, source_modules
from tidegate import errors
from tidegate.settings import Settings

REFERENCE = ROOT / "docs" / "reference"
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.TidegateError)}


def raised_codes() -> dict[str, str]:
    """Every error code in the source, and a place where it is raised."""
    found: dict[str, str] = {}
    for module in source_modules():
        for node in ast.walk(module.tree):
            if not (isinstance(node, ast.Call) and _name(node.func) in ERRORS and node.args):
                continue
            for code in _texts(node.args[0]):
                found.setdefault(code, module.at(node))
    return found


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _texts(node: ast.expr) -> list[str]:
    """The literal codes that an expression can be: one text, or either side of a condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    return []


def test_error_codes_are_stable_words() -> None:
    odd = {code: place for code, place in raised_codes().items() if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", code)}
    assert odd == {}


def test_every_error_code_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", (REFERENCE / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == sorted(set(rows)), "one row a code, in order"
    raised = raised_codes()
    assert {code: place for code, place in raised.items() if code not in rows} == {}, "add a row to docs/reference/errors.md"
    assert sorted(set(rows) - set(raised)) == [], "nothing raises these any more"


def test_every_setting_is_documented() -> None:
    page = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `{name}` | `TIDEGATE_{name.upper()}` |" in page, f"add {name} to docs/reference/settings.md"


def test_every_room_stands_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {module.room for module in source_modules() if module.room}
    assert [room for room in sorted(rooms) if not re.search(rf"\b{room}\b", text)] == []
    assert text.count("\n") <= 150
