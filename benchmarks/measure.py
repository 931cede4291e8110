"""What a benchmark returns, and how to time honestly: many runs, taken in turn, told as a median with its spread."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One measured number. ``budget`` is what we promise (None: nothing); ``note`` says what it stands beside."""

    name: str
    value: float
    unit: str
    spread: str = ""
    budget: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.budget is None or self.value <= self.budget


def time_in_turn(tasks: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of every task, round by round, so that a slow minute of the machine hits all of them alike.

    One unmeasured round comes first and warms the file cache.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def command(*arguments: str) -> Callable[[], object]:
    """A task that runs a command to its end and fails if the command does."""

    def run() -> object:
        return subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)

    return run


def python(code: str) -> Callable[[], object]:
    """A task that runs ``code`` in a fresh interpreter."""
    return command(sys.executable, "-c", code)


def spread(values: Sequence[float], *, scale: float = 1.0) -> str:
    """The middle half of the values: ``12.1 to 12.9``."""
    low, _, high = statistics.quantiles(values, n=4)
    return f"{figure(low * scale)} to {figure(high * scale)}"


def figure(value: float) -> str:
    """A number for the table: two digits after the point below 1, else one."""
    return f"{value:.2f}" if abs(value) < 1 else f"{value:.1f}"
