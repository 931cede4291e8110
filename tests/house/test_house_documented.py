"""What a user meets by name stands in the reference: error codes, settings, the words of the design."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

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


def test_an_error_is_raised_with_its_code_in_plain_sight() -> None:
    hidden = [
        module.at(node)
        for module in source_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _name(node.func) in ERRORS and not (node.args and _texts(node.args[0]))
    ]
    assert hidden == [], "write the code where the error is raised, so that it can be found and documented"


def test_commands_and_settings_are_documented_as_they_are() -> None:
    done = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_has_a_meaning() -> None:
    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert silent == []


def test_every_room_stands_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {module.room for module in source_modules() if module.room}
    assert [room for room in sorted(rooms) if not re.search(rf"\b{room}\b", text)] == []
    assert text.count("\n") <= 150
