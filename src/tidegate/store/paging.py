"""Going on with a search where its last page ended, without looking at all pages before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from tidegate.records.run import Run
from tidegate.store.filter import Sort, parse_order

Value: TypeAlias = int | float | str

_LONGEST = 500


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a page starts: ``offset`` runs behind the first one whose value of the leading order is ``since`` (None: of all).

    A run that changed or came in between moves no other run onto two pages, as it does where only an offset is known.
    """

    offset: int = 0
    since: Value | None = None
    total: int = 0
    """How many runs were on all pages before: what is left where the last one has no value to go on from."""


def place_after(page: Sequence[Run], order_by: str, before: Place) -> Place:
    """Where the page after ``page`` starts, which was found in this order from ``before`` on."""
    total = before.total + len(page)
    leading = leading_order(parse_order(order_by))
    values = [_value_of(run, leading) for run in page]
    if not values or values[-1] is None:
        return Place(total, None, total)
    same = next((number for number, value in enumerate(reversed(values)) if value != values[-1]), len(values))
    goes_on = same == len(values) and before.since == values[-1]
    return Place(same + (before.offset if goes_on else 0), values[-1], total)


def leading_order(sorts: Sequence[Sort]) -> Sort:
    """What a search is ordered by first: newest first where nothing is asked for."""
    return sorts[0] if sorts else Sort("attributes", "started_at", descending=True)


def _value_of(run: Run, sort: Sort) -> Value | None:
    if sort.space == "metrics":
        summary = run.metrics.get(sort.name)
        number = None if summary is None else getattr(summary, sort.aggregate)
        return number if number is not None and math.isfinite(number) else None
    if sort.space in {"params", "tags"}:
        return _short((run.params if sort.space == "params" else run.tags).get(sort.name))
    found = getattr(run, sort.name, None)  # the number of an experiment is no part of a run
    return found if isinstance(found, int | float | str) else None


def _short(text: str | None) -> str | None:
    """A place travels in addresses, so what is long is counted instead."""
    return text if text is not None and len(text) <= _LONGEST else None
