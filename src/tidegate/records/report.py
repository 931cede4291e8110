"""The report of one gate run: the one JSON that the terminal, Markdown, HTML and the web UI all render."""

from __future__ import annotations

import msgspec

from tidegate.records.verdict import Verdict

SCHEMA = 2


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with its confidence interval, in the metric's unit; None where it cannot be computed."""

    estimate: float | None
    low: float | None
    high: float | None


class SliceResult(msgspec.Struct, frozen=True, kw_only=True):
    """One rule on one slice (``column`` = ``value``)."""

    column: str
    value: str
    rows: int
    verdict: Verdict
    candidate: Interval
    champion: Interval | None
    difference: Interval | None
    reason: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One row as a reader sees it. Predictions are the scores, or the decisions where there are no scores."""

    key: str
    """The row's key, or its number from 0 where the policy names no key."""
    label: str
    candidate: str
    champion: str = ""
    note: str = ""


class Flips(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that changed sides, and the worst of those that got wrong."""

    gained: int
    """Only the candidate has them right."""
    lost: int
    """Only the champion has them right."""
    worst: list[Shown] = []
    """At most ten, by how much the candidate's loss exceeds the champion's."""
    asked: str = ""
    """What counts as right, in words, such as ``right at a threshold of 0.5``."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One picture of both models: ``roc`` (x false, y true positive rate), ``pr`` (x recall, y precision), ``calibration`` (x mean
    prediction, y mean label; ``weight`` rows), ``residuals`` (x share of rows, y error that so many do not exceed), ``scatter``
    (x champion, y candidate; ``label``: gained, lost, right or wrong), ``confusion`` (``label`` such as ``cat taken for dog``;
    ``weight`` rows).
    """

    kind: str
    candidate_x: list[float]
    candidate_y: list[float]
    champion_x: list[float] = []
    champion_y: list[float] = []
    candidate_weight: list[float] = []
    champion_weight: list[float] = []
    label: list[str] = []
    note: str = ""
    """How it was thinned or sampled."""


class Explored(msgspec.Struct, frozen=True, kw_only=True):
    """A slice that nobody asked about, where the candidate looks worse. ``p`` is adjusted for how many were looked at (BH)."""

    where: str
    """Such as ``carrier = UA and origin = EWR``."""
    rows: int
    metric: str
    difference: Interval
    p: float
    note: str = ""
    """How it was seen, where not on all rows."""


class Wear(msgspec.Struct, frozen=True, kw_only=True):
    """How worn the evaluation rows are: how often they were judged by, and since when."""

    uses: int
    """Judgements by the same rows before this one: different candidates, champions or policies; INVALID ones told nothing."""
    alpha_spent: float
    """Chance that one of these and this judgement passed wrongly, if each was at its bound: 1 - (1 - alpha)^(uses + 1)."""
    first_used: int | None
    """us UTC"""
    age_days: float | None
    """How old the snapshot is."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a diff: what, and what it was and is; empty where it was not there."""

    what: str
    before: str = ""
    after: str = ""


class Diffs(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from the champion to the candidate."""

    code: list[Change] = []
    data: list[Change] = []
    model: list[Change] = []
    predictions: list[Change] = []


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's outcome. ``difference`` is candidate minus champion; ``better`` says which direction is good."""

    metric: str
    test: str
    better: str
    """``higher`` or ``lower``."""
    margin: float
    value: float | None
    verdict: Verdict
    reason: str
    """One sentence that a reader who is no statistician understands."""
    method: str
    """The interval's method and its source."""
    candidate: Interval
    champion: Interval | None
    difference: Interval | None
    more_rows: int | None = None
    """About how many more rows would settle an INCONCLUSIVE rule, by the variance seen here."""
    slices: list[SliceResult] = []
    details: dict[str, float | None] = {}
    """Further figures of the method, such as McNemar's p-values beside Tango's interval."""
    against: str = ""
    """``anchor`` where the rule was judged once more against the last version that was proven better."""
    shown: list[Shown] = []
    """Rows that explain the verdict: golden rows that are wrong, rows that leaked."""
    tipping: int | None = None
    """Of how many rows the label would have to be another for the verdict to change; None: it was not computed."""
    relative: bool = False
    """Whether ``value`` is a multiple of the champion's figure: of ``latency`` and ``size``."""
    problem: Problem | None = None
    """Where the rule is INVALID: the documented code, and what to do."""
    slice_mode: str = "all_not_worse"
    """What was asked of ``slices``: ``all_not_worse``, each must be proven; or ``none_worse``, none may be proven worse."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why the evidence cannot be used, or what a reader should know: a documented code, a sentence, and what to do."""

    code: str
    what: str
    fix: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a gate run found. The same input gives the same bytes, so its digest can be signed for."""

    schema: int
    title: str
    verdict: Verdict
    sentence: str
    """Ship or not, and why, in one sentence."""
    task: str
    candidate: str
    champion: str
    """Reference or column of the incumbent, or of the declared baseline."""
    rows: int
    units: int | None = None
    """Queries of a ranking, items of scores, which are then what is compared; None where rows are."""
    clusters: int | None
    confidence: float
    seed: int
    rules: list[RuleResult]
    problems: list[Problem] = []
    """Reasons for INVALID."""
    warnings: list[Problem] = []
    snapshot: str = ""
    policy_digest: str = ""
    anchor: str = ""
    advice: list[str] = []
    """What would change the verdict."""
    flips: Flips | None = None
    curves: list[Curve] = []
    explored: list[Explored] = []
    wear: Wear | None = None
    diffs: Diffs | None = None
