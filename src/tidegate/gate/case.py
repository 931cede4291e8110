"""What a gate run is about: the rows that both models predicted, and in a project the models themselves."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.gate.evidence import Evidence
from tidegate.records.dataset import Snapshot
from tidegate.records.model import ModelVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The models that are judged, and the snapshot that they are judged on."""

    candidate: ModelVersion
    champion: ModelVersion | None
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that a rule may look at. A check of a file has no subject."""

    evidence: Evidence
    subject: Subject | None = None
