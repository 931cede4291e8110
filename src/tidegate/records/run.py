"""A run: one tracked execution with parameters, metrics, artifacts and environment."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class RunState(StrEnum):
    """RUNNING goes to one of the others, once."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to run the same thing again."""

    argv: list[str]
    directory: str
    python: str
    platform: str
    processors: int
    memory_bytes: int
    packages: dict[str, str]
    git_commit: str = ""
    git_branch: str = ""
    git_dirty: bool | None = None
    """None where there is no git repository."""
    patch_digest: str = ""
    """Digest of the object that holds the uncommitted changes, untracked files included."""


class MetricSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one run in five numbers; ``last`` is the value at the greatest step."""

    name: str
    count: int
    last: float
    last_step: int
    min: float
    max: float


class MetricPoint(msgspec.Struct, frozen=True, array_like=True):
    """One logged value: step, time in microseconds UTC, value (NaN and infinities are values)."""

    metric: str
    step: int
    at: int
    value: float


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the store knows it. Times are microseconds UTC; ``ended_at`` is None while it runs."""

    id: str
    experiment: str
    name: str
    state: RunState
    started_at: int
    ended_at: int | None = None
    author: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: dict[str, MetricSummary] = {}
    artifacts: dict[str, str] = {}
    """Artifact path to SHA-256 of its bytes."""
    environment: Environment | None = None
