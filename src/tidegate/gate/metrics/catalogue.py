"""The metrics that a rule may name, by task, and how a name is read: ``STEM``, ``STEM@NUMBER`` or ``STEM[CLASS]@NUMBER``.

Each family of metrics (one file beside this one) brings its lines.
"""

from __future__ import annotations

import re

from tidegate.errors import UsageError
from tidegate.gate.metrics import counting, means, ranks
from tidegate.gate.metrics.entry import Entry, Named, takes_none
from tidegate.gate.metrics.metric import Metric
from tidegate.records.names import nearest

_NAME = re.compile(r"(?P<stem>[^@\[\]]*)(?:\[(?P<part>[^\]]*)\])?(?:@(?P<at>.*))?", re.DOTALL)

CATALOGUE: dict[str, Entry] = {entry.metric.name: entry for entry in (*counting.ENTRIES, *ranks.ENTRIES, *means.ENTRIES)}


def metric_names(task: str) -> list[str]:
    """Names of the metrics of a task, sorted."""
    return sorted(name for name, entry in CATALOGUE.items() if task in entry.tasks)


def parse_metric(name: str, task: str) -> Metric:
    """The metric that a rule names, such as ``log_loss``, ``f1`` (at 0.5) or ``recall@0.3``.

    Raises:
        UsageError: no such metric for this task, a threshold where none belongs, or one outside (0, 1].
    """
    named = _read(name)
    entry = CATALOGUE.get(named.stem)
    if entry is None or task not in entry.tasks:
        known = metric_names(task)
        why = f"{named.stem} is for {' and '.join(entry.tasks)}" if entry else nearest(named.stem, known) if known else ""
        raise UsageError(
            "unknown-metric",
            f"there is no metric {name!r} for task {task!r}",
            why=why,
            fix=f"use one of: {', '.join(known)}" if known else "this version judges the tasks binary, multiclass and regression",
        )
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
