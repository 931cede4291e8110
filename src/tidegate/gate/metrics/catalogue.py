"""The metrics that a rule may name, by task, and how a name is read: ``STEM``, ``STEM@NUMBER`` or ``STEM[CLASS]@NUMBER``.

Each family of metrics (one file beside this one) brings its lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tidegate.errors import UsageError
from tidegate.gate.metrics import calibration, counting, means, ranks, retrieval, scores
from tidegate.gate.metrics.custom import check_target, is_target, load_metric
from tidegate.gate.metrics.entry import Entry, Named, takes_none
from tidegate.gate.metrics.metric import Metric
from tidegate.records.names import nearest

_NAME = re.compile(r"(?P<stem>[^@\[\]]*)(?:\[(?P<part>[^\]]*)\])?(?:@(?P<at>.*))?", re.DOTALL)

CATALOGUE: dict[str, Entry] = {
    entry.metric.name: entry
    for entry in (*counting.ENTRIES, *ranks.ENTRIES, *calibration.ENTRIES, *means.ENTRIES, *scores.ENTRIES)
}
"""Of every task but rankings, whose ``precision`` and ``recall`` are others: see ``retrieval.RANKED``."""


def metric_names(task: str) -> list[str]:
    """Names of the metrics of a task, sorted."""
    return sorted(name for name, entry in _entries(task).items() if task in entry.tasks)


def _entries(task: str) -> dict[str, Entry]:
    return retrieval.RANKED if task == "ranking" else CATALOGUE


def check_metric(name: str, task: str, costs: Sequence[Sequence[float]] = ()) -> None:
    """Refuses what ``parse_metric`` refuses, but imports no code that the name may mean.

    Raises:
        UsageError: as ``parse_metric``.
    """
    if is_target(name):
        check_target(name, task)
        _refuse_costs(name, costs)
    else:
        parse_metric(name, task, costs)


def parse_metric(name: str, task: str, costs: Sequence[Sequence[float]] = ()) -> Metric:
    """The metric that a rule names, such as ``log_loss``, ``f1`` (at 0.5), ``recall@0.3``, ``recall[late]`` or ``module:function``.

    Args:
        name: The metric's name.
        task: The task.
        costs: The rule's costs, where it has some: a line for each true class, a column for each decision.

    Raises:
        UsageError: no such metric for this task, a class or threshold where none belongs, a threshold outside (0, 1], costs that
            are missing, misshapen, or not asked for.
        BadInputError: the name is ``module:function``, and that cannot be imported or used.
    """
    if is_target(name):
        _refuse_costs(name, costs)
        return load_metric(name, task)
    named = _read(name)
    entry = _entries(task).get(named.stem) or counting.family(named.stem)
    if entry is None or task not in entry.tasks:
        known = metric_names(task)
        why = f"{named.stem} is for {', '.join(entry.tasks)}" if entry else nearest(named.stem, known) if known else ""
        raise UsageError(
            "unknown-metric",
            f"there is no metric {name!r} for task {task!r}",
            why=why,
            fix=f"use one of: {', '.join(known)}" if known else "this version judges the tasks binary, multiclass and regression",
        )
    if not entry.costs:
        _refuse_costs(named.stem, costs)
    if entry.read is not None:
        return entry.read(named, task, tuple(tuple(float(value) for value in line) for line in costs))
    if named.part is not None:
        raise UsageError("bad-metric", f"{named.stem} takes no class: {name!r}", fix=f"write {named.stem!r}")
    if named.at is None:
        return entry.metric
    if entry.at is None:
        raise takes_none(named)
    return entry.at(entry.metric, named, task)


def _read(name: str) -> Named:
    match = _NAME.fullmatch(name)
    if match is None:
        return Named(name, name, None, None)
    return Named(name, match["stem"], match["part"], match["at"])


def _refuse_costs(name: str, costs: Sequence[Sequence[float]]) -> None:
    if costs:
        raise UsageError(
            "bad-costs", f"{name} does not go by costs", fix="remove costs, or use the metric expected_cost or utility"
        )
