"""Rows from several files, in any order: joined one to one by the policy's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from tidegate import frames
from tidegate.errors import UsageError
from tidegate.gate.evidence.groups import check_keys
from tidegate.gate.evidence.reading import Reading
from tidegate.records.names import nearest
from tidegate.records.policy import CheckPolicy

_SHOWN = 3
_PLACE = '"tidegate place"'


def joined(
    reading: Reading, con: frames.Connection, sources: Mapping[str, Any], policy: CheckPolicy
) -> tuple[frames.Relation, CheckPolicy]:
    """One relation of all sources, and the policy with the names that columns have in it.

    A column is taken from ``labels`` if it stands there, else from the candidate's rows; predictions of the champion and of the
    anchor are taken from their own rows, where they may bear the candidate's name. Rows stand in the order of the labels, or
    of the candidate. Keys must be the same everywhere, and stand once.

    Args:
        reading: Takes the problems; the relation is then not to be used.
        con: Where the relation lives.
        sources: Frames or paths by what they hold: ``candidate``, and any of ``labels``, ``champion``, ``anchor``.
        policy: Names the columns.

    Raises:
        UsageError: the policy names no key, or the task is ``scores`` and there are labels.
    """
    if not policy.key:
        raise UsageError(
            "key-needed",
            "rows of several files can only be joined by a key, and the policy names none",
            fix='add key = "COLUMN" to the policy: the column that names a row in every file',
        )
    if policy.task == "scores" and "labels" in sources:
        raise UsageError("bad-policy", "the task scores has no labels", fix="give the rows of the candidate and of the champion")
    for role, source in sources.items():
        _take(con, role, source)
    policy = replace(
        policy, **{role: getattr(policy, role) or policy.candidate for role in ("champion", "anchor") if role in sources}
    )
    columns = {role: con.sql(f"SELECT * FROM {_table(role)} LIMIT 0").columns for role in sources}
    keys = [policy.query, policy.key] if policy.task == "ranking" and policy.query else [policy.key]
    for role, names in columns.items():
        for name in keys:
            if name not in names:
                what = f"the key column {name!r} is missing in the rows of the {role}; {nearest(name, names)}"
                reading.refuse("column-missing", what, "every file needs the key")
    if reading.problems:
        return con.table(_table("candidate")), policy
    if policy.task == "scores":
        return _stacked(reading, con, columns, policy)
    for role in sources:
        check_keys(reading, con, _table(role), keys, f"the {role}'s rows")
    first = "labels" if "labels" in sources else "candidate"
    for role in sources:
        if role != first and not reading.problems:
            _same_keys(reading, con, first, role, keys)
    return _one_to_one(con, columns, policy, keys, first)


def _table(role: str) -> str:
    return f"evidence_from_{role}"


def _take(con: frames.Connection, role: str, source: Any) -> None:
    frames.relation(con, source).create(_table(role))


def _same_keys(reading: Reading, con: frames.Connection, first: str, second: str, keys: list[str]) -> None:
    names = ", ".join(map(frames.quote, keys))
    for one, other in ((first, second), (second, first)):
        lacking: list[Any] = con.execute(
            f"SELECT {frames.quote(keys[-1])}::VARCHAR AS k FROM (SELECT {names} FROM {_table(one)} EXCEPT SELECT {names} FROM {_table(other)}) "
            "ORDER BY 1"
        ).fetchall()
        if lacking:
            some = ", ".join(repr(row[0]) for row in lacking[:_SHOWN])
            reading.refuse(
                "keys-differ",
                f"{len(lacking):,} keys stand in the rows of the {one} but not in those of the {other}, such as {some}",
                "give both the same rows: only pairs can be compared",
            )
    counts = f"SELECT (SELECT count(*) FROM {_table(first)}), (SELECT count(*) FROM {_table(second)})"
    rows: Any = con.execute(counts).fetchall()[0]
    if rows[0] != rows[1] and not reading.problems:  # keys of two types: several whole numbers may be one float
        what = f"the {rows[0]:,} keys of the {first} are not told apart by the {rows[1]:,} of the {second}: {keys[-1]!r} is of two types"
        reading.refuse("keys-differ", what, "write the key in the same type in every file, best as text")


def _own(role: str, name: str) -> str:
    return f"{name} ({role})"


def _one_to_one(
    con: frames.Connection, columns: dict[str, list[str]], policy: CheckPolicy, keys: list[str], first: str
) -> tuple[frames.Relation, CheckPolicy]:
    taken = {name: f"{_table(first)}.{frames.quote(name)}" for name in columns[first]}
    taken |= {name: f"{_table('candidate')}.{frames.quote(name)}" for name in columns["candidate"] if name not in taken}
    if first == "labels":  # the labels' file may hold columns of the candidate's names; predictions are the candidate's
        mine = [name for name in columns["candidate"] if _is_named(name, policy.candidate)]
        taken |= {name: f"{_table('candidate')}.{frames.quote(name)}" for name in mine}
    changed: dict[str, Any] = {}
    for role in ("champion", "anchor"):
        if role in columns:
            taken |= {_own(role, name): f"{_table(role)}.{frames.quote(name)}" for name in columns[role]}
            changed[role] = _own(role, getattr(policy, role))
    on = {
        role: " AND ".join(f"{_table(role)}.{frames.quote(key)} = {_table(first)}.{frames.quote(key)}" for key in keys)
        for role in columns
        if role != first
    }
    chosen = ", ".join(f"{expression} AS {frames.quote(name)}" for name, expression in taken.items())
    joins = " ".join(f"JOIN {_table(role)} ON {condition}" for role, condition in on.items())
    numbered = f"(SELECT *, row_number() OVER () AS {_PLACE} FROM {_table(first)})"  # a user's column may be called rowid
    query = f"SELECT {chosen} FROM {numbered} AS {_table(first)} {joins} ORDER BY {_table(first)}.{_PLACE}"
    return con.sql(query), replace(policy, **changed)


def _is_named(column: str, name: str) -> bool:
    head, star, tail = name.partition("*")
    return column == name or bool(star and column.startswith(head) and column.endswith(tail))


def _stacked(
    reading: Reading, con: frames.Connection, columns: dict[str, list[str]], policy: CheckPolicy
) -> tuple[frames.Relation, CheckPolicy]:
    """Scores: runs below each other, each with the score of its model alone; they are averaged by item afterwards."""
    changed = {role: _own(role, getattr(policy, role)) for role in ("champion", "anchor") if role in columns}
    selects = [f"SELECT * FROM {_table('candidate')}"]
    for role, own in changed.items():
        score = getattr(policy, role)
        if score not in columns[role]:
            what = f"the score column {score!r} is missing in the rows of the {role}; {nearest(score, columns[role])}"
            reading.refuse("column-missing", what, "mend the name in the policy")
            return con.table(_table("candidate")), policy
        rest = ", ".join(frames.quote(name) for name in columns[role] if name != score and name in columns["candidate"])
        selects.append(f"SELECT {rest}{',' if rest else ''} {frames.quote(score)} AS {frames.quote(own)} FROM {_table(role)}")
    return con.sql(" UNION ALL BY NAME ".join(selects)), replace(policy, **changed)
