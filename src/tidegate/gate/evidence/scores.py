"""Scores: runs and raters of an item are averaged first, so that an item is one piece of evidence however often it was run."""

from __future__ import annotations

from typing import Any

from tidegate import frames
from tidegate.gate.evidence.groups import check_constant_within
from tidegate.gate.evidence.numbers import LARGEST
from tidegate.gate.evidence.reading import Reading
from tidegate.records.names import nearest
from tidegate.records.policy import CheckPolicy

WINS = "tidegate wins"
_PLACE = '"tidegate place"'
_RATERS = '"tidegate raters"'
_WORDS = {"candidate": 1.0, "a": 1.0, "champion": 0.0, "b": 0.0, "tie": 0.5}
_ROLES = ("candidate", "champion", "anchor")


def items(reading: Reading, con: frames.Connection, table: str, policy: CheckPolicy, kept: dict[str, str]) -> str:
    """Makes a table of items from the rows in ``table``: its name.

    Args:
        reading: Takes the problems.
        con: Where ``table`` is.
        table: The rows: runs of items.
        policy: Names the columns.
        kept: Columns that an item keeps, and what they are for: each must have one value within an item.
    """
    scores = {role: getattr(policy, role) for role in _ROLES if getattr(policy, role)}
    for role, name in scores.items():
        _check_scores(reading, con, table, role, name, missing_allowed=bool(policy.key))
    if policy.preference:
        _check_preferences(reading, con, table, policy.preference)
    if policy.key:
        check_constant_within(reading, con, table, policy.key, kept, "item")
    if reading.problems:
        return table
    names = list(dict.fromkeys(name for name in [policy.key, *scores.values(), *kept] if name))
    group = frames.quote(policy.key) if policy.key else _PLACE
    columns = [f"min({_PLACE}) AS {_PLACE}"] + ([group] if policy.key else [])
    columns += [f"avg({_score(name)}) AS {frames.quote(name)}" for name in dict.fromkeys(scores.values())]
    columns += [f"any_value({frames.quote(name)}) AS {frames.quote(name)}" for name in names if name in kept]
    columns += [f"count({_score(name)}) AS {_runs(role)}" for role, name in scores.items()]
    columns += [f"avg({_preference_value(policy.preference)}) AS {_RATERS}"] if policy.preference else []
    shown = [*map(frames.quote, names), f"{_wins(policy, scores)} AS {frames.quote(WINS)}", *map(_runs, scores)]
    numbered = (
        f"(SELECT *, row_number() OVER () AS {_PLACE} FROM {table})"  # DuckDB's rowid would be a user's column of that name
    )
    con.execute(
        f"CREATE OR REPLACE TABLE evidence_items AS SELECT {', '.join(shown)} "
        f"FROM (SELECT {', '.join(columns)} FROM {numbered} GROUP BY {group}) ORDER BY {_PLACE}"
    )
    _check_runs(reading, con, scores)
    return "evidence_items"


def _check_runs(reading: Reading, con: frames.Connection, scores: dict[str, str]) -> None:
    """Refuses items that a model has no score of; tells those that were run more often by one model."""
    for role, name in scores.items():
        found: Any = con.execute(f"SELECT count(*), count(*) FILTER ({_runs(role)} = 0) FROM evidence_items").fetchone()
        if found[1]:
            reading.refuse(
                "item-of-one-model",
                f"{found[1]:,} of {found[0]:,} items have no score of the {role} ({name!r})",
                "run every model on every item: only pairs can be compared",
            )
    uneven = " OR ".join(f"{_runs(role)} <> {_runs('candidate')}" for role in scores if role != "candidate")
    if uneven and not reading.problems:
        found = con.execute(f"SELECT count(*), count(*) FILTER ({uneven}) FROM evidence_items").fetchone()
        if found[1]:
            reading.warn(
                "runs-differ",
                f"{found[1]:,} of {found[0]:,} items were not run equally often by every model; each model's runs are averaged",
                "find out whether runs failed: a failed run that is left out flatters the model",
            )


def _score(name: str) -> str:
    """SQL for a score; NaN is no run."""
    return f"nullif(TRY_CAST({frames.quote(name)} AS DOUBLE), 'nan'::DOUBLE)"


def _runs(role: str) -> str:
    return frames.quote(f"tidegate runs {role}")


def _wins(policy: CheckPolicy, scores: dict[str, str]) -> str:
    if policy.preference:
        return _RATERS
    if "champion" not in scores or "candidate" not in scores:
        return "NULL::DOUBLE"
    ours, theirs = frames.quote(scores["candidate"]), frames.quote(scores["champion"])
    return f"CASE WHEN {ours} > {theirs} THEN 1.0 WHEN {ours} < {theirs} THEN 0.0 ELSE 0.5 END::DOUBLE"


def _preference_value(column: str) -> str:
    word = f"lower(trim({frames.quote(column)}::VARCHAR))"
    cases = " ".join(f"WHEN {frames.literal(text)} THEN {value}::DOUBLE" for text, value in _WORDS.items())
    return f"CASE {word} {cases} END"


def _check_preferences(reading: Reading, con: frames.Connection, table: str, column: str) -> None:
    name = frames.quote(column)
    empty: Any = con.execute(f"SELECT count(*) FROM {table} WHERE {name} IS NULL").fetchone()
    if empty[0]:
        what = f"{empty[0]:,} rows have no preference in {column!r}"
        reading.refuse("prediction-missing", what, 'write "tie" where neither is better, or leave those rows out')
    odd: list[Any] = con.execute(
        f"SELECT DISTINCT {name}::VARCHAR AS v FROM {table} WHERE {name} IS NOT NULL AND {_preference_value(column)} IS NULL "
        "ORDER BY 1 LIMIT 3"
    ).fetchall()
    if odd:
        reading.refuse(
            "preference-unknown",
            f"{column!r} holds {', '.join(repr(row[0][:40]) for row in odd)}; {nearest(odd[0][0][:40], list(_WORDS))}",
            "write candidate (or A), champion (or B), or tie",
        )


def _check_scores(reading: Reading, con: frames.Connection, table: str, role: str, name: str, *, missing_allowed: bool) -> None:
    column = frames.quote(name)
    number = f"TRY_CAST({column} AS DOUBLE)"
    found: Any = con.execute(
        f"SELECT count(*), count(*) FILTER ({column} IS NULL), count(*) FILTER (isnan({number})), count(*) FILTER (isinf({number})), "
        f"count(*) FILTER (abs({number}) > {LARGEST} AND isfinite({number})), "
        f"min({column}::VARCHAR) FILTER ({column} IS NOT NULL AND {number} IS NULL) FROM {table}"
    ).fetchone()
    rows, null, nan, infinite, large, word = found
    missing = null + nan
    if word is not None:
        reading.refuse("not-numeric", f"the {role} column {name!r} holds text such as {word[:80]!r}", "convert it to numbers")
    if word is None and (missing == rows or (missing and not missing_allowed)):
        what = f"{missing:,} of {rows:,} rows have no score in {name!r} (null or NaN)"
        reading.refuse(
            "prediction-missing", what, "give every run its score; where runs are of unequal number, name the key of items"
        )
    if infinite:
        reading.refuse("prediction-infinite", f"{infinite:,} rows have an infinite score in {name!r}", "find what made them")
    if large:
        what = f"{large:,} rows have a score beyond {LARGEST:g} in {name!r}"
        reading.refuse("number-too-large", what, "find what made them, or use a larger unit")
