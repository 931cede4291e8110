"""Subjects for rules about models and snapshots: hand-written manifests, real snapshots, and rows that nobody looks at."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.data import Datasets
from tidegate.gate.case import Case, Subject
from tidegate.gate.evidence import Evidence
from tidegate.gate.policy import parse_model_policy
from tidegate.models import Models
from tidegate.records.dataset import Snapshot
from tidegate.records.model import Lineage, Manifest, ModelVersion, PackagedFile, Signature, Tensor
from tidegate.records.policy import Rule
from tidegate.store import Store

NOTHING = Evidence("binary", np.array([0.0, 1.0]), np.array([0.5, 0.5]))


def column(name: str, dtype: Any = "float64", *, shape: tuple[int, ...] = (-1,), nullable: bool = False) -> Tensor:
    """One input or output."""
    return Tensor(name=name, dtype=dtype, shape=list(shape), nullable=nullable)


def version(
    number: int = 2,
    inputs: list[Tensor] | None = None,
    *,
    outputs: list[Tensor] | None = None,
    size: int = 1000,
    trained_on: list[str] | None = None,
    **fields: Any,
) -> ModelVersion:
    """A version of the model ``delay`` that holds no bytes."""
    manifest = Manifest(
        name="delay",
        version=number,
        task="binary",
        format="onnx",
        loads_code=False,
        signature=Signature(
            inputs=[column("wind"), column("carrier", "string")] if inputs is None else inputs,
            outputs=[column("probability"), column("label", "int64")] if outputs is None else outputs,
        ),
        files=[PackagedFile(path="model.onnx", size=size, digest="0" * 64)],
        lineage=Lineage(snapshots=trained_on or []),
        created_at=0,
        **fields,
    )
    return ModelVersion(digest=f"{number:064d}", manifest=manifest)


def case(
    store: Store,
    datasets: Datasets,
    candidate: ModelVersion,
    champion: ModelVersion | None = None,
    *,
    snapshot: Snapshot | None = None,
    now: int = 0,
    models: Any = None,
    **gate: Any,
) -> Case:
    """A case about these versions on ``snapshot`` (default: one that has no table)."""
    empty = Snapshot(name="rows", number=1, digest="", files=[], created_at=0)
    rules = [{"test": "schema"}]
    policy = parse_model_policy(
        "delay", {"task": "binary", "gate": {"snapshot": "rows@1", "label": "late", "rules": rules} | gate}
    )
    subject = Subject(
        candidate=candidate,
        champion=champion,
        snapshot=snapshot or empty,
        policy=policy,
        models=models or Models(store.bucket, store.catalog, datasets._clock),
        datasets=datasets,
        now=now,
    )
    return Case(evidence=NOTHING, subject=subject)


def rule(test: Any, **keys: Any) -> Rule:
    """A rule of a test."""
    return Rule(test=test, **keys)
