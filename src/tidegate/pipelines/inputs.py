"""What a step reads from outside: typed, so that its content and not its name decides whether a result is still true."""

from __future__ import annotations

import msgspec


class Dataset(msgspec.Struct, frozen=True, tag="dataset"):
    """A snapshot: ``Dataset("flights@3")``. The step receives the local path of its table.

    ``flights`` and ``flights@latest`` mean the newest snapshot when the run starts; the run's tags say which one it was.
    """

    ref: str


class File(msgspec.Struct, frozen=True, tag="file"):
    """A file: ``File("config/routes.csv")``, relative to the project folder. The step receives its path."""

    path: str
