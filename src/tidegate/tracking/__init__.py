"""Runs: recording, environment capture, search, comparison."""

from tidegate.tracking.active import ActiveRun
from tidegate.tracking.code import GitState, git_state
from tidegate.tracking.comparison import Comparison, Difference
from tidegate.tracking.lost import lost_of_runs
from tidegate.tracking.runs import Runs
from tidegate.tracking.starting import Place, Wanted, open_in_time, start_run
from tidegate.tracking.sync import Shipped, Sync, SyncReport

__all__ = [
    "ActiveRun",
    "Comparison",
    "Difference",
    "GitState",
    "Place",
    "Runs",
    "Shipped",
    "Sync",
    "SyncReport",
    "Wanted",
    "git_state",
    "lost_of_runs",
    "open_in_time",
    "start_run",
]
