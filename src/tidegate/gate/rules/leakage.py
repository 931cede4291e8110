"""``leakage``: evaluation rows are none that the candidate was trained on, told by content and not only by the snapshot's name.

Rows are compared by hashes of 64 bits inside DuckDB: two sets of a million rows have one false match in twenty million such
comparisons. A candidate that was trained on rows nobody recorded cannot be cleared: INCONCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tidegate import frames
from tidegate.errors import BadInputError, NotFoundError, UsageError
from tidegate.frames import Connection
from tidegate.gate.case import Case, Subject
from tidegate.gate.evidence import columns_named
from tidegate.gate.foreign import foreign
from tidegate.gate.rules.freshness import time_sql
from tidegate.gate.rules.outcome import exactly, invalid, outcome, subject_of
from tidegate.gate.rules.similar import SAMPLE, Compared, find_similar
from tidegate.gate.wording import capital
from tidegate.records.names import nearest
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult, Shown
from tidegate.records.verdict import Verdict
from tidegate.stats.proportions import wilson

SHOWN = 20
_EVALUATION = "evaluation"
_ROWS = "evaluation_hashes"
_METHOD = "64-bit hashes of rows, compared in DuckDB"
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_FIX = "train on other rows, or judge on a newer snapshot"


class Sides(NamedTuple):
    """Both sides on one connection: the training relations with what they are called, the compared columns, what was left out."""

    training: dict[str, str]
    columns: list[str]
    types: dict[str, str]
    skipped: list[str]


class Finding(NamedTuple):
    """One way of leaking: how many rows of how many, in words, with rows to show; ``open`` says why it cannot be cleared."""

    name: str
    hits: int
    total: int
    words: str
    shown: list[Shown]
    open: str = ""
    own: float | None = None

    @property
    def share(self) -> float:
        """The share of rows that it concerns."""
        return self.hits / self.total if self.total else 0.0


class _Unknown(Exception):  # noqa: N818 - it ends the search; nobody outside sees it
    pass


def judge_leakage(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    """No more than a share ``value`` of the rows (none, where it is left out) leaked, in any of the ways that the rule looks for."""
    del seed
    subject = subject_of(case)
    limit = rule.value or 0.0
    with frames.connect() as con, foreign("snapshot-unreadable", "the rows cannot be compared with those of the training"):
        try:
            sides = _sides(con, subject, rule)
        except _Unknown as unknown:
            reason = f"Leakage cannot be ruled out: {unknown}."
            return outcome(rule, Verdict.INCONCLUSIVE, reason, method=_METHOD)
        findings = [_exact(con, subject, sides)]
        findings += [_groups(con, subject, sides, rule.group)] if rule.group else []
        findings += [_times(con, subject, sides, rule.time)] if rule.time else []
        findings += [_near(con, subject, sides, rule.near, limit, confidence)] if rule.near is not None else []
    return _result(rule, subject, sides, findings, limit)


def _result(rule: Rule, subject: Subject, sides: Sides, findings: list[Finding], limit: float) -> RuleResult:
    worst = sorted(findings, key=lambda finding: -finding.share)
    figures: dict[str, Any] = {
        "method": _METHOD,
        "candidate": exactly(worst[0].share),
        "details": {f"{each.name}_rows": float(each.hits) for each in findings}
        | {f"{each.name}_share": each.share for each in findings}
        | {f"{each.name}_within_evaluation": each.own for each in findings if each.own is not None},
        "shown": [row for each in worst for row in each.shown][:SHOWN],
    }
    allowed = f"allowed is {limit:.3g}" if limit else "none is allowed"
    over = [each for each in worst if each.share > limit]
    if over:
        what = f"leakage: {'; '.join(each.words for each in over)}; {allowed}"
        return invalid(rule, "leakage", what, _FIX, **figures)
    left = f" Not compared, as they hold no {subject.gate.label}: {', '.join(sides.skipped)}." if sides.skipped else ""
    unsettled = [each.open for each in findings if each.open]
    if unsettled:
        return outcome(rule, Verdict.INCONCLUSIVE, f"Leakage cannot be ruled out: {'; '.join(unsettled)}.{left}", **figures)
    few = "; ".join(each.words for each in findings if each.hits)
    by = f"{len(sides.columns)} columns" if len(sides.columns) > 1 else sides.columns[0]
    clean = f"{few}; {allowed}" if few else f"no evaluation row is among the rows of {', '.join(sides.training)}, by {by}"
    return outcome(rule, Verdict.PASS, f"{capital(clean)}.{left}", **figures)


def _sides(con: Connection, subject: Subject, rule: Rule) -> Sides:
    """Opens the evaluation snapshot and everything that the candidate was trained on.

    Raises:
        BadInputError: the evaluation rows lack a column that the policy names.
    """
    subject.datasets.read(con, subject.snapshot).create_view(_EVALUATION)
    kinds = {_EVALUATION: _kinds(con, _EVALUATION)}
    labels = columns_named(subject.gate.label, kinds[_EVALUATION]) or [subject.gate.label]
    columns = rule.columns or [*subject.candidate.manifest.signature.input_names, *labels]
    needed = list(dict.fromkeys([*columns, *filter(None, (rule.group, rule.time))]))
    for name in needed:
        if name not in kinds[_EVALUATION]:
            what = f"the column {name!r} is missing in {subject.snapshot.ref}; {nearest(name, list(kinds[_EVALUATION]))}"
            raise BadInputError("column-missing", what, fix="mend the rule's columns, group or time")
    training, skipped = _training(con, subject, needed, kinds)
    types = {name: _common([each[name] for each in kinds.values()]) for name in columns}
    if rule.group:
        types[rule.group] = _common([each[rule.group] for each in kinds.values()])
    return Sides(training, columns, types, skipped)


def _training(
    con: Connection, subject: Subject, needed: list[str], kinds: dict[str, dict[str, str]]
) -> tuple[dict[str, str], list[str]]:
    """The training relations by what they are called, and snapshots that hold no label and lack columns: lookup tables."""
    ref, lineage = subject.candidate.ref, subject.candidate.manifest.lineage
    if not lineage.snapshots:
        known = (
            "only the digest of its training rows is known"
            if lineage.training_digest
            else "nobody recorded what it was trained on"
        )
        raise _Unknown(f"{known} ({ref})")
    training: dict[str, str] = {}
    skipped: list[str] = []
    for place, name in enumerate(lineage.snapshots):
        view = f"training_{place}"
        try:
            subject.datasets.read(con, subject.datasets.get(name)).create_view(view)
        except (NotFoundError, UsageError):
            raise _Unknown(f"{ref} was trained on {name}, which is not there") from None
        except BadInputError as error:
            raise _Unknown(f"{ref} was trained on {name}, which cannot be compared: {error.what}") from None
        found = _kinds(con, view)
        missing = [column for column in needed if column not in found]
        if not missing:
            training[name], kinds[view] = view, found
        elif columns_named(subject.gate.label, found):
            raise _Unknown(
                f"{name}, which {ref} was trained on, has no column {missing[0]!r} to compare by; name columns in the rule"
            )
        else:
            skipped.append(name)
    if not training:
        raise _Unknown(f"none of {', '.join(skipped)} has the columns {', '.join(needed[:5])}; name columns in the rule")
    return training, skipped


def _kinds(con: Connection, view: str) -> dict[str, str]:
    relation = con.table(view)
    return dict(zip(relation.columns, map(str, relation.types), strict=True))


def _common(kinds: Sequence[str]) -> str:
    """The type in which both sides are compared: the same row may be kept as 32 bits here and as 64 there."""
    if all(kind in {*_WHOLE, "BOOLEAN"} for kind in kinds):
        return "HUGEINT"
    if all(kind in {*_WHOLE, "BOOLEAN", "FLOAT", "DOUBLE"} or kind.startswith("DECIMAL") for kind in kinds):
        return "FLOAT" if "FLOAT" in kinds else "DOUBLE"
    if all(kind in {"DATE", "TIMESTAMP"} for kind in kinds):
        return "TIMESTAMP"
    return "VARCHAR"


def _value(column: str, kind: str) -> str:
    """SQL of a column as it is compared: NaN is missing, and there is one zero."""
    cast = f"{frames.quote(column)}::{kind}"
    return f"CASE WHEN isnan({cast}) THEN NULL ELSE {cast} + 0 END" if kind in {"FLOAT", "DOUBLE"} else cast


def _hash(sides: Sides, columns: Sequence[str]) -> str:
    return f"hash({', '.join(_value(name, sides.types[name]) for name in columns)})"


def _exact(con: Connection, subject: Subject, sides: Sides) -> Finding:
    count, total, rows = _met(con, sides, _hash(sides, sides.columns), "true")
    own: Any = con.execute(f"SELECT 1 - count(DISTINCT h) / greatest(count(*), 1) FROM {_ROWS}").fetchone()
    names = ", ".join(sides.training)
    words = f"{count:,} of {total:,} evaluation rows ({_percent(count, total)}) stand in {names}, which {subject.candidate.ref} was trained on"
    words += f" (by {', '.join(sides.columns)})" if len(sides.columns) <= 3 else ""
    return Finding("same", count, total, words, _show(con, subject, rows, f"the same row stands in {names}"), own=float(own[0]))


def _groups(con: Connection, subject: Subject, sides: Sides, group: str) -> Finding:
    count, total, rows = _met(con, sides, _hash(sides, [group]), f"{frames.quote(group)} IS NOT NULL")
    words = f"{count:,} of {total:,} evaluation rows ({_percent(count, total)}) have a {group} that was trained on"
    return Finding("group", count, total, words, _show(con, subject, rows, f"its {group} was trained on"))


def _met(con: Connection, sides: Sides, hashed: str, where: str) -> tuple[int, int, list[int]]:
    """How many evaluation rows have a hash that a training row has, of how many, and the numbers of the first.

    Kept are one hash for each evaluation row, and of the training rows only those that were met: memory does not grow with them.
    """
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {_ROWS} AS SELECT * FROM (SELECT row_number() OVER () - 1 AS n, {hashed} AS h, {where} AS told "
        f"FROM {_EVALUATION})"
    )
    theirs = " UNION ALL ".join(f"SELECT {hashed} AS h FROM {view} WHERE {where}" for view in sides.training.values())
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE met AS SELECT DISTINCT h FROM ({theirs}) WHERE h IN (SELECT h FROM {_ROWS} WHERE told)"
    )
    total: Any = con.execute(f"SELECT count(*) FROM {_ROWS}").fetchone()
    hit = f"FROM {_ROWS} WHERE told AND h IN (SELECT h FROM met)"
    count: Any = con.execute(f"SELECT count(*) {hit}").fetchone()
    rows = con.execute(f"SELECT n {hit} ORDER BY n LIMIT {SHOWN}").fetchall()
    return int(count[0]), int(total[0]), [int(row[0]) for row in rows]


def _times(con: Connection, subject: Subject, sides: Sides, time: str) -> Finding:
    first: Any = con.execute(
        f"SELECT min({time_sql(time, _kinds(con, _EVALUATION), subject.snapshot.ref)}) FROM {_EVALUATION}"
    ).fetchone()
    if first[0] is None:
        raise BadInputError(
            "time-missing", f"{subject.snapshot.ref} has no time in {time!r}", fix="name a column that holds times"
        )
    moments = {name: time_sql(time, _kinds(con, view), name) for name, view in sides.training.items()}
    parts = " UNION ALL ".join(f"SELECT {moments[name]} AS t FROM {view}" for name, view in sides.training.items())
    found: Any = con.execute(f"SELECT count(*) FILTER (WHERE t > ?), count(*), count(t) FROM ({parts})", [first[0]]).fetchone()
    later, total, dated = (int(value) for value in found)
    words = f"{later:,} of {total:,} training rows ({_percent(later, total)}) are later than the first evaluation row ({time} {first[0]} UTC)"
    unsettled = f"{total - dated:,} training rows have no {time}" if dated < total else ""
    return Finding("later", later, total, words, [], open=unsettled)


def _near(con: Connection, subject: Subject, sides: Sides, near: float, limit: float, confidence: float) -> Finding:
    labels = columns_named(subject.gate.label, sides.columns)
    equal = set(labels) if subject.policy.task != "regression" else set[str]()
    numbers = [name for name in sides.columns if sides.types[name] in {"HUGEINT", "FLOAT", "DOUBLE"} and name not in equal]
    others = [_value(name, sides.types[name]) for name in sides.columns if name not in numbers]
    gaps = [f"{_value(name, sides.types[name])} IS NULL" for name in numbers]
    compared = Compared(
        [_value(name, sides.types[name]) for name in numbers], f"hash({', '.join([*others, *gaps])})" if others or gaps else ""
    )
    found = find_similar(con, _EVALUATION, list(sides.training.values()), compared, near)
    hit = np.flatnonzero(found.training >= near - 1e-9)
    whole: Any = con.execute(f"SELECT count(*) FROM {_EVALUATION}").fetchone()
    looked, total = found.rows.size, int(whole[0])
    sample = f" of a sample of {looked:,}" if looked < total else f" of {looked:,}"
    words = f"{hit.size:,}{sample} evaluation rows ({_percent(hit.size, looked)}) resemble a training row by at least {near:g}"
    unsettled = ""
    high = wilson(int(hit.size), looked, confidence=confidence).high
    if looked < total and high > limit:
        unsettled = f"{SAMPLE:,} of {total:,} rows were searched for near duplicates, and up to {high:.2g} of all may be some"
    best = hit[np.argsort(-found.training[hit], kind="stable")[:SHOWN]]
    notes = [f"{found.training[place]:.7g} similar to a training row" for place in best]
    shown = _show(con, subject, [int(found.rows[place]) for place in best], notes)
    own = float((found.own >= near - 1e-9).mean()) if looked else 0.0
    return Finding("near", int(hit.size), looked, words, shown, open=unsettled, own=own)


def _show(con: Connection, subject: Subject, rows: list[int], notes: str | list[str]) -> list[Shown]:
    """Rows of the evaluation snapshot by number, as a reader sees them."""
    if not rows:
        return []
    key = f"{frames.quote(subject.gate.key)}::VARCHAR" if subject.gate.key else "n::VARCHAR"
    labels = ", ".join(f"{frames.quote(name)}::VARCHAR" for name in columns_named(subject.gate.label, _kinds(con, _EVALUATION)))
    found = con.execute(
        f"SELECT n, {key}, concat_ws(', ', {labels}) FROM (SELECT *, row_number() OVER () - 1 AS n FROM {_EVALUATION}) "
        f"WHERE n IN ({', '.join(map(str, rows))})"
    ).fetchall()
    told = {int(row[0]): (str(row[1]), str(row[2])) for row in found}
    each = [notes] * len(rows) if isinstance(notes, str) else notes
    return [Shown(key=told[row][0], label=told[row][1], candidate="", note=note) for row, note in zip(rows, each, strict=True)]


def _percent(count: int, total: int) -> str:
    share = 100 * count / total if total else 0.0
    return f"{share:.3g}%"
