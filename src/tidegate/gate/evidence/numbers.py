"""What columns of numbers hold, counted portion by portion, and what of it makes them unusable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate import frames
from tidegate.gate.evidence.reading import Reading
from tidegate.gate.evidence.spread import Spread
from tidegate.stats.estimate import Floats

LARGEST = 1e100
"""Beyond this the squares of numbers, and their sums, would be infinite."""
HEAVIEST = 1e50
"""A weight beyond this: the fifth powers of weights, and their sums, would be infinite."""
SUM_TOLERANCE = 0.01
"""How far the probabilities of a row may be from 1 in sum: they are often rounded."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over the [n] or [n, K] numbers of one role; rows in all of them."""

    rows: int
    missing: int
    infinite: int
    large: int
    soft: int
    """Rows with a number that is neither 0 nor 1."""
    outside: int
    """Rows with a number outside 0 to 1."""
    unsummed: int
    """Rows of several numbers that do not sum to 1."""
    low: Floats
    """[K] the least number; inf where there is none."""
    high: Floats
    odd: float = float("nan")
    """A number that is neither 0 nor 1, the least."""
    sum: float = float("nan")
    """A sum that is not 1, the farthest."""

    def __add__(self, other: Summary) -> Summary:
        """Of the rows of both."""
        return Summary(
            self.rows + other.rows,
            self.missing + other.missing,
            self.infinite + other.infinite,
            self.large + other.large,
            self.soft + other.soft,
            self.outside + other.outside,
            self.unsummed + other.unsummed,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            float(np.fmin(self.odd, other.odd)),
            self.sum if abs(self.sum - 1) >= abs(other.sum - 1) or other.sum != other.sum else other.sum,
        )

    @property
    def constant(self) -> bool:
        """Whether every row holds the same."""
        return bool(np.all(self.low == self.high))

    @property
    def usable(self) -> bool:
        """Whether every number is one."""
        return not (self.missing or self.infinite or self.large)


def summarise(values: Floats) -> Summary:
    """Counts over [n] or [n, K] numbers; NaN is missing."""
    table = values.reshape(len(values), -1)
    width = table.shape[1]
    low = np.fmin.reduce(table, axis=0, initial=np.inf)
    high = np.fmax.reduce(table, axis=0, initial=-np.inf)
    count = dict.fromkeys(("missing", "infinite", "large", "soft", "outside", "unsummed"), 0)
    total, odd, sums = float(table.sum()) if len(table) else 0.0, np.nan, np.nan
    if not np.isfinite(total) or low.min() < -LARGEST or high.max() > LARGEST:
        absolute = np.abs(table)
        count["missing"] = _rows(np.isnan(table))
        count["infinite"] = _rows(np.isinf(table))
        count["large"] = _rows((absolute > LARGEST) & np.isfinite(table))
    soft = (table != 0) & (table != 1)
    count["soft"] = _rows(soft)
    if count["soft"]:
        odd = float(np.fmin.reduce(table[soft], initial=np.inf))
    if low.min() < 0 or high.max() > 1:
        count["outside"] = _rows((table < 0) | (table > 1))
    elif width > 1:
        row_sums = table.sum(axis=1)
        off = np.abs(row_sums - 1)
        count["unsummed"] = int(np.count_nonzero(off > SUM_TOLERANCE))
        sums = float(row_sums[off.argmax()]) if count["unsummed"] else np.nan
    return Summary(len(table), **count, low=low, high=high, odd=odd, sum=sums)


def _rows(flags: Any) -> int:
    return int(np.count_nonzero(flags[:, 0] if flags.shape[1] == 1 else flags.any(axis=1)))


def report_numbers(reading: Reading, con: frames.Connection, table: str, spread: Spread, found: Summary) -> None:
    """Refuses what is no finite number."""
    role, name = spread.role, spread.name
    noun = "label" if role == "label" else "prediction"
    if found.missing:
        word = a_word(con, table, spread)
        if word is not None:
            reading.refuse("not-numeric", f"the {role} column {name!r} holds text such as {word!r}", "convert it to numbers")
        else:
            reading.refuse(
                f"{noun}-missing",
                f"{found.missing:,} of {found.rows:,} rows have no {noun} in {name!r} (null or NaN)",
                f"give every row a {noun}, or leave those rows out before",
            )
    if found.infinite:
        reading.refuse(
            f"{noun}-infinite",
            f"{found.infinite:,} rows have an infinite {noun} in {name!r}",
            "find what made them: often a division by zero",
        )
    if found.large:
        reading.refuse(
            "number-too-large",
            f"{found.large:,} rows have a number beyond {LARGEST:g} in {name!r}",
            "find what made them, or use a larger unit: their squares would be infinite",
        )


def a_word(con: frames.Connection, table: str, spread: Spread) -> str | None:
    """A text among what should be numbers; None if there is none."""
    if "varchar" not in spread.kinds:
        return None
    for part in spread.parts.values():
        found: Any = con.execute(
            f"SELECT min({part}::VARCHAR) FROM {table} WHERE {part} IS NOT NULL AND TRY_CAST({part} AS DOUBLE) IS NULL"
        ).fetchone()
        if found[0] is not None:
            return str(found[0])[:80]
    return None


def report_probabilities(reading: Reading, spread: Spread, found: Summary, *, sums: bool) -> None:
    """Refuses predictions outside 0 to 1 and, if they should, rows that do not sum to 1."""
    if found.outside:
        far = found.low.min() if found.low.min() < 0 else found.high.max()
        reading.refuse(
            "probability-out-of-range",
            f"{found.outside:,} predictions in {spread.name!r} lie outside 0 to 1, such as {far:g}",
            "give probabilities or 0/1, not scores or percents",
        )
    elif sums and found.unsummed:
        reading.refuse(
            "probabilities-not-one",
            f"in {found.unsummed:,} rows the probabilities in {spread.name!r} do not sum to 1 (within {SUM_TOLERANCE:g}), "
            f"such as {found.sum:.4g}",
            "give the probabilities of all classes, each row summing to 1",
        )


def report_constant(reading: Reading, spread: Spread, found: Summary) -> None:
    """A candidate that always says the same is refused; a champion that does may be a baseline."""
    if not found.constant or found.rows < 2:
        return
    if spread.role == "candidate":
        reading.refuse(
            "constant-predictions",
            f"the candidate predicts the same on every row ({spread.name!r})",
            "check that the right column is read, and the model: a constant cannot tell rows apart",
        )
    else:
        reading.warn(
            "constant-predictions",
            f"the {spread.role} predicts the same on every row",
            "check the model, unless it is a baseline",
        )
