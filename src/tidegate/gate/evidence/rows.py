"""Evidence from any frame or file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from tidegate import frames
from tidegate.gate.evidence.cuts import cut_numbers
from tidegate.gate.evidence.joined import joined
from tidegate.gate.evidence.layout import check_columns, fetch, report_doubts, report_summaries, singles_of, survey
from tidegate.gate.evidence.reading import Reading
from tidegate.gate.evidence.repeats import tell_repeats
from tidegate.gate.evidence.scores import items
from tidegate.records.policy import CheckPolicy

_TABLE = "evidence_rows"
_ITEM_COLUMNS = {"key", "preference"}


@np.errstate(all="ignore")  # what is not finite is refused
def read_evidence(source: Any, policy: CheckPolicy, others: Mapping[str, Any] | None = None) -> Reading:
    """Reads and checks the columns that ``policy`` names from any frame or file (see ``tidegate.frames``).

    Args:
        source: The rows; with ``others``, those of the candidate.
        policy: Names the columns and the task.
        others: Further frames by what they hold (``labels``, ``champion``, ``anchor``); they are joined by the policy's key.

    Raises:
        NotFoundError: ``source`` is a path and nothing is there.
        BadInputError: ``source`` cannot be read as a table.
        UsageError: there are several frames, and the policy names no key.
    """
    reading = Reading()
    try:
        with frames.connect() as con:
            _read(reading, con, source, policy, others or {})
    except duckdb.Error as error:
        raise frames.unreadable(error, source, *(others or {}).values()) from None
    return reading


def _read(reading: Reading, con: frames.Connection, source: Any, policy: CheckPolicy, others: Mapping[str, Any]) -> None:
    if others:
        relation, policy = joined(reading, con, {"candidate": source, **others}, policy)
    else:
        relation = frames.relation(con, source)
    if reading.problems:
        return
    wanted = check_columns(reading, dict(zip(relation.columns, relation.types, strict=True)), policy)
    if reading.problems:
        return
    relation.project(", ".join(map(frames.quote, wanted))).create(_TABLE)
    counted: Any = con.execute(f"SELECT count(*) FROM {_TABLE}").fetchone()
    reading.rows = int(counted[0])
    if reading.rows == 0:
        reading.refuse("no-rows", "there are no rows", "check what wrote the file, and any filter before it")
        return
    cut_numbers(con, _TABLE, policy)
    table = _TABLE
    if policy.task == "scores":
        table = _items(reading, con, policy)
    layout = None if reading.problems else survey(reading, con, table, policy)
    if layout is None:
        return
    portion = fetch(con, table, layout)
    report_summaries(reading, con, table, layout, portion.summaries)
    if not reading.problems:
        reading.evidence = portion.evidence
        report_doubts(reading, layout, portion.summaries, same=portion.same)
    if not reading.problems:
        again = isinstance(source, (str, Path)) and not others and policy.task != "scores"  # a stream can be read once
        tell_repeats(reading, con, table, layout, relation if again else None)


def _items(reading: Reading, con: frames.Connection, policy: CheckPolicy) -> str:
    if policy.key:
        empty: Any = con.execute(f"SELECT count(*) FROM {_TABLE} WHERE {frames.quote(policy.key)} IS NULL").fetchone()
        if empty[0]:
            reading.refuse("key-missing", f"{empty[0]:,} rows have no key ({policy.key!r})", "give every run the key of its item")
    kept = {name: role for name, role in singles_of(policy).items() if role not in _ITEM_COLUMNS and name != policy.key}
    return items(reading, con, _TABLE, policy, kept)
