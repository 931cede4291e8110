"""Nothing grows a tail: limits on the longest module, function and class."""

from __future__ import annotations

from house import classes, functions, public_methods, source_modules

MODULE_LINES = 600
FUNCTION_LINES = 80
PUBLIC_METHODS = 20


def test_modules_fit_on_a_few_screens() -> None:
    long = {str(module.path): lines for module in source_modules() if (lines := module.text.count("\n")) > MODULE_LINES}
    assert long == {}, "split them by noun"


def test_functions_fit_on_one_screen() -> None:
    long = {
        f"{module.at(node)} {node.name}": lines
        for module in source_modules()
        for node in functions(module.tree)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    }
    assert long == {}, "a part of it has a name"


def test_classes_are_small() -> None:
    large = {
        f"{module.at(node)} {node.name}": count
        for module in source_modules()
        for node in classes(module.tree)
        if (count := len(public_methods(node))) > PUBLIC_METHODS
    }
    assert large == {}, "it holds more than one noun"


def test_the_scan_sees_the_house() -> None:
    assert len(source_modules()) > 40
    assert {"records", "store", "gate", "release"} <= {module.room for module in source_modules()}
