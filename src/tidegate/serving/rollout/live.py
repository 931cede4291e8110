"""What a server knows of a running rollout: made once for every change of it, then read by every request."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from tidegate.errors import IntegrityError
from tidegate.frames import Columns
from tidegate.models.outputs import VALUES
from tidegate.records.ledger import Rollout
from tidegate.records.model import Manifest, Signature
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.handle import Handle
from tidegate.serving.rollout.assignment import is_assigned, point_of
from tidegate.stats.estimate import Floats

_OF_TASK = {"binary": "probability", "multiclass": "label", **VALUES}


@dataclass(frozen=True, slots=True)
class Live:
    """A running rollout in this process. ``candidate`` is None where it cannot be loaded: then every call of it fails."""

    rollout: Rollout
    plan: RolloutPolicy
    salt: str
    candidate: Handle | None
    problem: str = ""

    def point(self, key: str) -> float:
        """Where a key lies."""
        return point_of(self.salt, key)

    def is_assigned(self, key: str) -> bool:
        """Whether the candidate answers this key now."""
        return is_assigned(self.salt, key, self.rollout.share)


def plan_of(rollout: Rollout) -> RolloutPolicy:
    """The plan as the ledger has it. A key that a newer Tidegate wrote is left out."""
    known = {key: value for key, value in rollout.plan.items() if key in RolloutPolicy.__struct_fields__}
    return msgspec.convert(known, RolloutPolicy)


def salt_of(model: str, rollout: Rollout) -> str:
    """What makes the assignments of this rollout independent of every other's; at most 64 bytes tell."""
    return f"{rollout.seq}:{rollout.digest[:16]}:{model}"


def check_outputs(signature: Signature, outputs: Columns, rows: int) -> None:
    """Refuses what is no answer to so many rows.

    Raises:
        IntegrityError: an output is missing, or has another shape than the signature says.
    """
    expected = {tensor.name: (rows, *tensor.shape[1:]) for tensor in signature.outputs}
    shapes = {name: values.shape for name, values in outputs.items()}
    if any(shapes.get(name) != shape for name, shape in expected.items()):
        raise IntegrityError("package-differs", f"it answers {rows} rows with {shapes}", why=f"its signature says {expected}")


def values_of(champion: Manifest, answering: Manifest, outputs: Columns) -> Floats:
    """[rows] the one output that the two models are compared by; NaN where it is no number, or there is none.

    A class is its place among the champion's classes, whatever the answering model calls it; -1 if the champion does not know it.
    """
    name = _OF_TASK.get(answering.task, "")
    found = outputs.get(name)
    if found is None:
        rows = len(next(iter(outputs.values())))
        return np.full(rows, np.nan)
    if found.dtype.kind not in "biuf":
        return np.full(len(found), np.nan)
    values = found.reshape(len(found), -1)[:, 0].astype(np.float64)
    if answering.task != "multiclass" or answering.classes == champion.classes:
        return values
    places = {known: place for place, known in enumerate(champion.classes)}
    common = np.array([places.get(known, -1) for known in answering.classes], dtype=np.float64)
    return common[values.astype(np.int64)]
