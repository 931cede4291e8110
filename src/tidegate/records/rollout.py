"""A rollout: the plan that a team declares, and what one look at the evidence found."""

from __future__ import annotations

import math
from enum import StrEnum
from itertools import pairwise
from typing import Literal

import msgspec

from tidegate.clock import parse_duration
from tidegate.errors import UsageError
from tidegate.records.names import nearest

Mode = Literal["shadow", "canary", "ab"]

DEFAULT_STEPS: dict[str, list[float]] = {"shadow": [0.0], "canary": [0.0, 0.05, 0.25, 0.5], "ab": [0.5]}
HARM_METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("accuracy", "brier", "log_loss"),
    "multiclass": ("accuracy",),
    "regression": ("mae", "mse"),
}
"""What a single labelled request says about a model, by task: the metrics that are a mean over rows."""
KEY_KINDS = ("header", "parameter", "column")

_LEAST_CONFIDENCE, _HIGHEST_CONFIDENCE = 0.5, 0.999999


class RolloutPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME.rollout]``: how a version gets live requests, and what stops it."""

    mode: Mode = "canary"
    """``shadow``: the candidate answers the same requests, unseen. ``canary``: it answers a growing share of keys, and the other model
    the same requests, unseen. ``ab``: it answers a share of keys, and nobody else those: for labels that the answer itself changes."""
    steps: list[float] = []
    """Shares of keys that the candidate answers, never falling; 0 is shadow. Empty: ``[0]``, ``[0, 0.05, 0.25, 0.5]`` or ``[0.5]``."""
    minimum_samples: int = 1000
    """So many rows must have been answered by the candidate at a step before the next one."""
    minimum_duration: str = "1h"
    """So long a step lasts at least."""
    maximum_duration: str = "14d"
    """Whoever is not through by then is stopped as undecided."""
    harm: dict[str, float] = {}
    """By how much the candidate may be worse than the champion, by metric, in its unit: ``{ brier = 0.01 }``. Needs labels."""
    label_maturity: str = "1d"
    """How long after an answer its label counts; a row is scored when that has passed, not before."""
    max_error_increase: float = 0.01
    """By how much the share of requests that end in an error may grow."""
    latency_p99_ms: float = 100.0
    """What the candidate's 99th percentile of a call may be, in milliseconds."""
    max_disagreement: float = 0.25
    """Largest share of rows on which the two models may decide differently."""
    disagreement_tolerance: float = 0.0
    """Regression: predictions this close agree. 0: disagreement of numbers is not looked at."""
    confidence: float = 0.95
    """Of all conditions together and all looks together: a harmless candidate is stopped as harmful with 1 - confidence at most."""
    key: str = ""
    """What stays with one model: ``header:NAME``, ``parameter:NAME`` or ``column:NAME``. Empty: every request for itself."""

    @property
    def shares(self) -> list[float]:
        """The steps, as declared or by default."""
        return self.steps or DEFAULT_STEPS[self.mode]


class Answer(StrEnum):
    """What a look finds about one condition."""

    HELD = "held"
    """The whole interval lies within the bound."""
    OPEN = "open"
    """The interval holds the bound, or there is none yet. Never success."""
    HARM = "harm"
    """The whole interval lies beyond the bound."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of a rollout: an estimate with its confidence sequence, and the bound it is held against."""

    name: str
    """A metric of ``harm``, or ``errors``, ``latency_p99_ms``, ``disagreement``."""
    answer: Answer
    rows: int
    bound: float
    value: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """How keys came to the two models while one share was declared. A key counts once, at the step at which it was first seen."""

    share: float
    keys: int
    candidate: int
    """Of the keys those that the candidate answered."""


Action = Literal["continue", "advance", "stop", "done"]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at a rollout found, and what follows."""

    model: str
    version: int
    rollout: int
    """Sequence number of the ledger entry that started it."""
    at: int
    mode: Mode
    step: int
    share: float
    action: Action
    outcome: str = ""
    """Of a stop: ``harmful``, ``invalid`` or ``undecided``."""
    sentence: str
    conditions: list[Condition]
    rows: int
    """Rows that the candidate answered at this step."""
    matured: int = 0
    """Rows with a label that counts."""
    dropped: int = 0
    """Rows that the servers could not pair: their queue was full."""
    splits: list[Split] = []
    imbalance: float = 0.0
    """The evidence (its logarithm) that keys did not come by the declared shares, as a part of what ends the rollout: 1 does."""


def check_rollout(policy: RolloutPolicy, task: str, where: str) -> None:
    """Refuses a plan that cannot be followed.

    Raises:
        UsageError: a share, number, duration, metric or key is not one; the error names the nearest valid word.
    """
    _check_steps(policy, where)
    for name in ("minimum_duration", "maximum_duration", "label_maturity"):
        _duration(getattr(policy, name), f"{where}.{name}")
    if policy.harm and parse_duration(policy.label_maturity) >= parse_duration(policy.maximum_duration):
        why = "no label would count before it is stopped as undecided"
        raise _bad(f"{where}.label_maturity", policy.label_maturity, why, "make it shorter than maximum_duration")
    for name in ("max_error_increase", "max_disagreement"):
        if not 0 < getattr(policy, name) <= 1:
            raise _bad(f"{where}.{name}", getattr(policy, name), "it is a share of rows", "write a number above 0, at most 1")
    if not (math.isfinite(policy.latency_p99_ms) and policy.latency_p99_ms > 0):
        raise _bad(f"{where}.latency_p99_ms", policy.latency_p99_ms, "it is a time in milliseconds", "write 100")
    if not (math.isfinite(policy.disagreement_tolerance) and policy.disagreement_tolerance >= 0):
        raise _bad(f"{where}.disagreement_tolerance", policy.disagreement_tolerance, "it is a distance", "write 0 or more")
    if policy.minimum_samples < 1:
        raise _bad(f"{where}.minimum_samples", policy.minimum_samples, "it counts rows", "write 1 or more")
    if not _LEAST_CONFIDENCE <= policy.confidence <= _HIGHEST_CONFIDENCE:
        why = f"it lies from {_LEAST_CONFIDENCE} to {_HIGHEST_CONFIDENCE}"
        raise _bad(f"{where}.confidence", policy.confidence, why, "write 0.95")
    _check_harm(policy, task, where)
    kind, _, name = policy.key.partition(":")
    if policy.key and (kind not in KEY_KINDS or not name):
        raise UsageError(
            "bad-value",
            f"{where}.key is {policy.key!r}",
            why=nearest(kind, list(KEY_KINDS)) if kind not in KEY_KINDS else "it says no name",
            fix="write header:X-User-Id, parameter:user or column:user_id",
        )


def _check_steps(policy: RolloutPolicy, where: str) -> None:
    shares = policy.shares
    in_order = all(before <= after for before, after in pairwise(shares))
    if not in_order or not all(0 <= share <= 1 for share in shares):
        raise _bad(f"{where}.steps", shares, "they are shares of keys and never fall", "write [0, 0.05, 0.25, 0.5]")
    if policy.mode == "shadow" and any(shares):
        raise _bad(f"{where}.steps", shares, "a shadow answers nobody", 'leave steps out, or write mode = "canary"')
    if policy.mode == "ab" and not all(0 < share < 1 for share in shares):
        raise _bad(f"{where}.steps", shares, "both models must answer some keys", "write [0.5]")


def _check_harm(policy: RolloutPolicy, task: str, where: str) -> None:
    valid = list(HARM_METRICS.get(task, ()))
    for metric, most in policy.harm.items():
        if metric not in valid:
            raise UsageError(
                "unknown-metric",
                f"{where}.harm names {metric!r}, which is no metric of a rollout for the task {task!r}",
                why=nearest(metric, valid) if valid else "no single answer can be scored in this task",
                fix=f"use one of: {', '.join(valid)}" if valid else "leave harm out",
            )
        if not (math.isfinite(most) and most > 0):
            raise _bad(f"{where}.harm.{metric}", most, "it is an amount in the metric's unit", "write 0.01")


def _duration(text: str, where: str) -> None:
    try:
        parse_duration(text)
    except UsageError as error:
        raise UsageError(error.code, f"{where}: {error.what}", why=error.why, fix=error.fix) from None


def _bad(where: str, value: object, why: str, fix: str) -> UsageError:
    return UsageError("bad-value", f"{where} is {value}", why=why, fix=fix)
