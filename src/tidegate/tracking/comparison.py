"""What differs between runs, and only that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from tidegate.records.run import Run

Section = Literal["param", "tag", "metric", "code", "package"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: a name, and each run's value in the order of the runs (empty where it has none)."""

    section: Section
    name: str
    values: list[str]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The runs, and the lines on which they are not all alike."""

    runs: list[str]
    differences: list[Difference]


def compare(runs: list[Run]) -> Comparison:
    """Compares parameters, tags, the metrics' last values, code (commit and uncommitted changes) and package versions."""
    readers: list[tuple[Section, Callable[[Run], Mapping[str, str]]]] = [
        ("param", lambda run: run.params),
        ("tag", lambda run: run.tags),
        ("metric", lambda run: {name: f"{summary.last:.6g}" for name, summary in run.metrics.items()}),
        ("code", _code),
        ("package", lambda run: run.environment.packages if run.environment else {}),
    ]
    found: list[Difference] = []
    for section, read in readers:
        columns = [read(run) for run in runs]
        for name in sorted({key for column in columns for key in column}):
            values = [column.get(name, "") for column in columns]
            if len(set(values)) > 1:
                found.append(Difference(section=section, name=name, values=values))
    return Comparison(runs=[run.id for run in runs], differences=found)


def _code(run: Run) -> Mapping[str, str]:
    environment = run.environment
    if environment is None:
        return {}
    return {"commit": environment.git_commit[:12], "uncommitted": environment.patch_digest[:12], "python": environment.python}
