"""A run: one tracked execution with parameters, metrics, artifacts and environment."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray


class RunState(StrEnum):
    """SCHEDULED and RUNNING go to one of the others; a resumed run goes back to RUNNING."""

    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    CRASHED = "CRASHED"
    """Nobody ended it: its process died, or was not heard of for too long."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected of the run."""
        return self not in {RunState.SCHEDULED, RunState.RUNNING}


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to run the same thing again. What could not be captured is empty, and a note says why."""

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
    git_base: str = ""
    """The commit that the patch starts from; empty: from nothing."""
    git_remote: str = ""
    """The address of a remote that has ``git_base``; empty if only the run's own repository has it."""
    git_tree: str = ""
    """The git tree of the code as it was: what ``git write-tree`` says of base and patch."""
    git_hidden: list[str] = []
    """Files that the patch takes for empty in the base, because it would show a secret, or too much, that is no longer there."""
    patch_digest: str = ""
    """Digest of the object with the patch, compressed with zlib. Without ``git_tree`` (old runs): plain, from ``git_commit``."""
    patch_note: str = ""
    """Why no code, or not all of it, was captured."""
    left_out: list[str] = []
    """Files that the captured code lacks, each with the reason."""
    redacted: list[str] = []
    """Where secrets were taken out: path, line and kind, never the value."""
    variables: dict[str, str] = {}
    """Environment variables from a short list that change results or say where the run was; no others."""
    lock_files: dict[str, str] = {}
    """File name to digest of the object with its content."""
    package_sources: dict[str, str] = {}
    """Packages that come from elsewhere than an index: a folder, a repository with its commit, an address."""
    implementation: str = ""
    processor: str = ""
    gpus: list[str] = []
    gpu_driver: str = ""
    cuda: str = ""
    seeds: dict[str, str] = {}
    """Seeds that were visible when the run began, by library."""


class MetricSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one run in a few numbers. NaN is a value, but neither the least nor the greatest."""

    name: str
    count: int
    last: float
    """The value of the greatest (step, time, value), not of the last write."""
    last_step: int
    last_at: int
    min: float
    max: float
    lower_is_better: bool

    @property
    def best(self) -> float:
        """The least value where lower is better, else the greatest."""
        return self.min if self.lower_is_better else self.max


class Series(NamedTuple):
    """Points of one metric as columns of equal length: steps and times (int64), values (float64)."""

    metric: str
    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)


class Bucketed(NamedTuple):
    """An exact envelope of a curve as columns: each point of the series lies in exactly one of its stretches.

    Stretch ``i`` holds ``counts[i]`` points of steps ``first[i]`` to ``last[i]``; ``low`` and ``high`` are their least and
    greatest value (NaN where all are NaN), ``close`` is the last one. Where every stretch is one point, this is the curve.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    counts: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    close: NDArray[np.float64]
    times: NDArray[np.int64]
    """The greatest time in each stretch, microseconds UTC."""


_LOWER = re.compile(
    r"(?:^|[^a-z])(?:loss|error|err|rmse|mse|mae|mape|brier|perplexity|ppl|wer|cer|fid|logloss|pinball|latency|seconds|ms"
    r"|bytes|cost|regret|divergence|kl|nll|ece)(?:$|[^a-z])"
)


def lower_is_better(metric: str) -> bool:
    """What a metric's name says of its direction: ``val_loss`` and ``rmse`` down, everything else up."""
    return _LOWER.search(metric.lower()) is not None


class RunInput(msgspec.Struct, frozen=True, kw_only=True):
    """Data that a run read: ``flights-train@3`` with its digest, or what an MLflow client logged as a dataset."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: dict[str, str] = {}
    """``mlflow.data.context`` says training, validation or test."""

    @property
    def is_data(self) -> bool:
        """False of a link to a logged model: MLflow keeps those beside the data that a run read."""
        return not self.source_type.startswith("mlflow.model-")


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file that belongs to a run (or a logged model, or a trace): its path there, SHA-256 and size in bytes."""

    path: str
    digest: str
    size: int


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """A named series of runs. ``deleted_at`` is None while it is not deleted; times are microseconds UTC."""

    id: int
    name: str
    created_at: int
    updated_at: int
    deleted_at: int | None = None
    location: str = ""
    """Where an MLflow client keeps the artifacts by itself; empty: they come to the store."""
    tags: dict[str, str] = {}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the store knows it. Times are microseconds UTC; ``ended_at`` is None while it runs."""

    id: str
    experiment: str
    name: str
    state: RunState
    started_at: int
    ended_at: int | None = None
    heard_at: int = 0
    """When the run's process was last heard of: a running run that is silent for too long becomes CRASHED."""
    deleted_at: int | None = None
    author: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: dict[str, MetricSummary] = {}
    artifacts: dict[str, str] = {}
    """Artifact path to SHA-256 of its bytes."""
    inputs: list[RunInput] = []
    environment: Environment | None = None
