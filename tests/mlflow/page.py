"""The tables of ``docs/reference/mlflow-compatibility.md`` out of the code: ``python tests/mlflow/page.py`` writes them again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from differences import DIFFERENCES

from tidegate.server.mlflow import mlflow_routes
from tidegate.workspace import Workspace

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mlflow-compatibility.md"
ROUTES = ("<!-- routes: written by tests/mlflow/page.py -->", "<!-- end of routes -->")
KNOWN = ("<!-- differences: written by tests/mlflow/page.py -->", "<!-- end of differences -->")


def routes_table() -> str:
    """Every route that clients reach, by the module that answers it; ``/ajax-api`` twins are left out."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(folder)
        try:
            rows = {
                (path.split("/api/")[-1] if "/api/" in path else path, path, method)
                for route in mlflow_routes(workspace)
                for path in [str(getattr(route, "path", ""))]
                for method in sorted(getattr(route, "methods", None) or set())
                if not path.startswith("/ajax-api/") and method != "HEAD"
            }
        finally:
            workspace.store.close()
    lines = [f"| {method} | `{path}` |" for _, path, method in sorted(rows)]
    return "\n".join(["| method | path |", "|---|---|", *lines])


def differences_table() -> str:
    """Every declared difference: where a script sees it, with which clients, and why it is so."""
    lines = [
        f"| {one.script} | {one.step.replace('|', chr(92) + '|')} | {' and '.join(_VERSIONS[client] for client in one.clients)} | {one.why} |"
        for one in sorted(DIFFERENCES, key=lambda one: (one.script, one.step))
    ]
    return "\n".join(["| script | what is done | clients | why |", "|---|---|---|---|", *lines])


_VERSIONS = {"2": "2.22", "3": "3.18"}


def written(text: str, marks: tuple[str, str], table: str) -> str:
    """The page with one of its tables in place."""
    before, _, rest = text.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    return f"{before}{marks[0]}\n\n{table}\n\n{marks[1]}{after}"


def whole(text: str) -> str:
    """The page with both tables in place."""
    return written(written(text, ROUTES, routes_table()), KNOWN, differences_table())


if __name__ == "__main__":
    PAGE.write_text(whole(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
