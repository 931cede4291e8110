"""Runs every bench_*.py beside this file, prints one Markdown table and writes it to RESULTS.md.

A benchmark is a module with a docstring and ``measure() -> list[Row]``. ``bench.py start`` runs bench_start.py alone
(and writes nothing). The exit code is 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from pathlib import Path

from measure import Row

HERE = Path(__file__).parent


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
    parts = [_machine()]
    broken = 0
    for name in chosen or names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        module = importlib.import_module(f"bench_{name}")
        if name == "gate" and given.stream_rows:
            module.STREAM_ROWS = given.stream_rows
        rows = module.measure()
        broken += sum(not row.holds for row in rows)
        parts.append(f"## {name}\n\n{module.__doc__.strip()}\n\n{_table(rows)}")
    text = "\n\n".join(parts)
    print(text)
    if not chosen:
        (HERE / "RESULTS.md").write_text(f"# Benchmarks\n\nWritten by `make bench`; do not edit.\n\n{text}\n", encoding="utf-8")
    return int(broken > 0)


def _machine() -> str:
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}, {platform.system()}."


def _table(rows: list[Row]) -> str:
    lines = ["| what | median | middle half | promise | |", "|---|---:|---:|---:|---|"]
    for row in rows:
        promise = "" if row.budget is None else f"{'<=' if row.holds else 'BROKEN: <='} {row.budget:g} {row.unit}"
        lines.append(f"| {row.name} | {row.value:.1f} {row.unit} | {row.spread} | {promise} | {row.note} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
