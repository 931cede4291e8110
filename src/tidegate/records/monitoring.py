"""Windows of the prediction log, what was found in them, and the alerts that follow."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """Only a PAGE asks for a person now; drift explains and never pages."""

    PAGE = "page"
    TICKET = "ticket"
    INFO = "info"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One statistic of one window against its calibrated bound.

    ``ratio`` is how far the statistic went from its healthy value towards the bound, in the direction of harm: 0 is healthy,
    1 is the bound, above 1 crosses it. It is None when there is nothing to compare (no labels yet, too few rows), which is
    never counted as good.
    """

    kind: str
    """``performance``; data quality: ``volume``, ``nulls``, ``unseen`` or ``type``; ``latency``; ``input_drift`` or ``prediction_drift``."""
    subject: str
    """The feature, the output or the metric."""
    statistic: float | None
    bound: float | None
    ratio: float | None
    rows: int
    note: str = ""
    version: int = 0
    """The served version that it is about; 0: all of them."""
    reference: float | None = None
    """The statistic's healthy value, where it is not 0: the same metric on the reference."""
    low: float | None = None
    """Lower end of the statistic's 95% interval, where it has one."""
    high: float | None = None


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """``monitoring/<model>/windows/<start>-<end>.json``: a closed span [start, end) of the prediction log."""

    model: str
    start: int
    end: int
    versions: list[int]
    rows: int
    labelled: int
    closed_at: int
    findings: list[Finding]
    label_conflicts: int = 0
    """Predictions that were given different labels; the newest one counts."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that crossed its bound. Its id is made of model, kind, subject and window, so it is raised once."""

    id: str
    model: str
    kind: str
    subject: str
    severity: Severity
    window_start: int
    window_end: int
    ratio: float
    message: str
    raised_at: int
    version: int = 0
    """The served version that it is about; 0: all of them."""
