"""What differs between runs, and only that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

import msgspec

from tidegate.records.run import MetricSummary, Run, RunInput
from tidegate.store.ports import Bucket
from tidegate.tracking.rebuild import CodeDiff, diff_code
from tidegate.tracking.system_metrics import machine_last

Section = Literal["metric", "param", "data", "code", "environment", "package", "tag"]
SECTIONS: tuple[Section, ...] = ("metric", "param", "data", "code", "environment", "package", "tag")
"""In the order in which they matter: what came out, what was chosen, what went in, what it ran on."""

_Column = Mapping[str, str]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: a name, and each run's value in the order of the runs (empty where it has none)."""

    section: Section
    name: str
    values: list[str]
    change: str = ""
    """Of two runs: from the first to the second, as a number or a word."""
    best: list[int] = []
    """Of a metric's best or last value: the positions of the runs that have the best one."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The runs, the lines on which they are not all alike, and for two runs what differs in their code."""

    runs: list[str]
    names: list[str]
    differences: list[Difference]
    code: CodeDiff | None = None

    def of(self, section: Section) -> list[Difference]:
        """The lines of one section."""
        return [item for item in self.differences if item.section == section]


def compare(runs: list[Run], code: CodeDiff | None = None) -> Comparison:
    """Compares metrics, parameters (numbers as numbers), input data, code, environment, packages and tags."""
    readers: list[tuple[Section, Callable[[Run], _Column]]] = [
        ("param", lambda run: run.params),
        ("data", lambda run: _data(run.inputs)),
        ("code", _code),
        ("environment", _environment),
        ("package", lambda run: run.environment.packages if run.environment else {}),
        ("tag", lambda run: run.tags),
    ]
    found = _metric_differences(runs)
    for section, read in readers:
        columns = [read(run) for run in runs]
        for name in sorted({key for column in columns for key in column}):
            values = [column.get(name, "") for column in columns]
            numeric = section == "param"  # 1.10 and 1.1 are one number and two versions
            if len({_comparable(value) if numeric and value else value for value in values}) > 1:
                found.append(Difference(section=section, name=name, values=values, change=_change(values, numeric=numeric)))
    return Comparison(runs=[run.id for run in runs], names=[run.name for run in runs], differences=found, code=code)


def compare_runs(runs: list[Run], bucket: Bucket, repository: Path, *, most_lines: int = 400) -> Comparison:
    """``compare``, and for two runs the unified diff of their code, put together from the repository and the stored patches."""
    if len(runs) != 2:
        return compare(runs)
    first, second = runs
    return compare(runs, diff_code(first.environment, second.environment, bucket, repository, most_lines=most_lines))


def groups(values: list[str]) -> list[tuple[str, list[int]]]:
    """Each different value with the positions of the runs that have it: for a table of many runs."""
    found: dict[str, list[int]] = {}
    for position, value in enumerate(values):
        found.setdefault(value, []).append(position)
    return list(found.items())


def _metric_differences(runs: list[Run]) -> list[Difference]:
    found: list[Difference] = []
    readers: list[tuple[str, Callable[[MetricSummary], float]]] = [
        ("", lambda item: item.last),
        (" min", lambda item: item.min),
        (" max", lambda item: item.max),
    ]
    for name in sorted({name for run in runs for name in run.metrics}, key=machine_last):
        machine, _ = machine_last(name)
        summaries = [run.metrics.get(name) for run in runs]
        lower = any(item.lower_is_better for item in summaries if item)
        single = all(item.count == 1 for item in summaries if item)
        for suffix, read in readers[:1] if single else readers:
            numbers = [read(item) if item else None for item in summaries]
            if len({str(number) for number in numbers}) == 1:
                continue
            is_best = not machine and suffix in {"", " min" if lower else " max"}
            label = f"{name}{suffix}{' (best)' if suffix and is_best else ''}"
            found.append(
                Difference(
                    section="metric",
                    name=label,
                    values=_shown(numbers),
                    change=_numeric_change(numbers),
                    best=_best(numbers, lower=lower) if is_best else [],
                )
            )
    return found


def _shown(numbers: list[float | None]) -> list[str]:
    """Six digits, or all of them where six would show two different numbers alike."""
    short = ["" if number is None else f"{number:.6g}" for number in numbers]
    exact = ["" if number is None else repr(number) for number in numbers]
    return short if len(set(short)) == len(set(exact)) else exact


def _best(numbers: list[float | None], *, lower: bool) -> list[int]:
    known = [number for number in numbers if number is not None and number == number]  # noqa: PLR0124 - NaN is not itself
    if len(known) < 2:
        return []
    best = min(known) if lower else max(known)
    return [position for position, number in enumerate(numbers) if number == best]


def _numeric_change(numbers: list[float | None]) -> str:
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return ""
    first, second = numbers[0], numbers[1]
    difference = second - first
    if difference != difference:  # noqa: PLR0124 - NaN is not itself
        return ""
    share = f" ({difference / abs(first):+.1%})" if first and abs(first) != float("inf") else ""
    return f"{difference:+.4g}{share}"


def _change(values: list[str], *, numeric: bool) -> str:
    """From the first of two values to the second: a number, or that it is new or gone."""
    if len(values) != 2:
        return ""
    if not values[0] or not values[1]:
        return "added" if values[1] else "removed"
    first, second = (_number(value) if numeric else None for value in values)
    if first is None or second is None or not (first.is_finite() and second.is_finite()):
        return ""
    try:
        return f"{float(second - first):+.6g}"
    except ArithmeticError:
        return ""


def _comparable(value: str) -> str | Decimal:
    """What makes ``0.10`` and ``1e-1`` the same parameter. Long digits are compared exactly."""
    number = _number(value)
    return value if number is None or number.is_nan() else number


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _data(inputs: list[RunInput]) -> dict[str, str]:
    """``flights-train (training)`` to ``@3 a1b2c3d4e5f6``: versions of one dataset stand on one line."""
    found: dict[str, list[str]] = {}
    for item in (item for item in inputs if item.is_data):
        name, at, version = item.name.partition("@")
        context = item.tags.get("mlflow.data.context", "")
        shown = " ".join(part for part in (at + version, item.digest[:12]) if part)
        found.setdefault(f"{name} ({context})" if context else name, []).append(shown)
    return {name: ", ".join(sorted(values)) for name, values in found.items()}


def _code(run: Run) -> dict[str, str]:
    environment = run.environment
    if environment is None:
        return {}
    changes = {None: "", True: "yes", False: "no"}[environment.git_dirty]
    return {
        "commit": environment.git_commit[:12],
        "branch": environment.git_branch,
        "uncommitted changes": changes,
        "tree": environment.git_tree[:12] or environment.patch_digest[:12],
        "left out": ", ".join(environment.left_out),
        "secrets taken out": ", ".join(environment.redacted),
    }


def _environment(run: Run) -> dict[str, str]:
    environment = run.environment
    if environment is None:
        return {}
    fixed = {
        "command": " ".join(environment.argv),
        "folder": environment.directory,
        "python": f"{environment.implementation} {environment.python}".strip(),
        "platform": environment.platform,
        "processor": environment.processor,
        "processors": str(environment.processors),
        "memory": f"{environment.memory_bytes / 2**30:.1f} GiB",
        "gpus": "; ".join(environment.gpus),
        "gpu driver": environment.gpu_driver,
        "cuda": environment.cuda,
    }
    return (
        {name: value for name, value in fixed.items() if value}
        | {f"lock {name}": digest[:12] for name, digest in environment.lock_files.items()}
        | {f"seed {name}": seed for name, seed in environment.seeds.items()}
        | {f"variable {name}": value for name, value in environment.variables.items()}
        | {f"source of {name}": source for name, source in environment.package_sources.items()}
    )
