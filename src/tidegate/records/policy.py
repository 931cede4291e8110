"""Policies: what a team declares about a model in ``tidegate.toml``, in git, before any result is known.

Unknown keys are refused when a policy is read; the nearest valid one is named (see ``tidegate.gate.policy``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Task = Literal["binary", "multiclass", "regression", "ranking", "scores"]
Test = Literal["superior", "not_worse", "floor"]
SliceMode = Literal["all_not_worse", "none_worse"]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One condition of the gate.

    ``superior``: the interval of the paired difference lies beyond ``margin`` on the good side. ``not_worse``: it lies
    within ``margin`` of zero on the bad side. ``floor``: the candidate's own interval lies on the good side of ``value``;
    it needs no champion. ``margin`` is absolute, in the metric's unit, and not negative.
    """

    metric: str
    test: Test
    margin: float = 0.0
    value: float | None = None
    slices: list[str] = []
    slice_mode: SliceMode = "all_not_worse"


class BaselineModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the first version must beat while there is no champion: ``constant`` (the training label's mean) or a column."""

    kind: Literal["constant", "column"] = "constant"
    value: float | None = None
    column: str = ""


class GatePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME.gate]``."""

    snapshot: str
    label: str
    rules: list[Rule]
    confidence: float = 0.95
    key: str = ""
    cluster: str = ""
    weight: str = ""
    baseline: BaselineModel | None = None
    receipt_lifetime: str = "14d"
    seed: int = 0


class CheckPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of a standalone ``gate check``: the same rules over columns of one file of predictions."""

    task: Task
    label: str
    candidate: str
    rules: list[Rule]
    champion: str = ""
    confidence: float = 0.95
    key: str = ""
    cluster: str = ""
    weight: str = ""
    seed: int = 0


class ReleasePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME.release]``: how many named people must consent, and how long a consent lasts."""

    approvals: int = 1
    approvers: list[str] = []
    """Empty: anybody but the version's author."""
    approval_lifetime: str = "7d"


class MonitoringPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME.monitoring]``: windows of the prediction log and what is asked of each."""

    window: str = "1d"
    """Length of a window; windows are aligned to midnight UTC, week windows to Monday."""
    label_wait: str = "1d"
    """How long after its end a window waits for labels before it is closed."""
    metrics: list[str] = msgspec.field(default_factory=lambda: ["log_loss"])
    """Realised performance: metrics of the gate that a window's labelled rows are scored by."""
    reference: str = ""
    """Snapshot that drift is compared with; empty: the gate's evaluation snapshot."""
    time: str = ""
    """The reference's column of event times, from which its own windows are cut to calibrate thresholds."""
    false_alarms: float = 0.05
    """Expected share of healthy windows with any drift alert, over all features together."""
    minimum_rows: int = 200
    latency_p99_ms: float = 100.0


class RetrainPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME.retrain]``: what opens a retraining decision and which pipeline answers it."""

    pipeline: str
    """``module:function`` in the project folder; its result is a candidate."""
    params: dict[str, str | int | float | bool] = {}
    """Parameters for the pipeline. In text values, ``{now}`` is the time of the decision (ISO 8601 UTC)."""
    on_alerts: list[str] = msgspec.field(default_factory=lambda: ["performance"])
    """Kinds of findings whose alerts open a decision."""
    every: str = ""
    """A schedule as a duration, such as ``30d``; empty: only alerts and people."""
    cooldown: str = "7d"
    """No second decision is opened by an alert within this time of the last one."""
    expires: str = "14d"
    """A decision that waits longer for approval expires; the champion stays."""
    evaluation: str = ""
    """``module:function``, called with the workspace and the time of the decision (ISO 8601 UTC): takes a fresh frozen evaluation
    snapshot and returns its reference. Empty: the policy's snapshot."""


class ServingPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME.serving]``: what a deployment allows."""

    allow_code: bool = False
    """Whether packages that run code when they are loaded may be served."""
    max_rows: int = 10_000
    max_body_bytes: int = 16 * 1024 * 1024


class ModelPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME]``: everything that is declared about one model."""

    task: Task
    owner: str = ""
    gate: GatePolicy | None = None
    release: ReleasePolicy = ReleasePolicy()
    monitoring: MonitoringPolicy | None = None
    retrain: RetrainPolicy | None = None
    serving: ServingPolicy = ServingPolicy()
