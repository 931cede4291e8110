"""The gate over model versions: both predict the same frozen rows, now, and the columns are judged like any file's.

Stored numbers of old runs are never compared. Whatever goes wrong on the way makes the verdict INVALID, never PASS.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.errors import BadInputError, NotFoundError, TidegateError, UsageError
from tidegate.frames import Columns, Connection, Relation
from tidegate.gate.case import Subject
from tidegate.gate.evidence import read_evidence
from tidegate.gate.policy import COMPARING, policy_digest
from tidegate.gate.report import Heading, as_problem, build_report, refused
from tidegate.records.dataset import Snapshot
from tidegate.records.model import ModelVersion
from tidegate.records.names import nearest
from tidegate.records.policy import BaselineModel, CheckPolicy, GatePolicy, ModelPolicy
from tidegate.records.report import Problem, Report

CANDIDATE = "prediction of the candidate"
CHAMPION = "prediction of the champion"
OUTPUTS = {"binary": "probability", "multiclass": "label", "regression": "prediction"}
"""The output of a task that metrics are computed from."""


class Predicts(Protocol):
    """A loaded model."""

    def predict(self, columns: Mapping[str, object]) -> Columns:
        """Outputs by name for inputs by name."""
        ...


class Loads(Protocol):
    """What the gate asks of ``tidegate.models.Models``."""

    def load(self, version: ModelVersion | str, *, allow_code: bool = False) -> Predicts:
        """The version's model, its bytes verified."""
        ...


class HasLater(Protocol):
    """What the gate asks of a contract."""

    @property
    def later_columns(self) -> frozenset[str]:
        """Columns that are not known at prediction time."""
        ...


class Reads(Protocol):
    """What the gate asks of ``tidegate.data.Datasets``."""

    def get(self, ref: str) -> Snapshot:
        """A snapshot by its reference."""
        ...

    def read(self, con: Connection, snapshot: Snapshot) -> Relation:
        """Its rows, its bytes verified."""
        ...

    def contract(self, snapshot: Snapshot) -> HasLater | None:
        """Its contract, or None."""
        ...


class Judgement(NamedTuple):
    """What ``judge`` found, and the columns it was found on: label, key, slices, both predictions (empty if INVALID early)."""

    report: Report
    predictions: Columns


class _Refused(Exception):  # noqa: N818 - it carries problems out of the preparation; nobody outside sees it
    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].what)
        self.problems = list(problems)


def judge(
    candidate: ModelVersion,
    champion: ModelVersion | None,
    *,
    snapshot: Snapshot,
    policy: ModelPolicy,
    models: Loads,
    datasets: Reads,
) -> Judgement:
    """Compares a candidate with the champion, or with the declared baseline where there is none, on a frozen snapshot.

    The candidate's inputs must stand in the snapshot, must be known at prediction time by its contract, and cannot be the
    label; it must not have been trained on this snapshot. Any failure of reading, loading or predicting is a problem of the report.

    Raises:
        UsageError: the policy has no gate.
    """
    gate = policy.gate
    if gate is None:
        raise UsageError(
            "no-gate", f"no gate is declared for {candidate.name}", fix=f"add [models.{candidate.name}.gate] to tidegate.toml"
        )
    rival = champion.ref if champion else _baseline_name(gate.baseline)
    heading = Heading(
        title=f"{candidate.ref} against {rival or 'nothing'} on {snapshot.ref}",
        candidate=candidate.ref,
        champion=rival,
        snapshot=snapshot.ref,
        policy_digest=policy_digest(policy),
    )
    columns: Columns = {}
    check = _as_check(policy, gate, bool(rival))
    try:
        _refuse_unfair(candidate, snapshot, policy, gate, datasets, rival)
        columns = _predictions(candidate, champion, snapshot, policy, gate, models, datasets)
        reading = read_evidence(columns, check)
        if champion is None:
            reading.warnings = [warning for warning in reading.warnings if not _about_baseline(warning)]
    except _Refused as refusal:
        return Judgement(refused(check, heading, refusal.problems), columns)
    except TidegateError as error:
        return Judgement(refused(check, heading, [as_problem(error)]), columns)
    unknown = _unknown_training(candidate, datasets)
    if unknown:
        reading.warn("lineage-unknown", f"leakage could not be ruled out: {unknown}", "train by a pipeline, or give trained_on")
    if champion is not None and _trained_on(champion, snapshot, datasets):
        reading.warn(
            "champion-saw-snapshot",
            f"{champion.ref} was trained on {snapshot.ref}, which flatters it",
            "judge on a newer snapshot",
        )
    subject = Subject(candidate=candidate, champion=champion, snapshot=snapshot)
    return Judgement(build_report(reading, check, heading, subject), columns)


def _as_check(policy: ModelPolicy, gate: GatePolicy, with_champion: bool) -> CheckPolicy:
    return CheckPolicy(
        task=policy.task,
        label=gate.label,
        candidate=CANDIDATE,
        champion=CHAMPION if with_champion else "",
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


def _refuse_unfair(
    candidate: ModelVersion, snapshot: Snapshot, policy: ModelPolicy, gate: GatePolicy, datasets: Reads, rival: str
) -> None:
    """Refuses what cannot be a fair comparison, before anything is computed."""
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
    if gate.label in inputs:
        what = f"{candidate.ref} takes {gate.label}, which is the label itself"
        problems.append(Problem(code="label-is-input", what=what, fix="train without it: it is what the model shall tell"))
    contract = datasets.contract(snapshot)
    peeked = sorted((set(inputs) - {gate.label}) & contract.later_columns) if contract else []
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


def _predictions(
    candidate: ModelVersion,
    champion: ModelVersion | None,
    snapshot: Snapshot,
    policy: ModelPolicy,
    gate: GatePolicy,
    models: Loads,
    datasets: Reads,
) -> Columns:
    """The columns that the rules need, from the snapshot and from both models, in the order of the snapshot's rows."""
    inputs = [(version, version.manifest.signature.input_names) for version in (candidate, champion) if version]
    named = [gate.label, gate.key, gate.cluster, gate.weight, gate.baseline.column if gate.baseline and not champion else ""]
    kept = dict.fromkeys(name for name in [*named, *(column for rule in gate.rules for column in rule.slices)] if name)
    with frames.connect() as con, _foreign("snapshot-unreadable", f"{snapshot.ref} cannot be read"):
        relation = datasets.read(con, snapshot)
        present = set(relation.columns)
        for version, names in inputs:
            _refuse_missing(version, names, snapshot, sorted(present))
        wanted = [name for name in dict.fromkeys([*kept, *(name for _, names in inputs for name in names)]) if name in present]
        table = frames.to_columns(relation.project(", ".join(map(frames.quote, wanted))))
    columns = {name: table[name] for name in kept if name in table}
    columns[CANDIDATE] = _predict(candidate, table, policy, models)
    if champion is not None:
        columns[CHAMPION] = _predict(champion, table, policy, models)
    elif gate.baseline is not None:
        columns[CHAMPION] = _baseline(gate, gate.baseline, policy, table)
    if policy.task == "multiclass":  # models answer with an index into their classes, labels are the classes themselves
        columns = {
            name: _as_text(values) if name in {gate.label, CHAMPION, CANDIDATE} else values for name, values in columns.items()
        }
    return columns


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


def _predict(version: ModelVersion, table: Columns, policy: ModelPolicy, models: Loads) -> NDArray[Any]:
    with _foreign("prediction-failed", f"{version.ref} cannot predict the evaluation rows"):
        predictor = models.load(version, allow_code=policy.serving.allow_code)
        outputs = predictor.predict({name: table[name] for name in version.manifest.signature.input_names})
        values = np.asarray(outputs[OUTPUTS[policy.task]])
        rows = len(next(iter(table.values())))
        if values.size != rows:
            raise BadInputError(
                "prediction-failed", f"{version.ref} gave {values.size:,} answers for {rows:,} rows", fix="check its package"
            )
        values = values.reshape(rows)
        classes = version.manifest.classes
        return np.asarray(classes, dtype=object)[values.astype(np.int64)] if policy.task == "multiclass" and classes else values


def _baseline(gate: GatePolicy, baseline: BaselineModel, policy: ModelPolicy, table: Columns) -> NDArray[Any]:
    """What the first version must beat.

    Without a value the constant is the mean label (the commonest class) of these very rows. By log loss, Brier score and
    squared error no constant does better on them, so to beat it is the harder thing.
    """
    if baseline.kind == "column":
        if baseline.column not in table:
            raise _Refused(
                Problem(code="column-missing", what=f"the baseline column {baseline.column!r} is missing", fix="mend the policy")
            )
        return table[baseline.column]
    if gate.label not in table:
        raise _Refused(Problem(code="column-missing", what=f"the label column {gate.label!r} is missing", fix="mend the policy"))
    labels = table[gate.label]
    if policy.task == "multiclass":
        names, counts = np.unique(_as_text(labels).astype(str), return_counts=True)
        return np.full(labels.size, names[counts.argmax()], dtype=object)
    value = baseline.value if baseline.value is not None else float(np.mean(labels.astype(np.float64)))
    return np.full(labels.size, value, dtype=np.float64)


def _as_text(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "f" and np.array_equal(values, np.rint(values)):
        values = values.astype(np.int64)
    return np.array([None if value is None or value != value else str(value) for value in values.tolist()], dtype=object)  # noqa: PLR0124


@contextmanager
def _foreign(code: str, what: str) -> Generator[None]:
    """Turns any failure of foreign code into a reason for INVALID."""
    try:
        yield
    except (_Refused, TidegateError):
        raise
    except Exception as error:
        raise BadInputError(code, what, why=f"{type(error).__name__}: {error}", fix="run it on these rows by hand") from error
