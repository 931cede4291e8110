"""Policies: what a team declares about a model in ``tidegate.toml``, in git, before any result is known.

Unknown keys are refused when a policy is read; the nearest valid one is named (see ``tidegate.gate.policy``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.records.rollout import RolloutPolicy

Task = Literal["binary", "multiclass", "multilabel", "regression", "ranking", "scores"]
Test = Literal[
    "superior",
    "not_worse",
    "floor",
    "golden",
    "flips",
    "gap",
    "latency",
    "size",
    "schema",
    "leakage",
    "freshness",
    "label_coverage",
]
SliceMode = Literal["all_not_worse", "none_worse"]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One condition of the gate; which keys a test takes stands in ``tidegate.gate.policy``.

    ``superior``: the interval of the paired difference lies beyond the margin on the good side. ``not_worse``: it lies
    within the margin of zero on the bad side. ``floor``: the candidate's own interval lies on the good side of ``value``;
    it needs no champion. ``golden``: the candidate is right on every marked row. ``flips``: rows that only the champion has
    right are at most a share ``value``. ``gap``: a metric differs between slices by at most ``value``. ``latency``, ``size``:
    at most ``value`` milliseconds a call, or megabytes (times the champion's, where ``relative``). ``schema``: whoever calls the champion can call the candidate.
    ``leakage``: evaluation rows are none that the candidate was trained on. ``freshness``: the evaluation rows are younger than
    ``max_age``. ``label_coverage``: at least a share ``value`` of the rows has a label.
    """

    test: Test
    metric: str = ""
    margin: float = 0.0
    """Absolute, in the metric's unit, and not negative."""
    relative_margin: float | None = None
    """In its place: as a share of the champion's value."""
    value: float | None = None
    relative: bool = False
    slices: list[str] = []
    slice_mode: SliceMode = "all_not_worse"
    costs: list[list[float]] = []
    """For ``expected_cost``: a row for each true class, a column for each decision."""
    rows: str = ""
    """For ``golden``: the column that marks them."""
    tolerance: float = 0.0
    """For ``golden`` numbers: how far a prediction may be off."""
    columns: list[str] = []
    """For ``leakage``: by which columns rows are told to be the same; empty: the candidate's inputs and the label."""
    group: str = ""
    """For ``leakage``: a column whose values must not stand on both sides."""
    time: str = ""
    """For ``leakage`` and ``freshness``: the column of event times."""
    near: float | None = None
    """For ``leakage``: rows this similar (0 to 1) count as the same."""
    max_age: str = ""
    """For ``freshness``: such as ``30d``."""


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
    query: str = ""
    """Ranking: the column whose values are the lists that are ranked."""
    baseline: BaselineModel | None = None
    receipt_lifetime: str = "14d"
    seed: int = 0
    max_uses: int = 0
    """How often an evaluation snapshot may be judged by before that alone is INVALID; 0: it is only told."""
    explore: list[str] = []
    """Columns in whose values, one by one and in pairs, the report looks for slices that got worse. Never decides."""


class CheckPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of a standalone ``gate check``: the same rules over columns of one file of predictions."""

    task: Task
    rules: list[Rule]
    label: str = ""
    """This and the predictions: a column; where a row has several numbers, a list, struct or map, or a pattern such as ``new_*``."""
    candidate: str = ""
    champion: str = ""
    anchor: str = ""
    """The version that was last proven better: ``not_worse`` must hold against it, too, so that small losses cannot add up."""
    confidence: float = 0.95
    key: str = ""
    cluster: str = ""
    weight: str = ""
    query: str = ""
    preference: str = ""
    """Scores: the column that says who did better: ``candidate``, ``champion`` or ``tie``."""
    classes: list[str] = []
    """What the places of lists stand for, in their order; empty: the label's classes, sorted."""
    seed: int = 0
    explore: list[str] = []


class AutoApproval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME.release.auto]``: which small, clean PASS the policy itself approves, in place of one person.

    Beside these limits it must hold that the report has no warning, that a rule compared a metric with the champion's, that the
    policy was not loosened, that format and signature stay, and that the package runs no code.
    """

    max_flips: float = 0.01
    """Largest share of the compared rows on which only one of the two models is right."""
    max_size: float = 1.1
    """Largest size of the package, times the champion's."""
    per_week: int = 1
    """At most so many within seven days."""


class ReleasePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME.release]``: how many people must consent, which, how long a consent lasts, and who may do without."""

    approvals: int = 1
    approvers: list[str] = []
    """Names and roles. Empty: anybody but the version's author."""
    quorum: dict[str, int] = {}
    """Of each role at least so many, nobody for two roles: ``{ risk = 1, ops = 2 }`` are three people."""
    approval_lifetime: str = "7d"
    signed_by: list[str] = []
    """Public keys (PEM files, from the project's folder): only what one of them signed is promoted. Empty: none is asked for."""
    auto: AutoApproval | None = None
    break_glass: list[str] = []
    """Names and roles that may promote past verdict and approvals in an emergency. Empty: nobody."""
    roles: dict[str, list[str]] = {}
    """Who has a role; those of ``[roles]`` are known to every model."""


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
    signed_by: list[str] = []
    """Public keys (PEM files, from the project's folder): a version is served only if one of them signed it. Empty: none is asked for."""
    max_rows: int = 10_000
    max_body_bytes: int = 16 * 1024 * 1024
    max_wait_ms: float = 1000.0
    """A request that would have to wait longer than this for others is turned away at once (503 with Retry-After)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model computes: ``auto`` takes a GPU where there is one that the package's format can use."""
    batching: bool = True
    """Whether requests that wait at the same time may be predicted in one call. No: for a model whose rows depend on each other."""


class ModelPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[models.NAME]``: everything that is declared about one model."""

    task: Task
    owner: str = ""
    gate: GatePolicy | None = None
    release: ReleasePolicy = ReleasePolicy()
    monitoring: MonitoringPolicy | None = None
    retrain: RetrainPolicy | None = None
    serving: ServingPolicy = ServingPolicy()
    rollout: RolloutPolicy = RolloutPolicy()
