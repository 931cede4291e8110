"""Files of more rows than memory should hold, judged in portions: each is read, checked and added up, then let go.

This serves metrics that are made of sums (``Metric.additive``): counts and means, with slices, weights and clusters. The checks and the
last steps are the same as for rows in memory, so both give the same report but for what needs the rows themselves.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np

from tidegate import frames
from tidegate.gate.evidence import Evidence, Layout, Reading, fetch, report_doubts, report_summaries, survey
from tidegate.gate.evidence.layout import check_columns
from tidegate.gate.evidence.numbers import Summary
from tidegate.gate.evidence.repeats import tell_repeats
from tidegate.gate.metrics import Metric, parse_metric
from tidegate.gate.metrics.support import Supports, gather_supports
from tidegate.gate.policy import MEASURED
from tidegate.gate.rules.comparison import judge_parts, refusal, refused
from tidegate.gate.rules.parts import Part, SlicePart, settle_slices, settle_whole
from tidegate.records.policy import CheckPolicy, Rule
from tidegate.records.report import RuleResult

MOST_IN_MEMORY = 5_000_000
"""A file with more rows is streamed if it can be."""
PORTION = 1_000_000
_MEMORY = "1500MB"
_TABLE = "evidence_rows"
_NUMBER = "file_row_number"
_TASKS = {"binary", "multiclass", "multilabel", "regression"}

Progress = Callable[[int, int], None]
"""Rows that are done, and rows in all."""


class Streamed(NamedTuple):
    """What came of streaming: what reading found (with no evidence), and the rules as judged."""

    reading: Reading
    rules: list[RuleResult]
    clusters: int | None


def why_not_streamed(policy: CheckPolicy, columns: Iterable[str] = ()) -> str:
    """Why a policy, on a file with these columns, cannot be judged in portions; empty if it can."""
    if any(name.lower() == _NUMBER for name in columns):
        return f"a column of the file is called {_NUMBER}"
    if policy.task not in _TASKS:
        return f"the task {policy.task} is judged by groups of rows"
    if policy.anchor:
        return "it names an anchor"
    if policy.explore:
        return "it explores slices"
    for rule in policy.rules:
        if rule.test not in MEASURED:
            return f"the test {rule.test} looks at single rows"
        if parse_metric(rule.metric, policy.task, rule.costs).additive is None:
            return f"{rule.metric} is not made of sums"
    return ""


class Footer(NamedTuple):
    """What a Parquet file says of itself."""

    rows: int
    columns: list[str]


def footer_of(source: Any) -> Footer | None:
    """How many rows a Parquet file has, and its columns, by its footer; None for anything else."""
    if (
        not isinstance(source, (str, Path))
        or Path(source).suffix.lower() not in {".parquet", ".pq"}
        or not Path(source).is_file()
    ):
        return None
    with frames.connect() as con:
        try:
            found: Any = con.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [str(source)]).fetchone()
            columns = con.read_parquet(str(source)).columns
        except duckdb.Error:
            return None  # whoever reads it says what is wrong
    return Footer(int(found[0] or 0), columns)


@np.errstate(all="ignore")  # as in memory
def stream(source: str | Path, policy: CheckPolicy, *, progress: Progress | None = None, portion: int = PORTION) -> Streamed:
    """Judges a Parquet file in portions of about ``portion`` rows. The policy must be one that can be (``why_not_streamed``).

    Raises:
        BadInputError: the file cannot be read.
    """
    reading = Reading()
    try:
        with tempfile.TemporaryDirectory() as folder, frames.connect() as con:
            con.execute(f"SET memory_limit = '{_MEMORY}'")
            con.execute(f"SET temp_directory = {frames.literal(folder)}")
            return _stream(reading, con, Path(source), policy, progress or _silent, portion)
    except duckdb.Error as error:
        raise frames.unreadable(error, source) from None


def _silent(done: int, rows: int) -> None:
    del done, rows


def _stream(
    reading: Reading, con: frames.Connection, path: Path, policy: CheckPolicy, progress: Progress, portion: int
) -> Streamed:
    relation = frames.numbered(con, path)
    types = dict(zip(relation.columns, relation.types, strict=True))
    del types[_NUMBER]
    wanted = check_columns(reading, types, policy)
    if reading.problems:
        return Streamed(reading, [], None)
    relation.project(", ".join(map(frames.quote, [*wanted, _NUMBER]))).create_view(_TABLE)
    reading.rows = sum(_row_groups(con, path))
    if reading.rows == 0:
        reading.refuse("no-rows", "there are no rows", "check what wrote the file, and any filter before it")
        return Streamed(reading, [], None)
    progress(0, reading.rows)
    layout = survey(reading, con, _TABLE, policy)
    if layout is None:
        return Streamed(reading, [], None)
    sums = [_Sums(parse_metric(rule.metric, policy.task, rule.costs), rule) for rule in policy.rules]
    seen = _Seen()
    for first, last in _portions(con, path, portion):
        seen.add(con, f"(SELECT * FROM {_TABLE} WHERE {_NUMBER} BETWEEN {first} AND {last})", layout, sums)
        progress(last + 1, reading.rows)
    report_summaries(reading, con, _TABLE, layout, seen.summaries)
    if reading.problems or seen.support is None:
        return Streamed(reading, [], None)
    report_doubts(reading, layout, seen.summaries, same=seen.same)
    tell_repeats(reading, con, _TABLE, layout, None)
    clusters = seen.support.settle(0).clusters
    rules = [_judged(each, layout, seen, policy) for each in sums]
    return Streamed(reading, rules, clusters)


@dataclass(slots=True)
class _Sums:
    """A metric's sums over the rows so far: of all, and of each slice column."""

    metric: Metric
    rule: Rule
    whole: Any = None
    slices: dict[str, Any] = field(default_factory=dict[str, Any])
    refusal: str = ""

    def add(self, evidence: Evidence) -> None:
        additive = self.metric.additive
        assert additive is not None
        self.refusal = self.refusal or (self.metric.refuses(evidence) if self.metric.refuses else "")
        if self.refusal:
            return
        state = additive.gather(evidence, None, 1)
        self.whole = state if self.whole is None else additive.merge(self.whole, state)
        for column in self.rule.slices:
            slicing = evidence.slices[column]
            state = additive.gather(evidence, slicing.codes, len(slicing.values))
            self.slices[column] = additive.merge(self.slices[column], state) if column in self.slices else state


@dataclass(slots=True)
class _Seen:
    """What the rows so far hold, whatever the metric."""

    summaries: dict[str, Summary] = field(default_factory=dict[str, Summary])
    same: bool = True
    hard: bool = False
    support: Supports | None = None
    slices: dict[str, Supports] = field(default_factory=dict[str, Supports])

    def add(self, con: frames.Connection, rows: str, layout: Layout, sums: list[_Sums]) -> None:
        evidence, summaries, same = fetch(con, rows, layout)
        self.summaries = {
            role: found + self.summaries[role] if role in self.summaries else found for role, found in summaries.items()
        }
        self.same = self.same and same
        self.hard = evidence.task in {"binary", "multilabel"} and any(
            found.soft == 0 for role, found in self.summaries.items() if role != "label"
        )
        self.hard = self.hard or (evidence.task == "multiclass" and evidence.hard)
        if not evidence.rows or not all(_fit(role, found, evidence.task) for role, found in self.summaries.items()):
            return  # they will be refused
        support = gather_supports(evidence, None, 1)
        self.support = support if self.support is None else self.support.merge(support)
        for column, slicing in evidence.slices.items():
            support = gather_supports(evidence, slicing.codes, len(slicing.values))
            self.slices[column] = self.slices[column].merge(support) if column in self.slices else support
        for each in sums:
            each.add(evidence)


def _fit(role: str, found: Summary, task: str) -> bool:
    """Whether numbers can be added up at all."""
    probabilities = role != "label" and task not in {"regression", "multiclass"}
    return found.usable and not (probabilities and found.outside and found.high.size == 1)


def _judged(sums: _Sums, layout: Layout, seen: _Seen, policy: CheckPolicy) -> RuleResult:
    metric, rule = sums.metric, sums.rule
    why = refusal(metric, hard=seen.hard, said=sums.refusal)
    if why:
        return refused(rule, metric, why)
    assert metric.additive is not None
    assert seen.support is not None
    given: Any = {"confidence": policy.confidence, "seed": policy.seed}
    whole: Part = settle_whole(metric.additive, sums.whole, seen.support, rule.metric, **given)
    slices: list[SlicePart] = []
    for column in rule.slices:
        values = layout.slices[column].values
        slices += settle_slices(metric.additive, sums.slices[column], seen.slices[column], column, values, rule.metric, **given)
    return judge_parts(rule, metric, whole, slices, confidence=policy.confidence)


def _row_groups(con: frames.Connection, path: Path) -> list[int]:
    found = con.execute(
        "SELECT any_value(row_group_num_rows) FROM parquet_metadata(?) GROUP BY row_group_id ORDER BY row_group_id", [str(path)]
    ).fetchall()
    return [int(row[0]) for row in found]


def _portions(con: frames.Connection, path: Path, portion: int) -> Iterator[tuple[int, int]]:
    """First and last row numbers of portions; they begin where a row group does, so that none is read twice, if it is not too large."""
    start = end = 0
    for rows in _row_groups(con, path):
        if end > start and end - start + rows > portion:
            yield start, end - 1
            start = end
        end += rows
        while end - start > portion:
            yield start, start + portion - 1
            start += portion
    if end > start:
        yield start, end - 1
