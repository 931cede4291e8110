"""The report of one gate run: the one JSON that the terminal, Markdown, HTML and the web UI all render."""

from __future__ import annotations

import msgspec

from tidegate.records.verdict import Verdict

SCHEMA = 1


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
    clusters: int | None
    confidence: float
    seed: int
    rules: list[RuleResult]
    problems: list[Problem] = []
    """Reasons for INVALID."""
    warnings: list[Problem] = []
    snapshot: str = ""
    policy_digest: str = ""
