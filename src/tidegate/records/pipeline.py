"""One execution of one step, with the fingerprint that decides whether its result can be used again."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class StepState(StrEnum):
    """How a step of a run ended."""

    DONE = "DONE"
    CACHED = "CACHED"
    FAILED = "FAILED"


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a step's fingerprint, each a mapping of a name to a digest or version, so that ``why`` can name what changed.

    ``code`` has one entry per function, global, closure variable and project module that the step reaches; ``inputs`` one
    per argument; ``packages`` one per third-party distribution that its code imports.
    """

    code: dict[str, str]
    inputs: dict[str, str]
    packages: dict[str, str]
    unhashable: list[str] = []
    """What could not be hashed: such a step is never cached, and says so."""


class StepOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A step's stored result: how to read it back, and the digest of its bytes."""

    kind: str
    digest: str


class StepRun(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one pipeline run."""

    run: str
    pipeline: str
    step: str
    state: StepState
    key: str
    """Digest of the fingerprint."""
    fingerprint: Fingerprint
    outputs: list[StepOutput] = []
    started_at: int = 0
    seconds: float = 0.0
    error: str = ""
    note: str = ""
    """Why a cached result was not used, or whose result was."""
