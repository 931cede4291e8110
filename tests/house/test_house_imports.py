"""What import-linter cannot see: hidden imports, the root package used from inside, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib

import pytest

from house import ROOT, Module, functions, own_imports, source_modules

HEAVY = {"alembic", "duckdb", "numpy", "pandas", "pyarrow", "pydantic", "rich", "scipy", "sklearn", "sqlalchemy", "typer", "yaml"}
OF_EXTRAS = {
    "fastapi",
    "httptools",
    "onnx",
    "onnxruntime",
    "orjson",
    "plotly",
    "skl2onnx",
    "sklearn",
    "skops",
    "starlette",
    "uvicorn",
    "uvloop",
}


def test_no_function_imports_our_own_modules() -> None:
    hidden = [
        module.at(node)
        for module in source_modules()
        for function in functions(module.tree)
        for node in ast.walk(function)
        if own_imports(module, node)
    ]
    assert hidden == [], "import at the top; if that makes a cycle, something lives in the wrong room"


def test_nobody_inside_imports_the_root_package() -> None:
    children = {module.name.split(".")[1] for module in source_modules() if module.name.count(".") >= 1}
    rooted = [
        module.at(node)
        for module in source_modules()
        if module.room != "demo"  # the demo plays the user
        for node in ast.walk(module.tree)
        for name in own_imports(module, node)
        if name == "tidegate" or name.split(".")[1] not in children
    ]
    assert rooted == []


def test_imports_for_types_alone_go_down_too() -> None:
    """import-linter does not look under TYPE_CHECKING, so nothing may climb up there."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    row = {room.strip(): depth for depth, rooms in enumerate(contracts[0]["layers"]) for room in rooms.split("|")}
    climbing = [
        f"{module.at(node)} {name}"
        for module in source_modules()
        if module.room  # the root package shows types of every room
        for block in ast.walk(module.tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
        for name in own_imports(module, node)
        if (room := name.split(".")[1]) != module.room and row[room] <= row[module.room]
    ]
    assert climbing == []


def test_the_root_package_loads_nothing_heavy() -> None:
    assert _loaded("import tidegate") & HEAVY == set()


@pytest.mark.parametrize("room", ["serving", "release", "monitoring"])
def test_rooms_of_a_serving_container_never_load_the_database(room: str) -> None:
    names = [module.name for module in source_modules() if module.room == room]
    loaded = _loaded("; ".join(f"import {name}" for name in names))
    assert f"tidegate.{room}" in loaded
    assert loaded & {"sqlalchemy", "alembic", "typer"} == set()


def test_rooms_can_be_imported_without_the_extras() -> None:
    rooms = sorted(
        {
            f"tidegate.{module.room}"
            for module in source_modules()
            if module.room and module.room not in {"__main__", "demo", "server", "serving"}
        }
    )
    assert _loaded("; ".join(f"import {room}" for room in rooms)) & OF_EXTRAS == set()


def test_help_loads_no_numerics_and_no_database() -> None:
    loaded = _loaded(
        "import sys; from tidegate.cli import main; sys.argv = ['tidegate', '--help']\ntry: main()\nexcept SystemExit: pass"
    )
    assert "typer" in loaded
    assert loaded & (HEAVY - {"typer", "rich"} | OF_EXTRAS) == set()


def test_the_scan_finds_what_it_looks_for() -> None:
    text = "def f():\n    from tidegate.gate import check\n    from ..store import ports\n    import numpy\n"
    module = Module(source_modules()[0].path.with_name("x.py"), "tidegate.loop.x", text, ast.parse(text))
    found = [name for node in ast.walk(module.tree) for name in own_imports(module, node)]
    assert found == ["tidegate.gate.check", "tidegate.store.ports"]


def _loaded(code: str) -> set[str]:
    """The modules that are there after ``code`` ran in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint('\\n'.join(['', '--loaded--', *sys.modules]))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("--loaded--\n")[1].split("\n"))
