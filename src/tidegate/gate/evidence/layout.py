"""How columns become arrays: found out once over all rows, then used on all of them or portion by portion."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.gate.evidence import classes, groups, numbers, ranking
from tidegate.gate.evidence.evidence import MIN_ROWS, Evidence, Slicing
from tidegate.gate.evidence.labelling import Labelling, as_slice, count_labels, lacking
from tidegate.gate.evidence.numbers import Summary, summarise
from tidegate.gate.evidence.reading import Reading
from tidegate.gate.evidence.scores import WINS
from tidegate.gate.evidence.spread import Spread, Types, find_spreads, refuse_missing, unfold
from tidegate.gate.wording import listed
from tidegate.records.policy import CheckPolicy
from tidegate.stats.estimate import Floats

ROLES = ("label", "candidate", "champion", "anchor")
_SEVERAL = {"multiclass", "multilabel"}
_LABELLED = "evidence_labelled"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which SQL expression gives what, and the values that codes stand for."""

    policy: CheckPolicy
    spreads: dict[str, Spread]
    rows: int
    classes: list[str] = field(default_factory=list[str])
    slices: dict[str, Slicing] = field(default_factory=dict[str, Slicing])
    """Without codes."""
    clusters: NDArray[np.uint64] | None = None
    queries: NDArray[np.uint64] | None = None
    where: str = "true"
    """SQL condition of the rows that are evidence."""
    labelling: Labelling | None = None


class Portion(NamedTuple):
    """Some rows, what their numbers hold by role, and whether candidate and champion predict the same on all of them."""

    evidence: Evidence
    summaries: dict[str, Summary]
    same: bool


def types_of(con: frames.Connection, table: str) -> Types:
    """DuckDB's types of a table's columns."""
    empty = con.sql(f"SELECT * FROM {table} LIMIT 0")
    return dict(zip(empty.columns, empty.types, strict=True))


def roles_of(policy: CheckPolicy) -> dict[str, str]:
    """The columns that hold labels and predictions, by what they are."""
    return {role: getattr(policy, role) for role in ROLES if getattr(policy, role)}


def singles_of(policy: CheckPolicy) -> dict[str, str]:
    """The other columns that a policy names, and what they are for; one column may serve for several."""
    named = [(getattr(policy, role), role) for role in ("weight", "cluster", "key", "query", "preference")]
    named += [(column, "slice") for column in groups.slice_columns(policy)]
    named += [(column, "rows") for column in groups.mark_columns(policy)]
    found: dict[str, str] = {}
    for name, role in named:
        if name:
            found[name] = f"{found[name]} and {role}" if name in found else role
    return found


def check_columns(reading: Reading, types: Types, policy: CheckPolicy) -> list[str]:
    """Refuses columns that are missing or of a type that cannot be read; the names of those that are wanted."""
    spreads = find_spreads(reading, types, roles_of(policy))
    for spread in spreads.values():
        if spread.castable or (policy.task == "multiclass" and not spread.several):
            continue
        held = str(types[spread.columns[0]])[:80]
        reading.refuse(
            "not-numeric", f"the {spread.role} column {spread.name!r} holds {held}, not numbers", "convert it to numbers"
        )
    for spread in spreads.values():
        if spread.several and policy.task not in _SEVERAL:
            held = f"{len(spread.columns)} columns" if spread.columns[0] != spread.name else str(types[spread.name])[:80]
            what = f"the {spread.role} column {spread.name!r} holds {held}; the task {policy.task} takes one number per row"
            reading.refuse("not-numeric", what, "name the one column, or mend the task")
    singles = singles_of(policy)
    for name, role in singles.items():
        if name not in types:
            refuse_missing(reading, types, role, name)
    for name in (policy.weight, *groups.mark_columns(policy)):
        if name in types and not Spread("", name, (name,), frozenset([str(types[name].id)])).castable:
            role = singles[name]
            reading.refuse("not-numeric", f"the {role} column {name!r} holds {types[name]}, not numbers", "convert it to numbers")
    return list(dict.fromkeys([*(column for spread in spreads.values() for column in spread.columns), *singles]))


def survey(reading: Reading, con: frames.Connection, table: str, policy: CheckPolicy) -> Layout | None:
    """Looks over all rows of a table or view, whose columns were checked: which classes, slices, clusters and queries there are.

    The columns of a scores policy are those of items (see ``scores.items``). None: there are problems.
    """
    types = types_of(con, table)
    spreads = {
        role: unfold(reading, con, table, spread, types)
        for role, spread in find_spreads(reading, types, roles_of(policy)).items()
    }
    if reading.problems:
        return None
    where, labelling = _labelled(con, table, spreads, policy)
    con.execute(f"CREATE OR REPLACE TEMP VIEW {_LABELLED} AS SELECT * FROM {table} WHERE {where}")
    counted: Any = con.execute(f"SELECT count(*) FROM {_LABELLED}").fetchone()
    if not counted[0]:
        reading.refuse("label-missing", "no row has a label", "label some rows first")
        return None
    if labelling is not None and counted[0] < labelling.whole.rows:
        whole, reading.rows = labelling.whole, int(counted[0])
        what = f"{whole.rows - whole.labelled:,} of {whole.rows:,} rows have no label; all other rules leave them out"
        reading.warn("rows-without-label", what, "judge again when more labels are there")
    if policy.key and policy.task != "scores":
        keyed = [policy.query, policy.key] if policy.task == "ranking" and policy.query else [policy.key]
        groups.check_keys(reading, con, _LABELLED, keyed)
    layout = Layout(policy, spreads, int(counted[0]), where=where, labelling=labelling)
    if policy.task in _SEVERAL:
        layout = _with_classes(reading, con, layout)
    if policy.task == "ranking":
        ranking.check_queries(reading, con, _LABELLED, policy.query, spreads["label"].parts[""])
        _check_queries_whole(reading, con, policy)
    if policy.weight:
        _check_weights(reading, con, policy.weight)
    for column in groups.mark_columns(policy):
        groups.check_marks(reading, con, _LABELLED, column)
    return _with_groups(reading, con, table, layout)


def _labelled(
    con: frames.Connection, table: str, spreads: dict[str, Spread], policy: CheckPolicy
) -> tuple[str, Labelling | None]:
    """Where a rule asks for label coverage, rows without a label are counted and left out; elsewhere they are a problem later."""
    if policy.task == "scores" or all(rule.test != "label_coverage" for rule in policy.rules):
        return "true", None
    columns = list(spreads["label"].columns)
    return f"NOT ({lacking(con, table, columns)})", count_labels(con, table, columns, groups.slice_columns(policy))


def _with_classes(reading: Reading, con: frames.Connection, layout: Layout) -> Layout:
    declared = layout.policy.classes
    if layout.policy.task == "multilabel":
        spreads, names = classes.label_parts(reading, layout.spreads, declared)
    else:
        spreads, names = classes.class_codes(reading, con, _LABELLED, layout.spreads, declared)
    return replace(layout, spreads=spreads, classes=names)


def _check_queries_whole(reading: Reading, con: frames.Connection, policy: CheckPolicy) -> None:
    within = dict.fromkeys(groups.slice_columns(policy), "slice")
    within |= {name: role for name, role in ((policy.cluster, "cluster"), (policy.weight, "weight")) if name}
    within.pop(policy.query, None)
    groups.check_constant_within(reading, con, _LABELLED, policy.query, within, "query")


def _check_weights(reading: Reading, con: frames.Connection, column: str) -> None:
    weight = f"TRY_CAST({frames.quote(column)} AS DOUBLE)"
    good = f"isfinite({weight}) AND {weight} BETWEEN 0 AND {numbers.HEAVIEST}"
    found: Any = con.execute(
        f"SELECT count(*) FILTER (NOT coalesce({good}, false)), sum({weight}) FILTER ({good}) FROM {_LABELLED}"
    ).fetchone()
    if found[0] or not found[1]:
        what = f"{found[0]:,} weights in {column!r} are negative, missing, infinite or beyond {numbers.HEAVIEST:g}"
        what = what if found[0] else f"the weights in {column!r} sum to zero"
        reading.refuse("bad-weights", what, "give every row a weight of 0 or more")


def _with_groups(reading: Reading, con: frames.Connection, table: str, layout: Layout) -> Layout | None:
    policy = layout.policy
    slices: dict[str, Slicing] = {}
    for place, column in enumerate(groups.slice_columns(policy)):
        values = groups.slice_values(reading, con, table, column, policy)
        if values:
            listed = ", ".join(map(frames.literal, values))
            con.execute(f"CREATE OR REPLACE TYPE evidence_slice_{place} AS ENUM ({listed})")
            slices[column] = Slicing(np.empty(0, dtype=np.int64), values)
    clusters = None
    if policy.cluster:
        clusters = groups.group_hashes(con, _LABELLED, policy.cluster)
        groups.check_clusters(reading, con, _LABELLED, policy.cluster, clusters.size)
    queries = groups.group_hashes(con, _LABELLED, policy.query) if policy.task == "ranking" else None
    if layout.rows < MIN_ROWS and policy.task != "ranking":
        noun = "item" if policy.task == "scores" else "row"
        reading.warn(
            "too-few-rows",
            f"there {'is' if layout.rows == 1 else 'are'} {layout.rows} {noun}{'' if layout.rows == 1 else 's'}; "
            f"at least {MIN_ROWS} are needed for an interval",
            f"collect more {noun}s",
        )
    return None if reading.problems else replace(layout, slices=slices, clusters=clusters, queries=queries)


def fetch(con: frames.Connection, table: str, layout: Layout) -> Portion:
    """The rows of a table or view with the surveyed columns (on the surveyed connection, where the codes are known)."""
    found = con.execute(f"SELECT {', '.join(_expressions(layout))} FROM {table} WHERE {layout.where}").fetchnumpy()
    policy, task = layout.policy, layout.policy.task
    values = {role: _array(found, spread) for role, spread in layout.spreads.items()}
    summaries = {role: summarise(array) for role, array in values.items()}
    if task == "multiclass":
        values = _all_alike(values)
    wins: Floats | None = None
    if task == "scores":
        wins = np.asarray(frames.plain(found.pop("wins")), dtype=np.float64)
        if policy.preference and "candidate" not in values:
            values |= {"candidate": wins, "champion": 1 - wins}
        values["label"] = np.zeros(wins.size)
    ours, theirs = values["candidate"], values.get("champion")
    hard = {role: each.soft == 0 for role, each in summaries.items() if role != "label"}
    evidence = Evidence(
        task=task,
        labels=values["label"],
        candidate=ours,
        champion=theirs,
        anchor=values.get("anchor"),
        classes=layout.classes,
        queries=None if layout.queries is None else groups.codes_of(found.pop("query"), layout.queries),
        wins=wins if policy.preference or theirs is not None else None,
        keys=groups.as_keys(found.pop("key")) if policy.key else None,
        clusters=None if layout.clusters is None else groups.codes_of(found.pop("cluster"), layout.clusters),
        weights=np.asarray(frames.plain(found.pop("weight")), dtype=np.float64) if policy.weight else None,
        slices={
            column: replace(slicing, codes=np.asarray(found.pop(f"slice_{place}"), dtype=np.int64))
            for place, (column, slicing) in enumerate(layout.slices.items())
        },
        marks={column: groups.marked(found.pop(f"mark_{place}")) for place, column in enumerate(groups.mark_columns(policy))},
        hard=ours.ndim == 1 if task == "multiclass" else task in {"binary", "multilabel"} and any(hard.values()),
        labelling=layout.labelling,
    )
    return Portion(evidence, summaries, theirs is not None and bool(np.array_equal(ours, theirs)))


def _expressions(layout: Layout) -> list[str]:
    """SQL of what is fetched, each with a name of its own."""
    policy = layout.policy
    wanted: list[str] = []
    for role, spread in layout.spreads.items():
        wanted += [f"TRY_CAST({part} AS DOUBLE) AS {role}_{place}" for place, part in enumerate(spread.parts.values())]
    if policy.weight:
        wanted.append(f"TRY_CAST({frames.quote(policy.weight)} AS DOUBLE) AS weight")
    if policy.cluster:
        wanted.append(f"hash({frames.quote(policy.cluster)}) AS cluster")
    if layout.queries is not None:
        wanted.append(f"hash({frames.quote(policy.query)}) AS query")
    if policy.key:
        wanted.append(f"{frames.quote(policy.key)} AS key")
    if policy.task == "scores":
        wanted.append(f"{frames.quote(WINS)} AS wins")
    columns = groups.slice_columns(policy)
    for place, column in enumerate(layout.slices):
        kind = f"evidence_slice_{columns.index(column)}"
        wanted.append(f"enum_code(({as_slice(column)})::{kind}) AS slice_{place}")
    for place, column in enumerate(groups.mark_columns(policy)):
        wanted.append(f"TRY_CAST({frames.quote(column)} AS DOUBLE) AS mark_{place}")
    return wanted


def _array(found: dict[str, Any], spread: Spread) -> Floats:
    """The [n] or [n, K] numbers of a role; what was fetched is let go column by column."""
    names = [f"{spread.role}_{place}" for place in range(len(spread.parts))]
    if not spread.several:
        return np.asarray(frames.plain(found.pop(names[0])), dtype=np.float64)
    table = np.empty((len(found[names[0]]), len(names)))
    for place, name in enumerate(names):
        table[:, place] = frames.plain(found.pop(name))
    return table


def _all_alike(values: dict[str, Floats]) -> dict[str, Floats]:
    """If one model gives only its decisions, all are compared by theirs: the class of the highest probability."""
    mixed = any(array.ndim == 1 for role, array in values.items() if role != "label")
    if not mixed:
        return values
    return {
        role: array if array.ndim == 1 else np.nan_to_num(array, nan=-1.0).argmax(axis=1).astype(np.float64)
        for role, array in values.items()
    }


def report_summaries(reading: Reading, con: frames.Connection, table: str, layout: Layout, summaries: dict[str, Summary]) -> None:
    """Refuses what the numbers of all portions together show to be unusable."""
    task = layout.policy.task
    for role, found in summaries.items():
        if task != "multiclass" or layout.spreads[role].several:
            numbers.report_numbers(reading, con, table, layout.spreads[role], found)
    if reading.problems:
        return
    label = summaries.get("label")
    if label is not None and task in {"binary", "multilabel"}:
        _report_labels(reading, layout, label)
    for role, found in summaries.items():
        spread = layout.spreads[role]
        if role != "label" and (task in {"binary", "multilabel"} or (task == "multiclass" and spread.several)):
            numbers.report_probabilities(reading, spread, found, sums=task == "multiclass")


def report_doubts(reading: Reading, layout: Layout, summaries: dict[str, Summary], *, same: bool) -> None:
    """Refuses numbers that can be measured, but that no candidate worth shipping would give."""
    if same and not layout.policy.preference:
        reading.refuse(
            "candidate-equals-champion",
            "candidate and champion predict exactly the same on every row",
            "check that the right columns are compared: a candidate that changes nothing need not be shipped",
        )
    if layout.policy.task == "scores":
        return
    for role, found in summaries.items():
        if role != "label":
            numbers.report_constant(reading, layout.spreads[role], found)


def _report_labels(reading: Reading, layout: Layout, label: Summary) -> None:
    spread = layout.spreads["label"]
    if label.soft:
        reading.refuse(
            "label-not-binary",
            f"{label.soft:,} labels in {spread.name!r} are neither 0 nor 1, such as {label.odd:g}",
            'map the labels to 0 and 1, or use task = "multiclass"',
        )
    elif label.constant:
        what = f"every label in {spread.name!r} is {label.low[0]:g}"
        what = f"every row has the same labels in {spread.name!r}" if spread.several else what
        reading.refuse("one-class", what, "judge on rows that hold both classes")
    elif spread.several:
        empty = [name for name, high in zip(layout.classes, label.high, strict=True) if high == 0]
        if empty:
            some = listed([repr(name) for name in empty], 5)
            reading.warn("class-not-in-labels", f"no row has the label {some}", "judge on rows that hold every label")
