"""The tests themselves: each can fail, and none plays with dolls."""

from __future__ import annotations

import ast

from house import functions, test_modules

ASSERTING = ("assert", "check", "expect", "raises", "warns", "fails", "verify", "must")


def test_every_test_asserts_something() -> None:
    silent = []
    for module in test_modules():
        asserting = {node.name for node in functions(module.tree) if not node.name.startswith("test_") and _asserts(node, set())}
        silent += [
            f"{module.at(node)} {node.name}"
            for node in functions(module.tree)
            if node.name.startswith("test_") and not _asserts(node, asserting)
        ]
    assert silent == []


def test_no_test_uses_mocks() -> None:
    mocked = [
        module.at(node)
        for module in test_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and "mock" in ast.dump(node)
    ]
    assert mocked == []


def test_the_scan_sees_a_test_that_asserts_nothing() -> None:
    empty, real = ast.parse("def test_a():\n    f()\n\ndef test_b():\n    with pytest.raises(E):\n        f()\n").body
    assert not _asserts(empty, set())
    assert _asserts(real, set())


def _asserts(function: ast.AST, asserting: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = (
                node.func.id
                if isinstance(node.func, ast.Name)
                else node.func.attr
                if isinstance(node.func, ast.Attribute)
                else ""
            )
            if called in asserting or called.lstrip("_").startswith(ASSERTING):
                return True
    return False
