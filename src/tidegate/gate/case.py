"""What a gate run is about: the rows that both models predicted, and in a project the models and snapshots themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tidegate.errors import UsageError
from tidegate.frames import Columns, Connection, Relation
from tidegate.gate.evidence import Evidence
from tidegate.records.dataset import Snapshot
from tidegate.records.model import ModelVersion
from tidegate.records.policy import GatePolicy, ModelPolicy
from tidegate.records.report import Diffs, Problem, Wear


class Predicts(Protocol):
    """A loaded model."""

    def predict(self, columns: Mapping[str, object]) -> Columns:
        """Outputs by name for inputs by name."""
        ...


class Loads(Protocol):
    """What the gate asks of ``tidegate.models.Models``."""

    def load(self, version: ModelVersion | str, *, allow_code: bool = False) -> Predicts:
        """The version's model, its bytes verified."""
        ...


class HasLater(Protocol):
    """What the gate asks of a contract."""

    @property
    def later_columns(self) -> frozenset[str]:
        """Columns that are not known at prediction time."""
        ...


class Reads(Protocol):
    """What the gate asks of ``tidegate.data.Datasets``."""

    def get(self, ref: str) -> Snapshot:
        """A snapshot by its reference."""
        ...

    def read(self, con: Connection, snapshot: Snapshot) -> Relation:
        """Its rows, its bytes verified."""
        ...

    def contract(self, snapshot: Snapshot) -> HasLater | None:
        """Its contract, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What went before a judgement, as whoever keeps the ledger tells it."""

    anchor: ModelVersion | None = None
    """The version that was last proven better, where that is not the champion."""
    wear: Wear | None = None
    """How often the snapshot was judged by."""
    loosened: Sequence[str] = ()
    """In which ways the policy asks for less than before (``find_loosening``): each is a warning of the report."""
    diffs: Diffs | None = None
    """What changed in code, data and model since the champion."""
    problems: list[Problem] = field(default_factory=list[Problem])
    """What is already known to make the judgement INVALID: the champion's package is gone, say."""
    champion: str = ""
    """Reference of the champion, also where its package is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The models that are judged, the snapshot that they are judged on, and where both are read from."""

    candidate: ModelVersion
    champion: ModelVersion | None
    snapshot: Snapshot
    policy: ModelPolicy
    models: Loads
    datasets: Reads
    now: int
    """us UTC"""

    @property
    def gate(self) -> GatePolicy:
        """The policy's gate.

        Raises:
            UsageError: it declares none.
        """
        if self.policy.gate is None:
            name = self.candidate.name
            raise UsageError("no-gate", f"no gate is declared for {name}", fix=f"add [models.{name}.gate] to tidegate.toml")
        return self.policy.gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that a rule may look at. A check of a file has no subject."""

    evidence: Evidence
    subject: Subject | None = None
