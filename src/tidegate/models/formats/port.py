"""The port of a package format: how a candidate becomes files, and files a predictor.

Formats are found by the entry-point group ``tidegate.formats``; the built-in ones use the same hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from tidegate.errors import BadInputError
from tidegate.frames import Columns
from tidegate.models.estimator import NativeModel
from tidegate.records.model import Manifest, Parity, Signature


class Packed(NamedTuple):
    """A packed model: its files' bytes by path, and how well it agrees with the native one."""

    files: dict[str, bytes]
    parity: Parity | None


class Probe(NamedTuple):
    """Rows to compare on: those that the native model answers, with its answers, and those that it refuses, each with why."""

    rows: Columns
    expected: Columns
    refused: list[tuple[str, Columns]]


class CannotPackError(BadInputError):
    """This format cannot hold this model; the next one is asked. ``why`` is kept in the manifest."""


class Predictor(Protocol):
    """A loaded model. Safe to call from several threads."""

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        ...

    def predict(self, columns: Mapping[str, object]) -> Columns:
        """Outputs by name for inputs by name; the inputs are held against the signature first.

        Raises:
            BadInputError: an input is missing, unknown, of the wrong type or shape, or the answer is no number.
        """
        ...


class Format(Protocol):
    """One way to keep a model in files. Stateless; ``load`` gets bytes whose digests were checked."""

    name: str
    loads_code: bool
    """Whether loading may run code that came with the package."""
    preference: int
    """Formats are tried in this order when a candidate is packed, smallest first."""

    def pack(self, native: NativeModel, probe: Probe) -> Packed:
        """The files for a model; the same model gives the same bytes.

        Raises:
            CannotPackError: this format cannot hold it, or holds it with other answers.
        """
        ...

    def load(self, files: Mapping[str, bytes], manifest: Manifest) -> Predictor:
        """The model, ready to predict.

        Raises:
            IntegrityError: the bytes are no such package.
            RefusedError: loading would run code or build types that nobody trusts.
            UnavailableError: an optional dependency is not installed.
        """
        ...
