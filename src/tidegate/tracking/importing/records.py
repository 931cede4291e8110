"""What a reader finds in the folder of another tracker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tidegate.records.run import Run, Series


class Problem(msgspec.Struct, frozen=True):
    """Something that could not be read, or was left where it is, with the reason. ``count`` is how many things of the kind."""

    kind: str
    where: str
    why: str
    count: int = 1


class Attachment(NamedTuple):
    """A file of a run: its path there, and its bytes or where they are. ``of_source`` is False for what a reader wrote itself."""

    path: str
    source: Path | bytes
    of_source: bool = True


class ImportedExperiment(NamedTuple):
    """A named series of runs of the source; times are microseconds UTC."""

    name: str
    created_at: int
    tags: Mapping[str, str]
    deleted_at: int | None = None


class ImportedRun(NamedTuple):
    """One run of the source. ``kept`` counts, by kind, what has no place in a run and is in ``files`` instead."""

    run: Run
    series: Sequence[Series]
    files: Sequence[Attachment]
    kept: Mapping[str, int]
    problems: Sequence[Problem] = ()


NOT_AS_EXPECTED = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What reading a record raises that has other contents than its writer gives it: one such record is a problem, no end."""


class Source(NamedTuple):
    """What is to be imported: reading ``items`` to the end reads all of it; ``total`` is about how many there are, 0 if nobody knows."""

    kind: str
    path: Path
    total: int
    items: Iterator[ImportedExperiment | ImportedRun | Problem]
