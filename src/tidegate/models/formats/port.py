"""The port of a package format: how a candidate becomes files, and files a predictor.

Formats are found by the entry-point group ``tidegate.formats``; the built-in ones use the same hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tidegate.errors import BadInputError, IntegrityError
from tidegate.frames import Columns
from tidegate.models.candidate import Candidate
from tidegate.models.devices import Device
from tidegate.records.model import Manifest, Parity, Signature, Tensor
from tidegate.records.policy import Task

OTHER_LIBRARY = "other-library"
"""Code of a ``CannotPackError`` that says nothing about the model: the format is for another library's."""


def task_of(manifest: Manifest) -> Task:
    """The task of a package that its format cannot load without.

    Raises:
        IntegrityError: it does not say.
    """
    if manifest.task == "unknown":
        raise IntegrityError("broken-package", f"{manifest.ref} does not name its task", fix="register the model again")
    return manifest.task


def named_classes(candidate: Candidate) -> list[str]:
    """The classes that a candidate names, where its model does not know them; of a binary one 0 and 1 by default.

    Raises:
        BadInputError: it does not name them.
    """
    names = [str(name) for name in candidate.classes] or (["0", "1"] if candidate.task == "binary" else [])
    if (candidate.task in {"multiclass", "multilabel"} and not names) or (candidate.task == "binary" and len(names) != 2):
        raise BadInputError(
            "classes-missing",
            "nobody knows what the outputs of this model stand for",
            why=f"a {candidate.task} model of this kind does not know its classes, and {len(names)} are named",
            fix="name them: Candidate(classes=[...]) in the order of the outputs",
        )
    return names


class Native(Protocol):
    """A model as its own library predicts with it: what the formats pack, and what a packed one is compared with."""

    @property
    def estimator(self) -> Any:
        """The library's own object."""
        ...

    @property
    def task(self) -> Task:
        """What it is for."""
        ...

    @property
    def inputs(self) -> list[Tensor]:
        """What it takes, in the order in which it was trained on them."""
        ...

    @property
    def class_names(self) -> list[str]:
        """Its classes or labels; empty where it gives one number."""
        ...

    def predict(self, columns: Columns) -> Columns:
        """The task's outputs (``tidegate.models.outputs``) for columns that conform to the inputs.

        Raises:
            BadInputError: it refuses the rows, or answers with NaN.
        """
        ...


class Packed(NamedTuple):
    """A packed model: its files' bytes by path, how well it agrees with the native one (None: it is the native one), and which inputs
    may miss values.
    """

    files: dict[str, bytes]
    parity: Parity | None
    nullable: frozenset[str]
    requires: frozenset[str] = frozenset()
    """Top-level modules that loading it imports, beside NumPy."""


class Probe(NamedTuple):
    """What the native model answers and what it refuses: the other formats are held against it."""

    rows: Columns
    """Real rows, and rows with text that no training row had."""
    expected: Columns
    """The native answers for ``rows``."""
    missing: dict[str, tuple[Columns, Columns]]
    """By input: rows where it is missing, and the native answers for them."""
    needed: frozenset[str]
    """Inputs that are missing in real rows, so a format must know what to do then."""
    refused: list[tuple[str, Columns]]
    """Rows that the native model refuses, each with what they hold."""


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

    def adopt(self, candidate: Candidate, inputs: list[Tensor]) -> Native | None:
        """The candidate's model, if it is an object of this format's library that follows no interface of scikit-learn; else None.

        Raises:
            BadInputError: it is one, but does not fit the task or the inputs.
        """
        ...

    def pack(self, native: Native, probe: Probe) -> Packed:
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


@runtime_checkable
class DeviceFormat(Protocol):
    """A format whose models can compute elsewhere than on the CPU."""

    def load_on(self, files: Mapping[str, bytes], manifest: Manifest, device: Device) -> Predictor:
        """Like ``Format.load``; the predictor's ``placed`` says where it computes."""
        ...
