"""What may start a retraining: alerts from production, or a schedule. Pure. People open decisions by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tidegate.clock import format_time, parse_duration
from tidegate.records.decision import Decision
from tidegate.records.ledger import LedgerEntry, Promoted, RolledBack
from tidegate.records.monitoring import Alert
from tidegate.records.policy import RetrainPolicy


class Champion(NamedTuple):
    """Which version serves (0: none) and since when, in microseconds UTC."""

    version: int
    since: int


def champion_of(history: Sequence[LedgerEntry]) -> Champion:
    """The champion after the newest entry of a ledger."""
    for entry in reversed(history):
        if isinstance(entry.event, (Promoted, RolledBack)):
            return Champion(entry.event.version, entry.at)
    return Champion(0, 0)


class Trigger(NamedTuple):
    """Why a decision is opened."""

    kind: str
    reason: str
    alerts: list[str]


class Answer(NamedTuple):
    """A trigger, or none; ``note`` tells what was seen and held back."""

    trigger: Trigger | None
    note: str = ""


def find_trigger(
    policy: RetrainPolicy, alerts: Sequence[Alert], decisions: Sequence[Decision], champion: Champion, now: int
) -> Answer:
    """Whether a decision should be opened now.

    Args:
        policy: What may open one.
        alerts: The model's alerts, newest first.
        decisions: The model's decisions, newest first.
        champion: Which version serves; without one there is nothing to retrain.
        now: Microseconds UTC.
    """
    if champion.version == 0 or (decisions and not decisions[0].state.is_final):
        return Answer(None)
    last = decisions[0].opened_at if decisions else None
    fresh = _unanswered(policy, alerts, decisions, champion)
    if fresh:
        until = last + parse_duration(policy.cooldown) if last is not None else now
        if now >= until:
            return Answer(Trigger("alert", fresh[0].message, [alert.id for alert in fresh]))
        return Answer(None, f"{len(fresh)} alerts are held back by the cooldown until {format_time(until)}")
    if policy.every:
        due = max(champion.since, last or 0) + parse_duration(policy.every)
        if now >= due:
            return Answer(Trigger("schedule", f"every {policy.every}: due since {format_time(due)}", []))
    return Answer(None)


def _unanswered(policy: RetrainPolicy, alerts: Sequence[Alert], decisions: Sequence[Decision], champion: Champion) -> list[Alert]:
    """Alerts of the declared kinds that speak of the present champion, and that no decision answered yet."""
    answered = {alert for decision in decisions for alert in decision.alerts}
    return [
        alert
        for alert in alerts
        if alert.kind in policy.on_alerts
        and alert.id not in answered
        and alert.window_end > champion.since
        and alert.version in {0, champion.version}
    ]
