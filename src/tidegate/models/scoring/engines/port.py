"""What scoring asks of an engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple, Protocol

from tidegate.models.formats import Predictor
from tidegate.models.scoring.rows import Answer, Portion
from tidegate.records.model import Manifest


class PackedModel(NamedTuple):
    """A model as an engine needs it: loaded in this process, and as checked bytes for others."""

    manifest: Manifest
    predictor: Predictor
    files: Callable[[], dict[str, bytes]]


class Engine(Protocol):
    """Calls a model for many portions. Portions are taken from the iterable as there is room: few are in memory at once.

    Used by one thread. Whatever it started ends with the generator, also when that is closed early.
    """

    name: str

    def workers(self) -> int:
        """How many calls run at once where nobody says it."""
        ...

    def answers(self, model: PackedModel, portions: Iterable[Portion], *, workers: int, skip: bool) -> Generator[Answer]:
        """An answer for every portion, in their order. ``skip``: see ``rows.answer``.

        Raises:
            BadInputError: the columns are not those of the model.
            UnavailableError: the engine is not installed, or a worker of it died.
        """
        ...
