"""Doctor's questions, in order. Each is answered from evidence in the store; what nobody knows is UNKNOWN, never OK.

Levels: 0 manual; 1 data, runs and models tracked and versioned; 2 pipeline, gate and release through the ledger; 3 monitored
serving with labels, and a rollback that was tried; 4 retraining triggered by production, gated and approved.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tidegate.clock import DAY, HOUR, format_time, parse_duration
from tidegate.health.facts import ModelFacts, Rooms
from tidegate.monitoring import window_length
from tidegate.records.decision import DecisionState
from tidegate.records.health import CheckState
from tidegate.records.names import parse_reference
from tidegate.records.verdict import Verdict
from tidegate.store.bucket import check_conditional_writes
from tidegate.store.sql.database import journal_mode

VERIFICATION = "verification"
"""Kind of the documents that ``store verify`` leaves."""

_VERIFIED_WITHIN = 30 * DAY
_LOOKED_WITHIN = HOUR


class Answer(NamedTuple):
    """What the evidence says."""

    state: CheckState
    evidence: str


Ask = Callable[[Rooms, Sequence[ModelFacts]], Answer]
AskModel = Callable[[ModelFacts], Answer]


@dataclass(frozen=True)
class Question:
    """One check: its name is what is true when it is OK."""

    name: str
    section: str
    level: int
    fix: str
    ask: Ask


def _ok(evidence: str) -> Answer:
    return Answer(CheckState.OK, evidence)


def _fail(evidence: str) -> Answer:
    return Answer(CheckState.FAIL, evidence)


def _unknown(evidence: str) -> Answer:
    return Answer(CheckState.UNKNOWN, evidence)


def _of_every_model(ask: AskModel) -> Ask:
    """A question to every model in production: the worst answer counts, and names the model."""

    def asked(_rooms: Rooms, facts: Sequence[ModelFacts]) -> Answer:
        if not facts:
            return _unknown("no model is in production")
        answers = [(model.name, ask(model)) for model in facts]
        for state in (CheckState.FAIL, CheckState.UNKNOWN):
            bad = [f"{name}: {answer.evidence}" for name, answer in answers if answer.state is state]
            if bad:
                return Answer(state, "; ".join(bad))
        return _ok("; ".join(f"{name}: {answer.evidence}" for name, answer in answers))

    return asked


def _store_verified(rooms: Rooms, _facts: Sequence[ModelFacts]) -> Answer:
    found = rooms.store.documents.list(VERIFICATION, limit=1)
    if not found:
        return _unknown("never verified")
    when = format_time(found[0].at)
    problems: Any = found[0].body.get("problems", ["the result cannot be read"])
    if problems:
        return _fail(f"{len(problems)} problems at {when}")
    if rooms.clock.now() - found[0].at > _VERIFIED_WITHIN:
        return _fail(f"last verified at {when}")
    return _ok(f"verified at {when}")


def _journal_safe(rooms: Rooms, _facts: Sequence[ModelFacts]) -> Answer:
    database = rooms.store.database
    if database is None or not database.url.startswith("sqlite"):
        return _ok("a server")
    with database.read() as connection:
        mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar()).lower()
    told = f"SQLite {sqlite3.sqlite_version}, journal mode {mode}"
    return _fail(told) if mode == "wal" and journal_mode() != "WAL" else _ok(told)


def _conditions_hold(rooms: Rooms, _facts: Sequence[ModelFacts]) -> Answer:
    if not rooms.probe:
        return _unknown("tidegate doctor tries it; pages do not")
    problems = check_conditional_writes(rooms.store.bucket)
    return _fail("; ".join(problems)) if problems else _ok("tried with writers at once")


def _ledger_holds(model: ModelFacts) -> Answer:
    problems = model.rooms.release.verify(model.name)
    return _fail(problems[0]) if problems else _ok(f"{len(model.history)} entries")


def _trained_on_snapshots(model: ModelFacts) -> Answer:
    if not model.training:
        return _unknown("the champion names no training snapshot")
    gone = [ref for ref, snapshot in model.training.items() if snapshot is None]
    return _fail(f"{', '.join(gone)} is gone") if gone else _ok(", ".join(model.training))


def _contracts_bound(model: ModelFacts) -> Answer:
    snapshots = [snapshot for snapshot in model.training.values() if snapshot]
    if not snapshots:
        return _unknown("the champion names no training snapshot")
    bare = [snapshot.ref for snapshot in snapshots if not snapshot.contract]
    return _fail(f"without a contract: {', '.join(bare)}") if bare else _ok(", ".join(snapshot.ref for snapshot in snapshots))


def _evaluation_frozen(model: ModelFacts) -> Answer:
    if model.policy is None or model.policy.gate is None:
        return _fail("no gate is declared")
    ref = model.policy.gate.snapshot
    if parse_reference(ref, "dataset").number is None:
        return _fail(f"{ref} names no fixed snapshot")
    return _ok(ref) if model.snapshot(ref) else _fail(f"{ref} is gone")


def _run_tracked(model: ModelFacts) -> Answer:
    if not model.lineage.run:
        return _unknown("the champion names no run")
    return _ok(f"run {model.run.id}") if model.run else _fail(f"run {model.lineage.run} is gone")


def _packages_recorded(model: ModelFacts) -> Answer:
    packages = model.lineage.packages
    return _ok(f"{len(packages)} packages with versions") if packages else _unknown("no packages are recorded")


def _clean_commit(model: ModelFacts) -> Answer:
    if not model.lineage.git_commit:
        return _unknown("no git commit is recorded")
    if model.lineage.git_dirty is not False:
        return _fail(f"commit {model.lineage.git_commit[:12]} with uncommitted changes")
    return _ok(f"commit {model.lineage.git_commit[:12]}")


def _trained_by_pipeline(model: ModelFacts) -> Answer:
    return _ok(model.lineage.pipeline) if model.lineage.pipeline else _unknown("the champion names no pipeline")


def _receipt_stands(model: ModelFacts) -> Answer:
    if model.receipt is None:
        return _fail("the champion has no receipt")
    if model.receipt.verdict is not Verdict.PASS:
        return _fail(f"its receipt says {model.receipt.verdict}")
    if model.champion is None or model.receipt.candidate_digest != model.champion.digest:
        return _fail("its receipt is about other bytes")
    return _ok(f"PASS on {model.receipt.snapshot} at {format_time(model.receipt.judged_at)}")


def _compared(model: ModelFacts) -> Answer:
    if model.receipt is None:
        return _unknown("the champion has no receipt")
    if model.receipt.baseline.version:
        return _ok(f"with version {model.receipt.baseline.version}")
    declared = model.policy.gate.baseline if model.policy and model.policy.gate else None
    return _ok(f"with the declared baseline ({declared.kind})") if declared else _fail("only with floors")


def _approved_by_another(model: ModelFacts) -> Answer:
    author = model.champion.manifest.author if model.champion else ""
    others = [name for name in model.approvers if name != author]
    return _ok(f"by {', '.join(others)}") if others else _fail("nobody but its author stands behind the champion")


def _policy_declared(model: ModelFacts) -> Answer:
    return _ok("declared") if model.policy and model.policy.gate else _fail("it serves without a declared gate")


def _rollback_tried(model: ModelFacts) -> Answer:
    if not model.rollbacks:
        return _fail("no rollback in the ledger")
    return _ok(f"{len(model.rollbacks)}, last at {format_time(model.rollbacks[-1].at)}")


def _predictions_logged(model: ModelFacts) -> Answer:
    return _ok(f"{len(model.days)} days, last {model.days[-1]}") if model.days else _fail("the prediction log is empty")


def _windows_closed(model: ModelFacts) -> Answer:
    if model.monitor is None:
        return _fail("no monitoring is declared")
    if not model.windows:
        return _unknown("no window was closed yet")
    overdue = model.monitor.due(model.rooms.clock.now() - window_length(model.monitor.policy))
    if overdue:
        return _fail(f"{len(overdue)} windows are overdue, the first from {overdue[0]}")
    newest = model.windows[-1]
    stale = 2 * window_length(model.monitor.policy) + parse_duration(model.monitor.policy.label_wait)
    if model.rooms.clock.now() - newest.end > stale:
        return _fail(f"the last window ended at {format_time(newest.end)}")
    return _ok(f"the last one ended at {format_time(newest.end)}")


def _labels_joined(model: ModelFacts) -> Answer:
    if not model.windows:
        return _unknown("no window was closed yet")
    rows, labelled = sum(window.rows for window in model.windows), sum(window.labelled for window in model.windows)
    if not labelled:
        return _fail(f"no label for {rows:,} predictions")
    return _ok(f"{labelled / rows:.1%} of {rows:,} predictions in {len(model.windows)} windows")


def _performance_judged(model: ModelFacts) -> Answer:
    if not model.windows:
        return _unknown("no window was closed yet")
    judged = [
        finding
        for window in model.windows
        for finding in window.findings
        if finding.kind == "performance" and finding.ratio is not None
    ]
    if not judged:
        return _fail("no window's performance could be held against a calibrated bound")
    return _ok(f"{', '.join(sorted({finding.subject for finding in judged}))} in {len(model.windows)} windows")


def _rollouts_watched(model: ModelFacts) -> Answer:
    rollout, look = model.rollout, model.look
    if rollout is None:
        return _ok("no version is being rolled out")
    seen = look.at if look else rollout.started_at
    told = f"{look.rows:,} rows at {format_time(seen)}" if look else f"started at {format_time(seen)}, nobody has looked yet"
    late = model.rooms.clock.now() - seen > _LOOKED_WITHIN
    return Answer(CheckState.FAIL if late else CheckState.OK, f"version {rollout.version}, {told}")


def _retraining_declared(model: ModelFacts) -> Answer:
    if model.policy is None or model.policy.retrain is None:
        return _fail("no retraining is declared")
    return _ok(model.policy.retrain.pipeline)


def _alerts_answered(model: ModelFacts) -> Answer:
    if model.policy is None or model.policy.retrain is None:
        return _fail("no retraining is declared")
    kinds = model.policy.retrain.on_alerts
    raised = [alert for alert in model.alerts if alert.kind in kinds]
    if not raised:
        return _unknown(f"no alert about {' or '.join(kinds)} was raised yet")
    answering = [decision for decision in model.decisions if decision.alerts]
    return _ok(", ".join(decision.id for decision in answering[:3])) if answering else _fail(f"{len(raised)} alerts, no decision")


def _retraining_promoted(model: ModelFacts) -> Answer:
    automatic = [decision for decision in model.decisions if decision.trigger != "manual"]
    if not automatic:
        return _unknown("production has not triggered a retraining yet")
    done = [decision for decision in automatic if decision.state is DecisionState.PROMOTED and decision.receipt]
    return (
        _ok(f"{done[0].id} ended in version {done[0].candidate}") if done else _fail(f"{automatic[0].id} is {automatic[0].state}")
    )


QUESTIONS = [
    Question("the store was verified within 30 days", "store", 0, "tidegate store verify", _store_verified),
    Question("the database is safe with several writers", "store", 1, "use the journal mode that tidegate sets", _journal_safe),
    Question("conditional writes hold", "store", 0, "use a bucket that honours If-Match and If-None-Match", _conditions_hold),
    Question("every ledger's chain holds", "store", 2, "tidegate store verify", _of_every_model(_ledger_holds)),
    Question(
        "training data are snapshots", "data", 1, "name them in Candidate(trained_on=...)", _of_every_model(_trained_on_snapshots)
    ),
    Question(
        "the snapshots keep a contract", "data", 2, "tidegate data snapshot --contract FILE", _of_every_model(_contracts_bound)
    ),
    Question(
        "the evaluation snapshot is fixed", "data", 2, "write gate.snapshot as NAME@NUMBER", _of_every_model(_evaluation_frozen)
    ),
    Question(
        "the champion comes from a tracked run", "model", 1, "train with tidegate pipeline run", _of_every_model(_run_tracked)
    ),
    Question("its packages are recorded", "model", 1, "train with tidegate pipeline run", _of_every_model(_packages_recorded)),
    Question(
        "it was trained from a clean commit", "model", 2, "commit, then train and promote again", _of_every_model(_clean_commit)
    ),
    Question("a pipeline trained it", "model", 2, "train with tidegate pipeline run", _of_every_model(_trained_by_pipeline)),
    Question("its gate receipt stands", "model", 2, "tidegate gate NAME@VERSION, then promote", _of_every_model(_receipt_stands)),
    Question("it was compared, not only measured", "model", 2, "declare gate.baseline", _of_every_model(_compared)),
    Question("somebody else approved it", "model", 2, "declare release.approvals = 1", _of_every_model(_approved_by_another)),
    Question("its gate is declared", "infrastructure", 2, "add [models.NAME.gate]", _of_every_model(_policy_declared)),
    Question(
        "a rollback was tried", "infrastructure", 3, "tidegate rollback NAME --reason drill", _of_every_model(_rollback_tried)
    ),
    Question("predictions are logged", "monitoring", 3, "tidegate serve NAME", _of_every_model(_predictions_logged)),
    Question("windows are closed in time", "monitoring", 3, "run tidegate tick from cron", _of_every_model(_windows_closed)),
    Question("labels are joined", "monitoring", 3, "tidegate monitor labels NAME FILE", _of_every_model(_labels_joined)),
    Question(
        "performance is held against a bound",
        "monitoring",
        3,
        "declare monitoring.time, and bring labels in time",
        _of_every_model(_performance_judged),
    ),
    Question(
        "rollouts are looked at every hour", "monitoring", 3, "run tidegate tick from cron", _of_every_model(_rollouts_watched)
    ),
    Question("retraining is declared", "monitoring", 4, "add [models.NAME.retrain]", _of_every_model(_retraining_declared)),
    Question("alerts lead to decisions", "monitoring", 4, "run tidegate tick from cron", _of_every_model(_alerts_answered)),
    Question(
        "a triggered retraining was promoted",
        "monitoring",
        4,
        "tidegate decision list, then approve or decline",
        _of_every_model(_retraining_promoted),
    ),
]
