"""What is known about a rollout at a time: its pairs, joined with the labels that count by then, as plain arrays.

A look must see what the look before it saw, and more: rows are taken in the order in which they were answered, up to a moment by which
all servers have written theirs, and a label counts if it was known within the declared maturity, which has then passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.clock import SECOND
from tidegate.monitoring import Labels
from tidegate.monitoring.days import timestamp
from tidegate.monitoring.scoring import label_numbers
from tidegate.records.ledger import Rollout
from tidegate.serving.rollout.pairing import flush_seconds
from tidegate.serving.rollout.pairs import read_pairs
from tidegate.stats.estimate import Floats
from tidegate.store.ports import Bucket

Bools = NDArray[np.bool_]

_NUMBERS = ("step", "share", "point", "champion", "candidate", "champion_failed", "candidate_failed", "seconds")


@dataclass(frozen=True)
class Evidence:
    """Rows in the order in which they were answered: all arrays are [n], NaN is what nobody knows."""

    step: NDArray[np.int64]
    share: Floats
    point: Floats
    """Where the key's hash lies: equal numbers are equal keys."""
    first: Bools
    """The first row of its request: what is true of a request is counted there."""
    assigned: Bools
    champion: Floats
    candidate: Floats
    champion_failed: Floats
    candidate_failed: Floats
    seconds: Floats
    label: Floats
    """NaN until the label's maturity has passed, and where no label came by then."""
    dropped: int = 0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.step.size

    def first_rows(self, count: int) -> Evidence:
        """The first ``count`` rows alone: what an earlier look saw, but for labels."""
        cut = {field.name: getattr(self, field.name)[:count] for field in fields(self) if field.name != "dropped"}
        return replace(self, **cut)


def read_evidence(bucket: Bucket, model: str, rollout: Rollout, *, maturity: int, classes: Sequence[str], now: int) -> Evidence:
    """What is known at ``now``; ``maturity`` is in microseconds, ``classes`` are the champion's.

    Raises:
        IntegrityError: a part cannot be read.
    """
    with frames.connect() as con:
        pairs = read_pairs(con, bucket, model, rollout.seq)
        if pairs is None:
            return empty()
        until = now - settle(now - rollout.moved_at)
        rows = pairs.filter(f"served_at < {timestamp(until)}").project("*, epoch_us(served_at) AS at")
        columns = frames.to_columns(rows.order("served_at, prediction_id"))
        labels = _labels(con, Labels(bucket, model), rollout.started_at, now)
    at = columns["at"].astype(np.int64)
    found = _joined(columns["prediction_id"], at, labels, list(classes), maturity=maturity, now=now)
    numbers = {name: columns[name].astype(np.float64) for name in _NUMBERS}
    return Evidence(
        step=columns["step"].astype(np.int64),
        share=numbers["share"],
        point=numbers["point"],
        first=columns["place"].astype(np.int64) == 0,
        assigned=columns["assigned"].astype(np.bool_),
        champion=numbers["champion"],
        candidate=numbers["candidate"],
        champion_failed=numbers["champion_failed"],
        candidate_failed=numbers["candidate_failed"],
        seconds=numbers["seconds"],
        label=found,
        dropped=int(columns["dropped"].sum()) if at.size else 0,
    )


def empty() -> Evidence:
    """Nothing was answered yet."""
    none = np.zeros(0)
    flags = none.astype(np.bool_)
    return Evidence(none.astype(np.int64), none, none, flags, flags, none, none, none, none, none, none)


def settle(age: int) -> int:
    """How long after its answer a row is looked at, at an age of the step, both in microseconds: by then it was written."""
    return round((2 * flush_seconds(age / SECOND) + 1) * SECOND)


def _labels(con: frames.Connection, labels: Labels, start: int, end: int) -> frames.Columns:
    given = labels.given(con, start, end)
    return frames.to_columns(given.project("prediction_id, label, epoch_us(known_at) AS known_at").order("known_at, label"))


def _joined(
    ids: NDArray[np.object_], at: NDArray[np.int64], labels: frames.Columns, classes: list[str], *, maturity: int, now: int
) -> Floats:
    """[n] the newest label of each row that was known when its maturity passed."""
    places = {row_id: place for place, row_id in enumerate(ids.tolist())}
    numbers = label_numbers(labels["label"], classes)
    found = np.full(ids.size, np.nan)
    for row_id, number, known in zip(
        labels["prediction_id"].tolist(), numbers.tolist(), labels["known_at"].tolist(), strict=True
    ):
        place = places.get(row_id)
        if place is not None and known <= at[place] + maturity:
            found[place] = number
    found[at + maturity > now] = np.nan
    return found
