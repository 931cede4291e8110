"""Points of metrics as they come from a file, gathered into columns."""

from __future__ import annotations

import numpy as np

from tidegate.records.run import Series
from tidegate.tracking.values import MAX_STEP

_Columns = tuple[list[int], list[int], list[float]]


class PointList:
    """Points of one run in the order of the source."""

    def __init__(self) -> None:
        self._columns: dict[str, _Columns] = {}

    def add(self, metric: str, step: int, at: int, value: float) -> None:
        """Adds a point; ``at`` in microseconds UTC.

        Raises:
            ValueError: step or time have more than 64 bits.
        """
        if not -MAX_STEP <= step <= MAX_STEP or not -MAX_STEP <= at <= MAX_STEP:
            raise ValueError(f"step {step} or time {at} has more than 64 bits")
        steps, times, values = self._columns.setdefault(metric, ([], [], []))
        steps.append(step)
        times.append(at)
        values.append(value)

    def __contains__(self, metric: str) -> bool:
        return metric in self._columns

    @property
    def last_at(self) -> int:
        """The latest time; 0 without points."""
        return max((max(times) for _, times, _ in self._columns.values()), default=0)

    @property
    def first_at(self) -> int:
        """The earliest time; 0 without points."""
        return min((min(times) for _, times, _ in self._columns.values()), default=0)

    @property
    def last_step(self) -> int:
        """The greatest step; 0 without points."""
        return max((max(steps) for steps, _, _ in self._columns.values()), default=0)

    def series(self) -> list[Series]:
        """The columns of each metric, by name."""
        return [
            Series(metric, np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))
            for metric, (steps, times, values) in sorted(self._columns.items())
        ]
