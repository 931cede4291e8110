"""One pass of the loop, fit for cron: windows, alerts, decisions. To run it twice does nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from tidegate.errors import ConflictError, TidegateError
from tidegate.loop.decisions import Decisions
from tidegate.loop.machinery import Machinery
from tidegate.loop.rules import Hold, answer
from tidegate.loop.triggers import champion_of, find_trigger
from tidegate.monitoring import alerts_of, list_alerts
from tidegate.records.decision import DecisionState
from tidegate.records.monitoring import Alert
from tidegate.records.policy import ModelPolicy, RetrainPolicy
from tidegate.records.rollout import Look

_MOST_MOVES = 10
"""A decision needs four moves at most; more in one pass means that the pointer moves as fast as the gate judges."""


class ClosedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window that this pass closed."""

    model: str
    start: int
    end: int
    rows: int
    labelled: int


class DecisionMove(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that this pass opened or moved."""

    model: str
    decision: str
    state: DecisionState
    note: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What kept one model from being looked after; the others were."""

    model: str
    code: str
    what: str
    why: str
    fix: str


class TickReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass did. ``next`` holds what a person has to do now, one sentence each."""

    at: int
    windows: list[ClosedWindow] = []
    alerts: list[Alert] = []
    moves: list[DecisionMove] = []
    looks: list[Look] = []
    """One for each rollout that runs, or ran until this pass stopped it."""
    notes: list[str] = []
    next: list[str] = []
    problems: list[Problem] = []


def tick(machinery: Machinery) -> TickReport:
    """Closes due windows, raises alerts, opens and moves decisions, looks at rollouts, for every model that has a policy.

    A model that fails does not keep the others waiting: it is told among ``problems``.
    """
    report = TickReport(at=machinery.clock.now(), windows=[], alerts=[], moves=[], looks=[], notes=[], next=[], problems=[])
    for name, policy in sorted(machinery.policies.items()):
        # On their own: a monitoring that fails must not keep a harmful candidate from being stopped, nor the other way round.
        _safely(name, report, partial(_roll, name, machinery, report))
        _safely(name, report, partial(_care, name, policy, machinery, report))
    report.next.extend(f"{problem.model}: {problem.what}; {problem.fix}" for problem in report.problems)
    return report


def _safely(name: str, report: TickReport, action: Callable[[], None]) -> None:
    try:
        action()
    except TidegateError as error:
        report.problems.append(Problem(model=name, code=error.code, what=error.what, why=error.why, fix=error.fix))
    except Exception as error:  # noqa: BLE001 - a bug met in one model must not stop the care for the others
        what = f"{type(error).__name__}: {error}"
        report.problems.append(Problem(model=name, code="internal", what=what, why="this is a bug", fix="report it"))


def _care(name: str, policy: ModelPolicy, machinery: Machinery, report: TickReport) -> None:
    if policy.monitoring is not None:
        _watch(name, machinery, report)
    if policy.retrain is not None:
        _decide(name, policy.retrain, machinery, report)


def _roll(name: str, machinery: Machinery, report: TickReport) -> None:
    look = machinery.roll(name)
    if look is None:
        return
    report.looks.append(look)
    if look.action == "done":
        report.next.append(f"tidegate promote {name}@{look.version}")


def _watch(name: str, machinery: Machinery, report: TickReport) -> None:
    for window in machinery.monitor(name).close_windows(report.at):
        report.windows.append(
            ClosedWindow(model=name, start=window.start, end=window.end, rows=window.rows, labelled=window.labelled)
        )
        report.alerts.extend(alerts_of(window, report.at))


def _decide(name: str, policy: RetrainPolicy, machinery: Machinery, report: TickReport) -> None:
    decisions = Decisions(machinery.documents, machinery.actor)
    if decisions.find_open(name) is None:
        _open(name, policy, machinery, decisions, report)
    with machinery.exclusive(f"decision-{name}") as mine:
        if mine:
            _advance(name, policy, machinery, decisions, report)
        else:
            report.notes.append(f"{name}: another pass is at work on its decision")


def _open(name: str, policy: RetrainPolicy, machinery: Machinery, decisions: Decisions, report: TickReport) -> None:
    alerts = list_alerts(machinery.documents, name)
    champion = champion_of(machinery.release.history(name))
    trigger, note = find_trigger(policy, alerts, decisions.list(name), champion, report.at)
    if note:
        report.notes.append(f"{name}: {note}")
    if trigger is None:
        return
    try:
        opened = decisions.open(name, trigger=trigger.kind, reason=trigger.reason, now=report.at, alerts=trigger.alerts)
    except ConflictError:
        return  # another pass opened it
    report.moves.append(DecisionMove(model=name, decision=opened.id, state=opened.state, note=opened.reason))


def _advance(name: str, policy: RetrainPolicy, machinery: Machinery, decisions: Decisions, report: TickReport) -> None:
    for _ in range(_MOST_MOVES):
        kept = decisions.find_open(name)
        if kept is None:
            return
        found = answer(kept.decision, policy, machinery, report.at)
        if found is None:
            return
        if isinstance(found, Hold):
            report.next.append(f"{kept.decision.id} is {kept.decision.state}: {found.note}")
            return
        try:
            moved = decisions.move(kept, found.state, note=found.note, now=report.at, **found.changes).decision
        except ConflictError:
            continue  # somebody moved it meanwhile, such as a person who declined it
        report.moves.append(DecisionMove(model=name, decision=moved.id, state=moved.state, note=found.note))
