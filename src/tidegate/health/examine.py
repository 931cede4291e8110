"""Doctor: questions asked of the store, and the maturity level that their answers add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tidegate.clock import Clock
from tidegate.data import Datasets
from tidegate.errors import TidegateError
from tidegate.health.facts import ModelFacts, Rooms, models_in_production
from tidegate.health.questions import QUESTIONS, Question
from tidegate.health.red_flags import red_flags
from tidegate.models import Models
from tidegate.records.health import Check, CheckState, Health
from tidegate.records.policy import ModelPolicy
from tidegate.release import Release
from tidegate.store import Store

HIGHEST = 4

LEVELS = {
    0: "manual",
    1: "data, runs and models are tracked and versioned",
    2: "pipelines train, a gate decides, a ledger releases",
    3: "serving is monitored with labels, and a rollback was tried",
    4: "production triggers retraining, which is gated and approved",
}


def examine(
    *,
    store: Store,
    datasets: Datasets,
    models: Models,
    release: Release,
    policies: Mapping[str, ModelPolicy],
    clock: Clock,
    folder: Path,
    probe: bool = False,
) -> Health:
    """Asks every question about the models in production; a question that fails to be asked is UNKNOWN.

    Reads only, unless ``probe`` lets the bucket's conditional writes be tried out.
    """
    rooms = Rooms(
        store=store, datasets=datasets, models=models, release=release, policies=policies, clock=clock, folder=folder, probe=probe
    )
    facts, unreadable = models_in_production(rooms)
    checks = [_check(question, rooms, facts) for question in QUESTIONS]
    level, blocked_by = maturity(checks)
    flags = [*unreadable, *(flag for model in facts for flag in _red_flags(model))]
    return Health(level=0 if unreadable else level, blocked_by=blocked_by, red_flags=flags, checks=checks)


def _red_flags(model: ModelFacts) -> list[str]:
    try:
        return red_flags(model)
    except TidegateError as error:
        return [f"{model.name}: its evidence cannot be read: {error.what}"]


def maturity(checks: Sequence[Check]) -> tuple[int, str]:
    """The highest level whose every check, and every check of the levels below, is OK; and what blocks the next one."""
    for level in range(1, HIGHEST + 1):
        missing = [check.name for check in checks if check.level == level and check.state is not CheckState.OK]
        if missing or not any(check.level == level for check in checks):
            return level - 1, missing[0] if missing else ""
    return HIGHEST, ""


def _check(question: Question, rooms: Rooms, facts: Sequence[ModelFacts]) -> Check:
    try:
        state, evidence = question.ask(rooms, facts)
    except TidegateError as error:
        state, evidence = CheckState.UNKNOWN, f"it could not be asked: {error.what}"
    fix = "" if state is CheckState.OK else question.fix
    return Check(name=question.name, section=question.section, level=question.level, state=state, evidence=evidence, fix=fix)
