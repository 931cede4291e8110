"""What is dangerous whatever the level: each a sentence about one model, found in the store.

Source: the failures collected in Sculley et al., Hidden technical debt in machine learning systems (2015), and Breck et al., The
ML test score (2017).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tidegate.health.facts import ModelFacts
from tidegate.records.monitoring import Severity
from tidegate.records.names import parse_reference

MOST_PROMOTIONS = 5
"""So many promotions on one evaluation snapshot, and it has begun to be learned by heart."""


def red_flags(model: ModelFacts) -> list[str]:
    """Everything about one model that a careful person would stop at."""
    return [f"{model.name}: {flag}" for source in (_about_origin, _about_evidence, _about_operation) for flag in source(model)]


def _about_origin(model: ModelFacts) -> Iterator[str]:
    if model.champion is None:
        yield "the package of the version that serves cannot be found"
        return
    if model.lineage.git_dirty:
        yield "the version that serves was trained with uncommitted changes"
    if not model.lineage.packages:
        yield "nobody knows with which packages the version that serves was trained"
    if model.champion.manifest.loads_code:
        yield "the package that serves runs code of its own when it is loaded"


def _about_evidence(model: ModelFacts) -> Iterator[str]:
    if why := model.broken_glass:
        yield f"somebody broke the glass for the version that serves, and no gate has passed it since: {why}"
    for event in model.promotions:
        if event.ungated:
            yield f"version {event.version} was promoted ungated: nothing showed that it is better than what it replaced"
    if model.receipt is None:
        yield "no receipt stands behind the version that serves"
    elif model.receipt.snapshot in model.lineage.snapshots:
        yield f"it was trained on the snapshot that it was judged on ({model.receipt.snapshot})"
    if model.policy is None or model.policy.gate is None:
        yield "no gate is declared"
        return
    if parse_reference(model.policy.gate.snapshot, "dataset").number is None:
        yield f"the evaluation snapshot {model.policy.gate.snapshot} is not fixed"
    if model.policy.gate.baseline is None and any(event.previous.version == 0 for event in model.promotions):
        yield "the first version was promoted without a baseline"
    if model.policy.release.approvals == 0:
        yield "nobody needs to approve: the trainer decides alone"
    used = Counter(receipt.snapshot for event in model.promotions if (receipt := model.receipt_of(event)))
    for snapshot, count in used.items():
        if count > MOST_PROMOTIONS:
            yield f"{count} promotions were decided on {snapshot}: take a fresh evaluation snapshot"


def _about_operation(model: ModelFacts) -> Iterator[str]:
    if len(model.promotions) > 1 and not model.rollbacks:
        yield "a rollback was never tried"
    if model.days and model.monitor is None:
        yield "it serves, and nobody watches: no monitoring is declared"
    if model.monitor is not None and not model.days:
        yield "monitoring is declared, and nothing was ever served"
    answered = {alert for decision in model.decisions for alert in decision.alerts}
    kinds = model.policy.retrain.on_alerts if model.policy and model.policy.retrain else []
    open_pages = [
        alert for alert in model.alerts if alert.severity is Severity.PAGE and alert.kind in kinds and alert.id not in answered
    ]
    if open_pages and not model.decisions:
        yield f"{len(open_pages)} alerts that page, and no decision was ever opened"
    rehearsed = sum(entry.clock != "system" for entry in model.history)
    if rehearsed:
        yield f"{rehearsed} of {len(model.history)} ledger entries were dated by a replayed clock: a rehearsal, not production"
