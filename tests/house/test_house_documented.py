"""What a user meets by name stands in the reference: error codes, settings, the words of the design."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from typing import NamedTuple

from house import ROOT, functions, source_modules
from tidegate import errors
from tidegate.settings import Settings

REFERENCE = ROOT / "docs" / "reference"
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.TidegateError)}


class Raised(NamedTuple):
    """Where a code is raised first, and as which class."""

    place: str
    error: str


def raised_codes() -> dict[str, Raised]:
    """Every error code in the source. A function with a parameter ``code`` that it raises is asked at its callers."""
    found: dict[str, Raised] = {}
    wrappers: dict[str, tuple[int, str]] = {}
    for module in source_modules():
        for node in functions(module.tree):
            names = [argument.arg for argument in node.args.args]
            raised = [_name(call.func) for call in _error_calls(node) if call.args and _name(call.args[0]) == "code"]
            if "code" in names and raised:
                wrappers[node.name] = (names.index("code"), raised[0])
    for module in source_modules():
        for node in ast.walk(module.tree):
            kind = (
                next((_name(base) for base in node.bases if _name(base) in ERRORS), "") if isinstance(node, ast.ClassDef) else ""
            )
            for call in ast.walk(node) if kind else ():  # an error with a code of its own: super().__init__("code", ...)
                if isinstance(call, ast.Call) and _name(call.func) == "__init__" and call.args:
                    found.update({code: Raised(module.at(call), kind) for code in _texts(call.args[0])})
            if isinstance(node, ast.Call):
                name = _name(node.func)
                place, error = (0, name) if name in ERRORS else wrappers.get(name, (-1, ""))
                for code in _texts(node.args[place]) if 0 <= place < len(node.args) else []:
                    found.setdefault(code, Raised(module.at(node), error))
    return found


def _error_calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) in ERRORS]


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
    odd = {code: raised for code, raised in raised_codes().items() if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", code)}
    assert odd == {}


def test_every_error_code_is_documented_and_no_other() -> None:
    page = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    codes = [code for code, _ in rows]
    assert codes == sorted(set(codes)), "one row a code, in order"
    raised = raised_codes()
    assert {code: at for code, at in raised.items() if code not in codes} == {}, "add a row to docs/reference/errors.md"
    assert sorted(set(codes) - set(raised)) == [], "nothing raises these any more"


def test_an_error_is_raised_with_its_code_in_plain_sight() -> None:
    """A literal, a parameter called ``code`` (its literals are looked for at the callers), or another error's code."""
    hidden = [
        module.at(node)
        for module in source_modules()
        for node in _error_calls(module.tree)
        if not (node.args and (_texts(node.args[0]) or _name(node.args[0]) == "code"))
    ]
    assert hidden == [], "write the code where the error is raised, so that it can be found and documented"


def test_commands_and_settings_are_documented_as_they_are() -> None:
    done = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_that_a_message_names_exist() -> None:
    named = {(page, module.name) for module in source_modules() for page in re.findall(r"docs/[\w/-]+\.md", module.text)}
    assert sorted((page, name) for page, name in named if not (ROOT / page).exists()) == []


def test_every_setting_has_a_meaning() -> None:
    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert silent == []


def test_every_room_stands_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {module.room for module in source_modules() if module.room}
    assert [room for room in sorted(rooms) if not re.search(rf"\b{room}\b", text)] == []
    assert text.count("\n") <= 170
