"""The rows that a gate judges by: read from any frame, checked column by column, held as plain arrays.

Everything that makes rows unusable is collected as a problem with a code and a sentence; one problem makes the verdict INVALID.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.records.names import nearest
from tidegate.records.policy import CheckPolicy
from tidegate.records.report import Problem
from tidegate.stats.estimate import Floats, cluster_count

MISSING = "(missing)"
MAX_SLICES = 500
_TABLE = "evidence_rows"
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_REALS = ("FLOAT", "DOUBLE", "DECIMAL")

Groups: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Slicing:
    """One slice column: the code of each row, and the value that each code stands for, sorted."""

    codes: Groups
    values: list[str]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Labels and predictions with what groups and weighs them, [n] each unless it is said otherwise.

    Binary: labels 0/1, predictions are probabilities or 0/1. Multiclass: labels are codes of ``classes``; predictions are codes,
    or [n, K] probabilities. Multilabel: [n, K] labels 0/1 and probabilities or 0/1 of the labels named in ``classes``.
    Ranking: relevance of at least 0, and scores within ``queries``. Scores: no labels (zeros); predictions are the scores of items.
    """

    task: str
    labels: Floats
    candidate: Floats
    champion: Floats | None = None
    anchor: Floats | None = None
    """Predictions of the version that was last proven better."""
    classes: list[str] = field(default_factory=list[str])
    queries: Groups | None = None
    keys: NDArray[Any] | None = None
    """What names each row for a reader, as text; None: its number does."""
    clusters: Groups | None = None
    weights: Floats | None = None
    slices: dict[str, Slicing] = field(default_factory=dict[str, Slicing])
    hard: bool = False
    """Whether one of the models gives 0 and 1 only: decisions, not probabilities."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.labels)

    @property
    def cluster_count(self) -> int | None:
        """How many clusters there are, None without a cluster column."""
        return None if self.clusters is None else cluster_count(self.clusters)

    def take(self, rows: slice | Groups) -> Evidence:
        """The evidence of some rows, without its slices."""
        return Evidence(
            task=self.task,
            labels=self.labels[rows],
            candidate=self.candidate[rows],
            champion=None if self.champion is None else self.champion[rows],
            anchor=None if self.anchor is None else self.anchor[rows],
            classes=self.classes,
            queries=None if self.queries is None else self.queries[rows],
            keys=None if self.keys is None else self.keys[rows],
            clusters=None if self.clusters is None else self.clusters[rows],
            weights=None if self.weights is None else self.weights[rows],
            hard=self.hard,
        )

    def split(self, column: str) -> list[tuple[str, Evidence]]:
        """The evidence of each value of a slice column, in the order of the values."""
        slicing = self.slices[column]
        order = np.argsort(slicing.codes, kind="stable")
        ordered = self.take(order)
        ends = np.cumsum(np.bincount(slicing.codes, minlength=len(slicing.values)))
        starts = np.concatenate([[0], ends[:-1]])
        return [(name, ordered.take(slice(int(a), int(b)))) for name, a, b in zip(slicing.values, starts, ends, strict=True)]


@dataclass(slots=True)
class Reading:
    """What came of reading: the evidence, unless there are problems; and what a reader should know."""

    evidence: Evidence | None = None
    problems: list[Problem] = field(default_factory=list[Problem])
    warnings: list[Problem] = field(default_factory=list[Problem])
    rows: int = 0

    def refuse(self, code: str, what: str, fix: str) -> None:
        """Adds a problem."""
        self.problems.append(Problem(code=code, what=what, fix=fix))

    def warn(self, code: str, what: str, fix: str = "") -> None:
        """Adds a warning."""
        self.warnings.append(Problem(code=code, what=what, fix=fix))


def read_evidence(source: Any, policy: CheckPolicy) -> Reading:
    """Reads and checks the columns that ``policy`` names from any frame or file (see ``tidegate.frames``).

    Raises:
        NotFoundError: ``source`` is a path and nothing is there.
        BadInputError: ``source`` cannot be read as a table.
    """
    reading = Reading()
    with frames.connect() as con:
        relation = frames.relation(con, source)
        _check_columns(reading, dict(zip(relation.columns, map(str, relation.types), strict=True)), policy)
        if reading.problems:
            return reading
        wanted = dict.fromkeys([*_roles(policy).values(), *_slice_columns(policy)])
        relation.project(", ".join(map(frames.quote, wanted))).create(_TABLE)
        rows: Any = con.execute(f"SELECT count(*) FROM {_TABLE}").fetchone()
        reading.rows = int(rows[0])
        if reading.rows == 0:
            reading.refuse("no-rows", "there are no rows", "check what wrote the file, and any filter before it")
            return reading
        _check_keys(reading, con, policy)
        _read(reading, con, policy)
    return reading


def _roles(policy: CheckPolicy) -> dict[str, str]:
    names = {role: getattr(policy, role) for role in ("label", "candidate", "champion", "weight", "cluster", "key")}
    return {role: name for role, name in names.items() if name}


def _slice_columns(policy: CheckPolicy) -> list[str]:
    return list(dict.fromkeys(column for rule in policy.rules for column in rule.slices))


def _check_columns(reading: Reading, types: dict[str, str], policy: CheckPolicy) -> None:
    for role, name in [*_roles(policy).items(), *(("slice", column) for column in _slice_columns(policy))]:
        if name not in types:
            reading.refuse(
                "column-missing",
                f"the {role} column {name!r} is missing; {nearest(name, list(types))}",
                "mend the name in the policy",
            )
            continue
        numeric = role in {"label", "candidate", "champion"} and policy.task != "multiclass"
        if (numeric or role == "weight") and not types[name].startswith((*_NUMBERS, *_REALS, "BOOLEAN", "VARCHAR")):
            reading.refuse("not-numeric", f"the {role} column {name!r} holds {types[name]}, not numbers", "convert it to numbers")


def _check_keys(reading: Reading, con: frames.Connection, policy: CheckPolicy) -> None:
    if not policy.key:
        return
    key = frames.quote(policy.key)
    empty: Any = con.execute(f"SELECT count(*) FROM {_TABLE} WHERE {key} IS NULL").fetchone()
    if empty[0]:
        reading.refuse("key-missing", f"{empty[0]:,} rows have no key ({policy.key!r})", "give every row its key")
    doubled = con.execute(
        f"SELECT {key}::VARCHAR AS k, count(*) FROM {_TABLE} WHERE {key} IS NOT NULL GROUP BY k HAVING count(*) > 1 ORDER BY k"
    ).fetchall()
    if doubled:
        some = ", ".join(f"{name!r} ({count} times)" for name, count in doubled[:3])
        reading.refuse("duplicate-keys", f"{len(doubled):,} keys stand more than once, such as {some}", "keep one row per key")


def _read(reading: Reading, con: frames.Connection, policy: CheckPolicy) -> None:
    roles = [role for role in ("label", "candidate", "champion") if getattr(policy, role)]
    values = _classes(reading, con, policy, roles) if policy.task == "multiclass" else _numbers(reading, con, policy, roles)
    if policy.task == "binary":
        _check_binary(reading, values, policy)
    weights = _weights(reading, con, policy)
    slices = {column: _slicing(reading, con, column) for column in _slice_columns(policy)}
    clusters = _clusters(reading, con, policy)
    if reading.problems:
        return
    candidate, champion = values["candidate"], values.get("champion")
    if champion is not None and np.array_equal(candidate, champion):
        reading.warn(
            "candidate-equals-champion",
            "candidate and champion predict exactly the same on every row",
            "check that the right columns are compared",
        )
    for role in ("candidate", "champion"):
        if role in values and reading.rows > 1 and np.ptp(values[role]) == 0:
            reading.warn(
                "constant-predictions", f"the {role} predicts the same on every row", "check the model, unless it is a baseline"
            )
    reading.evidence = Evidence(
        task=policy.task,
        labels=values["label"],
        candidate=candidate,
        champion=champion,
        clusters=clusters,
        weights=weights,
        slices=slices,
        hard=policy.task == "binary" and any(is_hard(values[role]) for role in roles if role != "label"),
    )


def is_hard(predictions: Floats) -> bool:
    """Whether these are decisions (0 and 1 only) and no probabilities."""
    return bool(np.all((predictions == 0) | (predictions == 1)))


def _numbers(reading: Reading, con: frames.Connection, policy: CheckPolicy, roles: list[str]) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for role in roles:
        name = getattr(policy, role)
        found[role] = numbers = _doubles(con, name)
        noun = "label" if role == "label" else "prediction"
        lacking = int(np.isnan(numbers).sum())
        if lacking:
            words = _words(con, name)
            if words:
                reading.refuse(
                    "not-numeric", f"the {role} column {name!r} holds text such as {words[0]!r}", "convert it to numbers"
                )
            else:
                reading.refuse(
                    f"{noun}-missing",
                    f"{lacking:,} of {reading.rows:,} rows have no {noun} in {name!r} (null or NaN)",
                    f"give every row a {noun}, or leave those rows out before",
                )
        endless = int(np.isinf(numbers).sum())
        if endless:
            reading.refuse(
                f"{noun}-infinite",
                f"{endless:,} rows have an infinite {noun} in {name!r}",
                "find what made them: often a division by zero",
            )
    return found


def _doubles(con: frames.Connection, name: str) -> Floats:
    column = con.execute(f"SELECT TRY_CAST({frames.quote(name)} AS DOUBLE) AS v FROM {_TABLE}").fetchnumpy()["v"]
    return np.asarray(frames.plain(column), dtype=np.float64)


def _words(con: frames.Connection, name: str) -> list[str]:
    column = frames.quote(name)
    found = con.execute(
        f"SELECT min({column}::VARCHAR) FROM {_TABLE} WHERE {column} IS NOT NULL AND TRY_CAST({column} AS DOUBLE) IS NULL"
    ).fetchall()
    return [row[0] for row in found if row[0] is not None]


def _check_binary(reading: Reading, values: dict[str, Floats], policy: CheckPolicy) -> None:
    if reading.problems:
        return
    labels = values["label"]
    odd = labels[(labels != 0) & (labels != 1)]
    if odd.size:
        reading.refuse(
            "label-not-binary",
            f"{odd.size:,} labels in {policy.label!r} are neither 0 nor 1, such as {odd.min():g}",
            'map the labels to 0 and 1, or use task = "multiclass"',
        )
    elif labels.min() == labels.max():
        reading.refuse("one-class", f"every label in {policy.label!r} is {labels[0]:g}", "judge on rows that hold both classes")
    for role in ("candidate", "champion"):
        if role not in values:
            continue
        outside = values[role][(values[role] < 0) | (values[role] > 1)]
        if outside.size:
            name = getattr(policy, role)
            reading.refuse(
                "probability-out-of-range",
                f"{outside.size:,} predictions in {name!r} lie outside 0 to 1, such as {outside.min():g}",
                "give probabilities or 0/1, not scores or percents",
            )


def _classes(reading: Reading, con: frames.Connection, policy: CheckPolicy, roles: list[str]) -> dict[str, Floats]:
    names = [getattr(policy, role) for role in roles]
    relation = con.table(_TABLE)
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    numeric = all(types[name].startswith((*_NUMBERS, *_REALS)) for name in names)
    cast = "::DOUBLE::VARCHAR" if numeric else "::VARCHAR"
    texts = {role: f"{frames.quote(name)}{cast}" for role, name in zip(roles, names, strict=True)}
    for role, text in texts.items():
        noun = "label" if role == "label" else "prediction"
        lacking: Any = con.execute(f"SELECT count(*) FROM {_TABLE} WHERE coalesce(lower({text}), 'nan') = 'nan'").fetchone()
        if lacking[0]:
            reading.refuse(
                f"{noun}-missing", f"{lacking[0]:,} rows have no {noun} in {getattr(policy, role)!r}", f"give every row a {noun}"
            )
    if reading.problems:
        return {}
    union = " UNION ".join(f"SELECT {text} AS v FROM {_TABLE}" for text in texts.values())
    con.execute(f"CREATE TYPE evidence_class AS ENUM (SELECT v FROM ({union}) ORDER BY v)")
    columns = ", ".join(f"enum_code(({text})::evidence_class)::DOUBLE AS {role}" for role, text in texts.items())
    found = frames.to_columns(con.sql(f"SELECT {columns} FROM {_TABLE}"))
    if np.unique(found["label"]).size < 2:
        reading.refuse(
            "one-class", f"every label in {policy.label!r} is the same", "judge on rows that hold at least two classes"
        )
    return found


def _weights(reading: Reading, con: frames.Connection, policy: CheckPolicy) -> Floats | None:
    if not policy.weight:
        return None
    weights = _doubles(con, policy.weight)
    bad = int((~np.isfinite(weights) | (weights < 0)).sum())
    if bad or weights.sum() <= 0:
        what = (
            f"{bad:,} weights in {policy.weight!r} are negative, missing or infinite"
            if bad
            else f"the weights in {policy.weight!r} sum to zero"
        )
        reading.refuse("bad-weights", what, "give every row a weight of 0 or more")
    return weights


def _clusters(reading: Reading, con: frames.Connection, policy: CheckPolicy) -> Groups | None:
    if not policy.cluster:
        return None
    name = frames.quote(policy.cluster)
    empty: Any = con.execute(f"SELECT count(*) FROM {_TABLE} WHERE {name} IS NULL").fetchone()
    if empty[0]:
        reading.warn(
            "cluster-missing",
            f"{empty[0]:,} rows have no value in the cluster column {policy.cluster!r}; they are taken as one cluster",
            "fill it where you can",
        )
    # 64 bits tell a million clusters apart but for one chance in ten million, and two that fall together only widen the interval
    hashes = con.execute(f"SELECT hash({name}) AS v FROM {_TABLE}").fetchnumpy()["v"]
    _, codes = np.unique(np.asarray(hashes), return_inverse=True)
    return np.asarray(codes, dtype=np.int64)


def _slicing(reading: Reading, con: frames.Connection, name: str) -> Slicing:
    """A slice column's values as text, sorted, and their codes in the order of the rows (an enumeration keeps it)."""
    text = f"coalesce({frames.quote(name)}::VARCHAR, {frames.literal(MISSING)})"
    query = f"SELECT DISTINCT {text} AS v FROM {_TABLE} ORDER BY v"
    values = [row[0] for row in con.execute(query).fetchall()]
    if len(values) > MAX_SLICES:
        what = f"the slice column {name!r} has {len(values):,} values"
        reading.refuse("too-many-slices", what, f"cut it into at most {MAX_SLICES} groups")
        return Slicing(np.empty(0, dtype=np.int64), [])
    con.execute(f"CREATE OR REPLACE TYPE evidence_slice AS ENUM ({query})")
    codes = con.execute(f"SELECT enum_code(({text})::evidence_slice) AS v FROM {_TABLE}").fetchnumpy()["v"]
    return Slicing(np.asarray(codes, dtype=np.int64), values)
