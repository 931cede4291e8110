"""Runs: recording, environment capture, search, comparison."""

from tidegate.tracking.active import ActiveRun
from tidegate.tracking.comparison import Comparison, Difference
from tidegate.tracking.environment import git_state
from tidegate.tracking.runs import Runs

__all__ = ["ActiveRun", "Comparison", "Difference", "Runs", "git_state"]
