"""A line of the catalogue: a metric under its plain name, for which tasks, and what else its name may say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tidegate.errors import UsageError
from tidegate.gate.metrics.metric import Metric


class Named(NamedTuple):
    """A metric's name, read: ``STEM``, ``STEM@AT`` or ``STEM[PART]@AT``. ``at`` and ``part`` are None where it has none."""

    name: str
    stem: str
    part: str | None
    at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The metric as its plain name gives it, and for which tasks."""

    metric: Metric
    tasks: tuple[str, ...]
    at: Callable[[Metric, Named, str], Metric] | None = None
    """Takes what stands behind ``@`` into account: (metric, name, task); None: nothing may stand there."""
    read: Callable[[Named, str, tuple[tuple[float, ...], ...]], Metric] | None = None
    """In place of ``at``: reads the whole name: (name, task, costs)."""
    costs: bool = False
    """Whether it goes by the costs of a rule."""


def entry(metric: Metric, *tasks: str) -> Entry:
    """A line of a metric whose name says nothing else."""
    return Entry(metric=metric, tasks=tasks)


def takes_none(named: Named) -> UsageError:
    """The refusal of a threshold where none belongs."""
    return UsageError("bad-threshold", f"{named.stem} takes no threshold: {named.name!r}", fix=f"write {named.stem!r}")
