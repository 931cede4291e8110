"""``freshness``: the evaluation rows are young enough to say something about today."""

from __future__ import annotations

from typing import Any

from tidegate import frames
from tidegate.clock import DAY, format_time, parse_duration
from tidegate.errors import BadInputError
from tidegate.gate.case import Case, Subject
from tidegate.gate.foreign import foreign
from tidegate.gate.rules.outcome import exactly, invalid, outcome, subject_of
from tidegate.gate.wording import capital
from tidegate.records.names import nearest
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict


def judge_freshness(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    """The newest row (by ``time``, else the taking of the snapshot) is at most ``max_age`` old when the gate judges."""
    del confidence, seed
    subject = subject_of(case)
    newest = newest_time(subject, rule.time) if rule.time else subject.snapshot.created_at
    noun = f"the newest {rule.time} of {subject.snapshot.ref} is" if rule.time else f"{subject.snapshot.ref} was taken on"
    age = subject.now - newest
    said = f"{noun} {format_time(newest)}"
    figures: dict[str, Any] = {
        "method": "the newest time against the time of judging",
        "candidate": exactly(age / DAY),
        "details": {"age_days": age / DAY, "allowed_days": parse_duration(rule.max_age) / DAY},
    }
    if age < -DAY:
        why = f"{said}, which is later than now ({format_time(subject.now)})"
        return invalid(rule, "time-in-future", why, "mend the clock, or the column: times are UTC", **figures)
    told = f"{said}, {_days(age)} ago; allowed are {rule.max_age}"
    if age > parse_duration(rule.max_age):
        fix = "take a newer evaluation snapshot, and name it in the policy"
        return invalid(rule, "snapshot-stale", f"the evaluation rows are too old: {told}", fix, **figures)
    return outcome(rule, Verdict.PASS, f"{capital(told)}.", **figures)


def newest_time(subject: Subject, column: str) -> int:
    """The newest time in a column of the evaluation snapshot, in us UTC.

    Raises:
        BadInputError: there is no such column, it holds no times, or none at all.
    """
    with frames.connect() as con, foreign("snapshot-unreadable", f"{subject.snapshot.ref} cannot be read"):
        rows = subject.datasets.read(con, subject.snapshot)
        kinds = dict(zip(rows.columns, map(str, rows.types), strict=True))
        moment = time_sql(column, kinds, subject.snapshot.ref)
        rows.create_view("evaluation")
        found: Any = con.execute(f"SELECT max(epoch_us({moment})) FROM evaluation").fetchone()
    if found is None or found[0] is None:
        raise BadInputError(
            "time-missing", f"{subject.snapshot.ref} has no time in {column!r}", fix="name a column that holds times"
        )
    return int(found[0])


def time_sql(column: str, kinds: dict[str, str], where: str) -> str:
    """SQL of a column's times; dates are midnight UTC, text is read as ISO 8601.

    Raises:
        BadInputError: there is no such column, or it holds no times.
    """
    if column not in kinds:
        raise BadInputError(
            "column-missing",
            f"the time column {column!r} is missing in {where}; {nearest(column, list(kinds))}",
            fix="mend the policy",
        )
    if kinds[column].startswith("TIMESTAMP"):
        return frames.quote(column)
    if kinds[column] in {"DATE", "VARCHAR"}:
        return f"TRY_CAST({frames.quote(column)} AS TIMESTAMP)"
    raise BadInputError(
        "not-a-time", f"the column {column!r} of {where} holds {kinds[column]}, not times", fix="store it as a timestamp, UTC"
    )


def _days(age: int) -> str:
    days = max(age, 0) / DAY
    return f"{days:.1f} days" if days < 10 else f"{days:,.0f} days"
