"""A scoring: what a version answered for whole files, from which bytes to which bytes."""

from __future__ import annotations

import msgspec


class ScoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was read: its name, the SHA-256 of its bytes, and its rows."""

    name: str
    digest: str
    rows: int


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that got no prediction for one reason. ``first`` names some of them, such as ``row 17 of may.parquet``, counted from 0."""

    code: str
    what: str
    rows: int
    first: list[str]


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome: every row that was read is either in the output or counted among the refused ones."""

    model: str
    """``delay@3``."""
    model_digest: str
    inputs: list[ScoredFile]
    output: str
    output_digest: str
    """SHA-256 of the output's bytes."""
    rows: int
    """Rows of the output."""
    refused: list[Refused]
    engine: str
    workers: int
    places: list[str]
    """Where the model was called: one name for each process or node."""
    seconds: float
    resumed: int = 0
    """Rows that an earlier, interrupted scoring had answered already."""
    run: str = ""
    """The run that recorded it; empty if none did."""
