"""One row of the prediction log."""

from __future__ import annotations

from typing import Any

import msgspec


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What was served once: ``event_at`` is the time that the request is about, ``served_at`` when it was answered.

    Both are microseconds UTC; ``seconds`` is the time from request to answer. ``inputs`` and ``outputs`` hold one
    scalar per column of the model's signature.
    """

    id: str
    model: str
    version: int
    event_at: int
    served_at: int
    seconds: float
    inputs: dict[str, Any]
    outputs: dict[str, Any]
