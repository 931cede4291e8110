"""A metric measured on all rows and on slices: from rows at hand, or from sums of rows that went by in portions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tidegate.gate.evidence import Evidence, Groups, Slicing
from tidegate.gate.metrics import Additive, Measured, Metric
from tidegate.gate.metrics.support import Support, Supports, gather_supports, support_of


class Part(NamedTuple):
    """A metric on some rows, and what these rows count for."""

    measured: Measured
    support: Support


class SlicePart(NamedTuple):
    """One value of a slice column."""

    column: str
    value: str
    part: Part


def generator(seed: int, *names: str) -> np.random.Generator:
    """Randomness of one metric on one slice: it does not depend on the other rules or on their order."""
    return np.random.default_rng([seed, zlib.crc32("\0".join(names).encode())])


def measure_whole(metric: Metric, evidence: Evidence, name: str, *, confidence: float, seed: int) -> Part:
    """All rows. ``name``: the metric as the rule names it."""
    return Part(metric.measure(evidence, confidence, generator(seed, name)), support_of(evidence))


def measure_slices(
    metric: Metric, evidence: Evidence, columns: Sequence[str], name: str, *, confidence: float, seed: int
) -> list[SlicePart]:
    """Every value of slice columns."""
    found: list[SlicePart] = []
    for column in columns:
        slicing = evidence.slices[column]
        if metric.additive is not None:
            size = len(slicing.values)
            state = metric.additive.gather(evidence, slicing.codes, size)
            found += settle_slices(
                metric.additive,
                state,
                _supports(evidence, slicing),
                column,
                slicing.values,
                name,
                confidence=confidence,
                seed=seed,
            )
            continue
        for value, rows in evidence.derive(("split", column), lambda column=column: evidence.split(column)):
            measured = metric.measure(rows, confidence, generator(seed, name, column, value))
            found.append(SlicePart(column, value, Part(measured, support_of(rows))))
    return found


def settle_whole(additive: Additive, state: Any, supports: Supports, name: str, *, confidence: float, seed: int) -> Part:
    """All rows, from their sums."""
    return Part(additive.settle(state, 0, confidence, generator(seed, name)), supports.settle(0))


def settle_slices(
    additive: Additive,
    state: Any,
    supports: Supports,
    column: str,
    values: Sequence[str],
    name: str,
    *,
    confidence: float,
    seed: int,
) -> list[SlicePart]:
    """Every value of a slice column, from sums by value."""
    found: list[SlicePart] = []
    for place, value in enumerate(values):
        measured = additive.settle(state, place, confidence, generator(seed, name, column, value))
        found.append(SlicePart(column, value, Part(measured, supports.settle(place))))
    return found


def _supports(evidence: Evidence, slicing: Slicing) -> Supports:
    codes: Groups = slicing.codes
    return evidence.derive(("supports", id(codes)), lambda: (gather_supports(evidence, codes, len(slicing.values)), codes))[0]
