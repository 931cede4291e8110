"""The gate over model versions: both predict the same frozen rows, now, and the columns are judged like any file's.

Stored numbers of old runs are never compared. Whatever goes wrong on the way makes the verdict INVALID, never PASS.
"""

from __future__ import annotations

from typing import NamedTuple

from tidegate import frames
from tidegate.errors import NotFoundError, TidegateError, UsageError
from tidegate.frames import Columns
from tidegate.gate.case import History, Reads, Subject
from tidegate.gate.copies import copies_of
from tidegate.gate.evidence import columns_named, read_evidence
from tidegate.gate.foreign import foreign
from tidegate.gate.outputs import ANCHOR, CANDIDATE, CHAMPION, as_patterns, constant, constant_labels, predict
from tidegate.gate.policy import COMPARING, policy_digest
from tidegate.gate.report import Heading, as_problem, build_report, refused, warn_of_loosening
from tidegate.gate.wear import worn, worn_out
from tidegate.records.dataset import Snapshot
from tidegate.records.model import ModelVersion
from tidegate.records.names import nearest
from tidegate.records.policy import BaselineModel, CheckPolicy, GatePolicy, ModelPolicy
from tidegate.records.report import Problem, Report


class Judgement(NamedTuple):
    """What ``judge`` found, and the columns it was found on: label, key, slices, both predictions (empty if INVALID early)."""

    report: Report
    predictions: Columns


class Rehearsal(NamedTuple):
    """What the gate would judge by: the columns with both models' predictions, and the rules over them as of any file."""

    predictions: Columns
    policy: CheckPolicy


class _Refused(TidegateError):  # noqa: N818 - it ends the preparation, and is no error of the caller
    """Carries problems out of the preparation; nobody outside sees it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].code, problems[0].what, fix=problems[0].fix)
        self.problems = list(problems)


def judge(subject: Subject, history: History) -> Judgement:
    """Compares a candidate with the champion, or with the declared baseline where there is none, on a frozen snapshot.

    The candidate's inputs must stand in the snapshot, must be known at prediction time by its contract, and cannot be the
    label; it must not have been trained on this snapshot. Any failure of reading, loading or predicting is a problem of the report.
    What must not be worse than the champion must not be worse than ``history.anchor`` either.

    Raises:
        UsageError: the policy has no gate.
    """
    candidate, champion, snapshot, gate = subject.candidate, subject.champion, subject.snapshot, subject.gate
    rival = champion.ref if champion else history.champion or _baseline_name(gate.baseline)
    heading = Heading(
        title=f"{candidate.ref} against {rival or 'nothing'} on {snapshot.ref}",
        candidate=candidate.ref,
        champion=rival,
        snapshot=snapshot.ref,
        policy_digest=policy_digest(subject.policy),
        anchor=history.anchor.ref if history.anchor else "",
    )
    columns: Columns = {}
    check = _as_check(subject.policy, gate, bool(rival), history.anchor is not None)
    try:
        _refuse_known(gate, snapshot, history)
        _refuse_unfair(subject, rival)
        columns = _predictions(subject, history.anchor)
        reading = read_evidence(columns, as_patterns(check, columns))
        if champion is None:
            reading.warnings = [warning for warning in reading.warnings if not _about_baseline(warning)]
    except _Refused as refusal:
        return Judgement(refused(check, heading, refusal.problems, history), columns)
    except TidegateError as error:
        return Judgement(refused(check, heading, [as_problem(error)], history), columns)
    warn_of_loosening(reading, history.loosened)
    tired = worn(history.wear, snapshot.ref) if history.wear else None
    reading.warnings += [tired] if tired else []
    unknown = _unknown_training(candidate, subject.datasets)
    if unknown:
        reading.warn("lineage-unknown", f"leakage could not be ruled out: {unknown}", "train by a pipeline, or give trained_on")
    if champion is not None and _trained_on(champion, snapshot, subject.datasets):
        reading.warn(
            "champion-saw-snapshot",
            f"{champion.ref} was trained on {snapshot.ref}, which flatters it",
            "judge on a newer snapshot",
        )
    return Judgement(build_report(reading, check, heading, subject, history), columns)


def rehearse(subject: Subject) -> Rehearsal:
    """Predicts as ``judge`` does and judges nothing: for plans and self-tests. Labels may be missing.

    Raises:
        UsageError: the policy has no gate.
        TidegateError: there is no fair comparison, or something cannot be read or predicted; the first problem is told.
    """
    gate, champion = subject.gate, subject.champion
    rival = champion.ref if champion else _baseline_name(gate.baseline)
    _refuse_unfair(subject, rival)
    columns = _predictions(subject, None)
    return Rehearsal(columns, as_patterns(_as_check(subject.policy, gate, bool(rival), False), columns))


def _as_check(policy: ModelPolicy, gate: GatePolicy, with_champion: bool, with_anchor: bool) -> CheckPolicy:
    return CheckPolicy(
        task=policy.task,
        label=gate.label,
        candidate=CANDIDATE,
        champion=CHAMPION if with_champion else "",
        anchor=ANCHOR if with_anchor else "",
        rules=gate.rules,
        confidence=gate.confidence,
        key=gate.key,
        cluster=gate.cluster,
        weight=gate.weight,
        query=gate.query,
        seed=gate.seed,
        explore=gate.explore,
    )


def _about_baseline(warning: Problem) -> bool:
    """A constant baseline is constant on purpose."""
    return warning.code == "constant-predictions" and "champion" in warning.what


def _baseline_name(baseline: BaselineModel | None) -> str:
    if baseline is None:
        return ""
    return f"baseline column {baseline.column}" if baseline.kind == "column" else "baseline constant"


def _refuse_known(gate: GatePolicy, snapshot: Snapshot, history: History) -> None:
    """Refuses what the ledger and the receipts forbid already."""
    spent = worn_out(history.wear, gate.max_uses, snapshot.ref) if history.wear else None
    problems = [*history.problems, *([spent] if spent else [])]
    if problems:
        raise _Refused(*problems)


def _refuse_unfair(subject: Subject, rival: str) -> None:
    """Refuses what cannot be a fair comparison, before anything is computed."""
    candidate, snapshot, policy, gate = subject.candidate, subject.snapshot, subject.policy, subject.gate
    datasets = subject.datasets
    problems: list[Problem] = []
    if candidate.manifest.task not in {policy.task, "unknown"}:
        what = f"{candidate.ref} is a model for {candidate.manifest.task}, the policy is for {policy.task}"
        problems.append(Problem(code="task-differs", what=what, fix="mend the policy's task, or train the other kind of model"))
    if not rival and any(rule.test in COMPARING for rule in gate.rules):
        what = "there is no champion yet and no baseline is declared, so there is nothing to compare with"
        problems.append(
            Problem(code="no-baseline", what=what, fix=f'add [models.{candidate.name}.gate.baseline], such as kind = "constant"')
        )
    if _trained_on(candidate, snapshot, datasets):
        what = f"leakage: {candidate.ref} was trained on {snapshot.ref}, the very rows that it is judged by"
        problems.append(Problem(code="leakage", what=what, fix="train on other rows, or judge on a newer snapshot"))
    inputs = candidate.manifest.signature.input_names
    labels = columns_named(gate.label, inputs)
    if labels:
        what = f"{candidate.ref} takes {', '.join(labels)}, which is the label itself"
        problems.append(Problem(code="label-is-input", what=what, fix="train without it: it is what the model shall tell"))
    contract = datasets.contract(snapshot)
    peeked = sorted((set(inputs) - set(labels)) & contract.later_columns) if contract else []
    if peeked:
        what = (
            f"{candidate.ref} takes {', '.join(peeked)}, which by the contract of {snapshot.ref} is not known at prediction time"
        )
        problems.append(
            Problem(code="feature-not-available", what=what, fix="train without it; in production it would be missing or late")
        )
    if problems:
        raise _Refused(*problems)


def _trained_on(version: ModelVersion, snapshot: Snapshot, datasets: Reads) -> bool:
    """Whether a version's lineage names this snapshot: by reference, by digest, or by the digest of one of its files."""
    lineage = version.manifest.lineage
    content = {snapshot.digest, *(entry.digest for entry in snapshot.files)}
    if lineage.training_digest in content or snapshot.ref in lineage.snapshots:
        return True
    for ref in lineage.snapshots:
        try:
            if datasets.get(ref).digest in content:
                return True
        except (NotFoundError, UsageError):
            continue  # ``_unknown_training`` tells it
    return False


def _unknown_training(version: ModelVersion, datasets: Reads) -> str:
    """Why nobody can say which rows a version was trained on; empty if it is known."""
    lineage = version.manifest.lineage
    if not lineage.snapshots and not lineage.training_digest:
        return f"nobody recorded what {version.ref} was trained on"
    for ref in lineage.snapshots:
        try:
            datasets.get(ref)
        except (NotFoundError, UsageError):
            return f"{version.ref} was trained on {ref}, which is not there"
    return ""


def _predictions(subject: Subject, anchor: ModelVersion | None) -> Columns:
    """The columns that the rules need, from the snapshot and from the models, in the order of the snapshot's rows."""
    candidate, champion, snapshot, gate = subject.candidate, subject.champion, subject.snapshot, subject.gate
    versions = {CANDIDATE: candidate, CHAMPION: champion, ANCHOR: anchor}
    inputs = [(version, version.manifest.signature.input_names) for version in versions.values() if version]
    baseline = gate.baseline if gate.baseline and not champion else None
    named = [gate.key, gate.cluster, gate.weight, gate.query]
    asked = [*gate.explore, *(column for rule in gate.rules for column in (*rule.slices, rule.rows))]
    with frames.connect() as con, foreign("snapshot-unreadable", f"{snapshot.ref} cannot be read"):
        relation = subject.datasets.read(con, snapshot)
        present = relation.columns
        several = [
            column for name in (gate.label, baseline.column if baseline else "") for column in columns_named(name, present)
        ]
        kept = dict.fromkeys([*several, *(name for name in [*named, *asked] if name)])
        for version, names in inputs:
            _refuse_missing(version, names, snapshot, sorted(present))
        wanted = [name for name in dict.fromkeys([*kept, *(name for _, names in inputs for name in names)]) if name in present]
        table = frames.to_columns(relation.project(", ".join(map(frames.quote, wanted))))
    columns = {name: table[name] for name in kept if name in table}
    _refuse_copies(candidate, gate, table)
    for role, version in versions.items():
        columns |= predict(role, version, table, subject.policy, subject.models) if version is not None else {}
    if baseline is not None:
        columns |= _baseline(gate, baseline, subject.policy, table, candidate.manifest.classes)
    return columns


def _refuse_copies(candidate: ModelVersion, gate: GatePolicy, table: Columns) -> None:
    inputs = {name: table[name] for name in candidate.manifest.signature.input_names}
    for label in columns_named(gate.label, table):
        copies = copies_of(table[label], inputs)
        if copies:
            what = f"{candidate.ref} takes {', '.join(copies)}, which on every evaluation row is the label {label} itself"
            raise _Refused(Problem(code="label-is-input", what=what, fix="train without it: it is what the model shall tell"))


def _refuse_missing(version: ModelVersion, names: list[str], snapshot: Snapshot, present: list[str]) -> None:
    missing = [name for name in names if name not in present]
    if missing:
        raise _Refused(
            Problem(
                code="input-missing",
                what=f"{snapshot.ref} lacks {', '.join(missing)}, which {version.ref} takes; {nearest(missing[0], present)}",
                fix="take a snapshot with all inputs of both models, or train on the columns that it has",
            )
        )


def _baseline(gate: GatePolicy, baseline: BaselineModel, policy: ModelPolicy, table: Columns, classes: list[str]) -> Columns:
    """What the first version must beat."""
    if baseline.kind == "column":
        found = columns_named(baseline.column, table)
        if not found:
            raise _Refused(
                Problem(code="column-missing", what=f"the baseline column {baseline.column!r} is missing", fix="mend the policy")
            )
        if found == [baseline.column]:
            return {CHAMPION: table[baseline.column]}
        head, _, tail = baseline.column.partition("*")
        return {f"{CHAMPION}: {name[len(head) : len(name) - len(tail)]}": table[name] for name in found}
    if policy.task == "multilabel":
        return constant_labels(CHAMPION, table, gate.label, baseline, classes)
    if gate.label not in table:
        raise _Refused(Problem(code="column-missing", what=f"the label column {gate.label!r} is missing", fix="mend the policy"))
    return constant(CHAMPION, table[gate.label], baseline, policy.task)
