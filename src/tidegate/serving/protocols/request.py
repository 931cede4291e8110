"""What every protocol decodes to."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.frames import Columns


class Request(NamedTuple):
    """A decoded predict request. ``event_at`` is 0 if it does not say what time it is about; ``outputs`` is empty for all."""

    id: str
    columns: Columns
    rows: int
    event_at: int
    outputs: list[str]
