"""Runs every bench_*.py beside this file, prints one Markdown table and writes it to RESULTS.md.

A benchmark is a module with a docstring and ``measure() -> list[Row]``. ``bench.py start`` runs bench_start.py alone and replaces its
part of the page. The exit code is 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from pathlib import Path

from measure import Row, figure

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"


def main() -> int:
    """Runs what is asked for; see the module's text."""
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of: {', '.join(names)} (default: all)")
    parser.add_argument("--stream-rows", type=int, default=0, help="rows of the file that gate streams (default: 100 million)")
    given = parser.parse_args()
    chosen = given.names
    if unknown := set(chosen) - set(names):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    parts: dict[str, str] = {}
    broken = 0
    for name in chosen or names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        module = importlib.import_module(f"bench_{name}")
        if name == "gate" and given.stream_rows:
            module.STREAM_ROWS = given.stream_rows
        rows = module.measure()
        broken += sum(not row.holds for row in rows)
        parts[name] = f"## {name}\n\n{module.__doc__.strip()}\n\n{_table(rows)}\n"
    print("\n".join(parts.values()))
    _write(RESULTS, parts)
    return int(broken > 0)


def _write(path: Path, parts: dict[str, str]) -> None:
    """Puts the parts that were measured into the page; the others stay as they were."""
    kept = path.read_text(encoding="utf-8").split("\n## ")[1:] if path.exists() else []
    every = {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in kept} | parts
    text = "\n".join(every[name] for name in sorted(every))
    path.write_text(f"# Benchmarks\n\nWritten by `make bench`; do not edit.\n\n{_machine()}\n\n{text}", encoding="utf-8")


def _machine() -> str:
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}, {platform.system()}."


def _table(rows: list[Row]) -> str:
    lines = ["| what | median | middle half | promise | |", "|---|---:|---:|---:|---|"]
    for row in rows:
        promise = "" if row.budget is None else f"{'<=' if row.holds else 'BROKEN: <='} {row.budget:g} {row.unit}"
        lines.append(f"| {row.name} | {figure(row.value)} {row.unit} | {row.spread} | {promise} | {row.note} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
