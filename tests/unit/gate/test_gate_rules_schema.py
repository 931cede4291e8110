"""Whoever calls the champion can call the candidate: each way to break a caller is found and told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gate_subjects import case, column, rule, version

from tidegate.clock import Clock
from tidegate.data import Datasets
from tidegate.errors import BadInputError
from tidegate.gate.rules import decide
from tidegate.gate.rules.schema import differences
from tidegate.models.signature import NUMPY, conform
from tidegate.records.model import ModelVersion, Signature
from tidegate.records.verdict import Verdict
from tidegate.store import Store

OUTPUTS = [column("probability"), column("label", "int64")]


def _notes(candidate: ModelVersion, champion: ModelVersion) -> list[tuple[str, str]]:
    return [(each.key, each.note) for each in differences(candidate.manifest, champion.manifest)]


def test_the_same_signature_passes(store: Store, clock: Clock) -> None:
    found = decide(
        rule("schema"), case(store, Datasets(store.bucket, store.catalog, clock), version(), version(1)), confidence=0.95, seed=0
    )
    assert (found.verdict, found.reason) == (Verdict.PASS, "Whoever calls delay@1 can call delay@2.")


def test_without_a_champion_nobody_calls(store: Store, clock: Clock) -> None:
    found = decide(rule("schema"), case(store, Datasets(store.bucket, store.catalog, clock), version()), confidence=0.95, seed=0)
    assert found.verdict is Verdict.PASS


def test_every_difference_is_told(store: Store, clock: Clock) -> None:
    candidate = version(2, [column("wind", "int64"), column("rain")], outputs=[column("probability", "float32")])
    datasets = Datasets(store.bucket, store.catalog, clock)
    found = decide(rule("schema"), case(store, datasets, candidate, version(1)), confidence=0.95, seed=0)
    assert (found.verdict, found.candidate.estimate) == (Verdict.FAIL, 5)
    assert [row.key for row in found.shown] == ["input wind", "input rain", "input carrier", "output probability", "output label"]
    assert "callers send float64, the candidate takes int64" in found.reason
    assert "and 2 more" in found.reason


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (column("x", shape=(-1, 3)), column("x", shape=(-1, 2)), "the shape rows x 2, the candidate takes rows x 3"),
        (column("x"), column("x", nullable=True), "callers may leave values out"),
        (column("x", nullable=True), column("x"), ""),
        (column("x", "string"), column("x", "int64"), "callers send int64"),
    ],
)
def test_inputs(ours: Any, theirs: Any, words: str) -> None:
    notes = _notes(version(2, [ours]), version(1, [theirs]))
    assert [words in note for _, note in notes] == ([True] if words else [])


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ([*OUTPUTS, column("why", "string")], OUTPUTS, ""),
        (OUTPUTS[:1], OUTPUTS, "the candidate does not give it"),
        ([column("probability", shape=(-1, 1)), OUTPUTS[1]], OUTPUTS, "the shape rows,"),
        ([column("probability", nullable=True), OUTPUTS[1]], OUTPUTS, "the candidate may give none"),
    ],
)
def test_outputs(ours: Any, theirs: Any, words: str) -> None:
    notes = _notes(version(2, outputs=ours), version(1, outputs=theirs))
    assert [words in note for _, note in notes] == ([True] if words else [])


def test_classes_keep_their_order() -> None:
    cats = version(1, classes=["cat", "dog"])
    assert _notes(version(2, classes=["cat", "dog"]), cats) == []
    assert _notes(version(2, classes=["dog", "cat"]), cats) == [("classes", "the classes stand in another order")]
    assert _notes(version(2, classes=["cat", "dog", "owl"]), cats) == [("classes", "the classes differ")]


VALUES = {"bool": True, "int32": 3, "int64": 2**40, "float32": 0.5, "float64": 0.1, "string": "UA"}


@pytest.mark.parametrize("takes", list(VALUES))
@pytest.mark.parametrize("sent", list(VALUES))
def test_what_is_called_compatible_is_what_a_model_takes(sent: Any, takes: Any) -> None:
    compatible = not _notes(version(2, [column("x", takes, shape=(-1, 1))]), version(1, [column("x", sent, shape=(-1, 1))]))
    signature = Signature(inputs=[column("x", takes, shape=(-1, 1))], outputs=[])
    values = np.array([VALUES[sent]], dtype=NUMPY[sent])
    try:
        conform(signature, {"x": values})
        taken = True
    except BadInputError:
        taken = False
    assert taken == compatible
