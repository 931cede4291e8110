"""The facts that doctor's questions are answered from: read once from the store, judged elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tidegate.clock import Clock
from tidegate.data import Datasets
from tidegate.errors import NotFoundError, TidegateError
from tidegate.loop import Decisions
from tidegate.models import Models
from tidegate.monitoring import Monitor, PredictionLog, list_alerts
from tidegate.records.dataset import Snapshot
from tidegate.records.decision import Decision
from tidegate.records.ledger import LedgerEntry, Promoted, RolledBack, Rollout
from tidegate.records.model import Lineage, ModelVersion
from tidegate.records.monitoring import Alert, Window
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Receipt
from tidegate.records.rollout import Look
from tidegate.records.run import Run
from tidegate.release import Release
from tidegate.serving.rollout.looks import find_look
from tidegate.store import Store

RECENT_WINDOWS = 8


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """Where facts come from."""

    store: Store
    datasets: Datasets
    models: Models
    release: Release
    policies: Mapping[str, ModelPolicy]
    clock: Clock
    folder: Path
    probe: bool = False
    """Whether questions may write to the bucket, and remove it again, to find out."""


class ModelFacts:
    """What the store knows about one model in production. Everything is read when it is first asked for, once."""

    def __init__(self, rooms: Rooms, name: str) -> None:
        self.rooms = rooms
        self.name = name
        self.policy = rooms.policies.get(name)

    @cached_property
    def history(self) -> list[LedgerEntry]:
        """The ledger, oldest first."""
        return self.rooms.release.history(self.name)

    @cached_property
    def promotions(self) -> list[Promoted]:
        """Every promotion, oldest first."""
        return [entry.event for entry in self.history if isinstance(entry.event, Promoted)]

    @cached_property
    def rollbacks(self) -> list[LedgerEntry]:
        """Every rollback, oldest first."""
        return [entry for entry in self.history if isinstance(entry.event, RolledBack)]

    @cached_property
    def champion(self) -> ModelVersion | None:
        """The version that serves; None if its package cannot be found."""
        number = self.rooms.release.pointer(self.name).champion.version
        try:
            return self.rooms.models.get(f"{self.name}@{number}")
        except NotFoundError:
            return None

    @cached_property
    def lineage(self) -> Lineage:
        """Where the champion comes from; empty if nobody knows."""
        return self.champion.manifest.lineage if self.champion else Lineage()

    @cached_property
    def run(self) -> Run | None:
        """The run that trained the champion."""
        try:
            return self.rooms.store.runs.get(self.lineage.run) if self.lineage.run else None
        except NotFoundError:
            return None

    @cached_property
    def receipt(self) -> Receipt | None:
        """The receipt on which the champion was last promoted."""
        version = self.rooms.release.pointer(self.name).champion.version
        return next((self.receipt_of(event) for event in reversed(self.promotions) if event.version == version), None)

    def receipt_of(self, event: Promoted) -> Receipt | None:
        """The receipt of a promotion, if it is stored."""
        try:
            return self.rooms.release.receipt(self.name, event.receipt)
        except NotFoundError:
            return None

    @cached_property
    def broken_glass(self) -> str:
        """Why the version that serves was promoted past the gate, if it was, and the gate has not passed it since."""
        state = self.rooms.release.state(self.name)
        return state.unproven.get(state.champion.digest, "")

    @cached_property
    def approvers(self) -> list[str]:
        """Who consented to the receipt on which the champion was last promoted."""
        version = self.rooms.release.pointer(self.name).champion.version
        receipts = {event.receipt for event in self.promotions if event.version == version}
        consents = self.rooms.release.state(self.name).consents
        return sorted({consent.approver for consent in consents if consent.receipt in receipts})

    @cached_property
    def rollout(self) -> Rollout | None:
        """The rollout that runs."""
        return self.rooms.release.rollouts.running(self.name)

    @cached_property
    def look(self) -> Look | None:
        """The newest look at the rollout that runs."""
        return find_look(self.rooms.store.bucket, self.name, self.rollout.seq) if self.rollout else None

    @cached_property
    def training(self) -> dict[str, Snapshot | None]:
        """The champion's training snapshots by reference; None for one that is gone."""
        return {ref: self.snapshot(ref) for ref in self.lineage.snapshots}

    def snapshot(self, ref: str) -> Snapshot | None:
        """A snapshot, if it is there."""
        try:
            return self.rooms.datasets.get(ref)
        except NotFoundError:
            return None

    @cached_property
    def monitor(self) -> Monitor | None:
        """The model's monitor, where monitoring is declared."""
        if self.policy is None or self.policy.monitoring is None:
            return None
        return Monitor(
            self.rooms.store.bucket,
            self.rooms.store.documents,
            datasets=self.rooms.datasets,
            models=self.rooms.models,
            name=self.name,
            policy=self.policy,
        )

    @cached_property
    def windows(self) -> list[Window]:
        """The newest closed windows, oldest first."""
        return self.monitor.windows(limit=RECENT_WINDOWS) if self.monitor else []

    @cached_property
    def days(self) -> list[str]:
        """The days with predictions."""
        return PredictionLog(self.rooms.store.bucket, self.name).days()

    @cached_property
    def alerts(self) -> list[Alert]:
        """Alerts, newest first."""
        return list_alerts(self.rooms.store.documents, self.name)

    @cached_property
    def decisions(self) -> list[Decision]:
        """Retraining decisions, newest first."""
        return Decisions(self.rooms.store.documents, "").list(self.name, limit=1000)


def models_in_production(rooms: Rooms) -> tuple[list[ModelFacts], list[str]]:
    """The models whose pointer names a version, and a sentence for each whose ledger cannot be read."""
    found: list[ModelFacts] = []
    unreadable: list[str] = []
    for name in sorted({key.split("/")[1] for key in rooms.store.bucket.keys("models/")}):
        try:
            if rooms.release.pointer(name).champion.version:
                found.append(ModelFacts(rooms, name))
        except TidegateError as error:
            unreadable.append(f"{name}: its ledger cannot be read: {error.what}")
    return found, unreadable
