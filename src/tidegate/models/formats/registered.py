"""Which formats are installed."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from tidegate.errors import NotFoundError
from tidegate.models.formats.port import Format
from tidegate.records.names import nearest

_GROUP = "tidegate.formats"


def formats() -> list[Format]:
    """All installed formats in the order in which a candidate is offered to them."""
    found: list[Any] = [entry.load()() for entry in entry_points(group=_GROUP)]
    return sorted(found, key=lambda kind: (kind.preference, kind.name))


def find_format(name: str) -> Format:
    """The format with this name.

    Raises:
        NotFoundError: it is not installed.
    """
    entries = entry_points(group=_GROUP)
    for entry in entries:
        if entry.name == name:
            kind: Any = entry.load()()
            return kind
    raise NotFoundError(
        "unknown-model-format",
        f"no installed package reads the model format {name!r}",
        why=f"formats are found by the entry-point group {_GROUP}",
        fix=nearest(name, [entry.name for entry in entries]),
    )
