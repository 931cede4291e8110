"""The composition root: settings to store to rooms. It alone picks implementations; it decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tidegate.clock import Clock, from_us, parse_time
from tidegate.data import Datasets
from tidegate.errors import IntegrityError, NotFoundError, UnavailableError, UsageError
from tidegate.features import Features
from tidegate.gate import (
    History,
    Rehearsal,
    Subject,
    asks_anchor,
    find_diffs,
    find_loosening,
    find_wear,
    importable,
    judge,
    make_receipt,
    parse_model_policy,
    policy_digest,
    rehearse,
    require_signing_key,
    store_attestation,
    store_receipt,
)
from tidegate.health import VERIFICATION, examine
from tidegate.loop import Machinery, TickReport, TrainingOutcome, folder_lock, tick
from tidegate.models import Candidate, Models, read_version
from tidegate.models.scoring import Scoring
from tidegate.monitoring import Monitor
from tidegate.pipelines import Runner, StepEvent, load_function, load_pipeline
from tidegate.records.dataset import Snapshot
from tidegate.records.health import Health
from tidegate.records.ids import new_id
from tidegate.records.model import Lineage, ModelVersion
from tidegate.records.names import is_name, nearest, parse_reference
from tidegate.records.pipeline import StepRun
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Baseline, Receipt
from tidegate.records.report import Diffs, Problem, Report, Wear
from tidegate.records.verdict import Verdict
from tidegate.release import Release, audit_ledger, find_anchor, follow_up, judged_rows
from tidegate.serving.rollout import Controller
from tidegate.settings import Project, load_project, read_policies, read_roles
from tidegate.store import Store, open_remote, open_store
from tidegate.store.ports import Document
from tidegate.store.verify import changed_objects, object_digests
from tidegate.tracking import Runs, git_state, lost_of_runs

_Record = TypeVar("_Record")


@dataclass(frozen=True)
class PipelineRun:
    """A finished pipeline: its run, its steps, what it returned, and the version that this became, if it was a candidate."""

    run_id: str
    steps: list[StepRun]
    value: Any
    version: ModelVersion | None
    warnings: list[str]


@dataclass(frozen=True)
class Judged:
    """What the gate found about a version, and the receipt that now stands in the ledger."""

    version: ModelVersion
    report: Report
    receipt: Receipt
    receipt_digest: str

    @property
    def verdict(self) -> Verdict:
        """PASS, FAIL, INCONCLUSIVE or INVALID."""
        return self.report.verdict


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What ``store verify`` looked at, and what is missing or changed, in sentences."""

    objects: int
    snapshots: int
    versions: int
    ledgers: int
    problems: list[str]


class Workspace:
    """Everything that can be done with one project, as one author, at one clock."""

    def __init__(self, project: Project, store: Store) -> None:
        settings = project.settings
        self.project = project
        self.store = store
        self.actor = settings.actor
        self.clock = Clock.replay(parse_time(settings.now)) if settings.now else Clock()
        self.datasets = Datasets(store.bucket, store.catalog, self.clock, author=self.actor)
        self.models = Models(store.bucket, store.catalog, self.clock, author=self.actor)
        self.features = Features(self.datasets, store.online, self.clock)
        self.follow_up = follow_up(store.bucket, self.clock, settings, project.folder, store.root / "cache")
        self.checkpoints, self.outbox, after = self.follow_up.checkpoints, self.follow_up.outbox, self.follow_up.after
        self.release = Release(
            store.bucket, self.clock, self.actor, allow_ungated=settings.allow_ungated, after=after, folder=project.folder
        )
        self.rollouts = Controller(store.bucket, self.release, self.clock)
        self.runs = Runs(
            store,
            self.clock,
            journals=store.root / "journal",
            project=project.folder,
            author=self.actor,
            find_snapshot=self.datasets.get,
            machine=True,
        )
        self.scoring = Scoring(store.bucket, self.datasets, self.runs)

    def __repr__(self) -> str:
        return f"<Workspace of {self.project.folder}, store {self.store.root}, as {self.actor}>"

    @staticmethod
    def open(folder: str | Path = ".", *, recover: bool = True, **settings: Any) -> Workspace:
        """Opens the project around ``folder``; its store is made if it is not there. ``settings`` win over every source.

        Unless ``recover`` says no, it takes in what dead processes of this machine left in their journals.

        Raises:
            UsageError: a setting is wrong.
            UnavailableError: the store is locked, damaged, or newer than this Tidegate.
        """
        project = load_project(Path(folder), settings)
        workspace = Workspace(project, _opened(project))
        if recover:
            workspace.runs.recover()
        return workspace

    @property
    def policies(self) -> dict[str, ModelPolicy]:
        """What is declared about each model now, checked. Read anew each time: a server outlives an edit of the file.

        Raises:
            UsageError: a policy cannot be understood; the error names the key and the nearest valid one.
        """
        folder = self.project.folder
        roles = read_roles(folder)
        return {name: parse_model_policy(name, table, roles) for name, table in read_policies(folder).items()}

    def policy(self, model: str) -> ModelPolicy:
        """What is declared about one model.

        Raises:
            NotFoundError: nothing is declared about it.
        """
        policies = self.policies
        if model not in policies:
            raise NotFoundError(
                "no-policy",
                f"no policy is declared for {model!r}",
                why=f"{self.project.policy_file or self.project.folder / 'tidegate.toml'} has no [models.{model}]",
                fix=nearest(model, list(policies)) if policies else f"add [models.{model}] and [models.{model}.gate]",
            )
        return policies[model]

    def version(self, ref: str) -> ModelVersion:
        """The version that ``delay@12``, ``delay@latest`` or ``delay@champion`` names.

        Raises:
            NotFoundError: there is none.
        """
        reference = parse_reference(ref, "model")
        if reference.version != "champion":
            return self.models.get(ref)
        champion = self.release.pointer(reference.name).champion
        if not champion.version:
            self.models.get(reference.name)  # a name that nobody knows is told as such
            raise NotFoundError(
                "no-champion",
                f"{reference.name} has no champion",
                why="nothing was promoted yet",
                fix=f"name a version ({reference.name}@1; tidegate model list {reference.name}), or promote one",
            )
        return self.models.get(f"{reference.name}@{champion.version}")

    def judge(self, ref: str, *, snapshot: str = "", base: str = "") -> Judged:
        """Compares a version with the champion on the policy's evaluation snapshot (or on ``snapshot``) and records the verdict.

        A policy that asks for less than the one that the champion passed, or than the one on the branch ``base`` (empty: git's
        default branch), is told in the report and bound in the receipt. With the setting ``signing_key`` the receipt is signed.

        Raises:
            BadInputError: the signing key cannot be used; nothing was judged then.
            NotFoundError: no such version or snapshot, or no policy is declared.
            UsageError: the policy cannot be understood, or declares no gate.
        """
        version = self.version(ref)
        policy = self.policy(version.name)
        key = self.project.settings.signing_key.get_secret_value()
        require_signing_key(key)
        baseline = self.release.pointer(version.name).champion
        problems: list[Problem] = []
        champion = self._package(version.name, baseline, "champion", problems)
        asked = policy.gate is not None and any(map(asks_anchor, policy.gate.rules))
        anchor = self._anchor(version.name, baseline, problems) if asked else None
        evaluation = self._evaluation(snapshot or (policy.gate.snapshot if policy.gate else ""), problems)
        loosening = find_loosening(
            self.store.bucket,
            version.name,
            policy,
            champion_receipt=self.release.champion_receipt(version.name),
            folder=self.project.folder,
            base=base,
        )
        with importable(self.project.folder):  # a rule may name a function of the project
            found = judge(
                self._subject(version, champion, evaluation, policy),
                History(
                    champion=f"{version.name}@{baseline.version}" if baseline.version else "",
                    anchor=anchor,
                    wear=self._wear(evaluation, policy, problems),
                    loosened=loosening.sentences,
                    diffs=self.diffs(champion, version) if champion else None,
                    problems=problems,
                ),
            )
        receipt = make_receipt(
            found.report,
            candidate=version,
            baseline=baseline,
            snapshot=evaluation,
            policy=policy,
            code=self._code(),
            author=self.actor,
            now=self.clock.now(),
        )
        receipt = msgspec.structs.replace(receipt, loosened=loosening.sentences, loosened_by=loosening.authors)
        self.release.register(version)
        digest = store_receipt(self.store.bucket, receipt, found.report, policy)
        store_attestation(self.store.bucket, version.name, digest, key)
        self.release.judged(receipt)
        if policy.release.auto is not None and receipt.verdict is Verdict.PASS:
            self.release.approve_by_policy(version.name, version.version, policy=policy)
        return Judged(version, found.report, receipt, digest)

    def rehearse(self, ref: str) -> Rehearsal:
        """What the gate would judge a version by, without judging it: no verdict is reached, and no receipt is made.

        Raises:
            NotFoundError: no such version or snapshot, or no policy is declared.
            TidegateError: the models cannot be compared on the policy's snapshot.
        """
        version = self.version(ref)
        policy = self.policy(version.name)
        baseline = self.release.pointer(version.name).champion
        champion = self.models.get(f"{version.name}@{baseline.version}") if baseline.version else None
        evaluation = self.datasets.get(policy.gate.snapshot if policy.gate else "")
        return rehearse(self._subject(version, champion, evaluation, policy))

    def diffs(self, before: ModelVersion, after: ModelVersion) -> Diffs:
        """What differs from one version to another in code, data and model."""
        repository = self.project.folder
        return find_diffs(before, after, runs=self.runs, datasets=self.datasets, bucket=self.store.bucket, repository=repository)

    def run_pipeline(
        self, target: str, params: Mapping[str, Any] | None = None, *, progress: Callable[[StepEvent], None] | None = None
    ) -> PipelineRun:
        """Runs ``module:function`` of the project. A candidate that it returns becomes a version.

        Raises:
            UsageError: there is no such pipeline, or a parameter is wrong.
            StepFailedError: a step raised.
        """
        pipeline = load_pipeline(target, self.project.folder)
        result = self.runner.run(pipeline, params, progress=progress)
        value = result.value
        version = None
        if isinstance(value, Candidate):
            version = self.register(value, run_id=result.run_id, pipeline=target, snapshots=result.snapshots)
        return PipelineRun(result.run_id, result.steps, value, version, result.warnings)

    def register(
        self, candidate: Candidate, *, run_id: str = "", pipeline: str = "", snapshots: Sequence[str] = ()
    ) -> ModelVersion:
        """Packs a candidate as a version, with where it comes from, and enters it into the model's ledger.

        Raises:
            UsageError: it is no candidate.
            NotFoundError: ``trained_on`` names a snapshot that is not there: the gate could not see leakage.
            BadInputError: the estimator does not fit its example, or no format can hold it.
        """
        if not isinstance(candidate, Candidate):  # pyright: ignore[reportUnnecessaryIsInstance] - notebooks are not type-checked
            raise UsageError(
                "not-a-candidate",
                f"a {type(candidate).__name__} is no candidate",
                fix="register(tidegate.Candidate(name, estimator, example_rows, task))",
            )
        trained_on = [candidate.trained_on] if isinstance(candidate.trained_on, str) else candidate.trained_on
        seen = {self.datasets.get(ref).ref for ref in trained_on}
        environment = self.runs.get(run_id).environment if run_id else None
        lineage = Lineage(
            run=run_id,
            pipeline=pipeline,
            git_commit=environment.git_commit if environment else "",
            git_dirty=environment.git_dirty if environment else None,
            snapshots=sorted({*seen, *snapshots}),
            packages=environment.packages if environment else {},
            code_tree=environment.git_tree if environment else "",
            policy_digest=self._declared_digest(candidate.name),
        )
        version = self.models.register(candidate, lineage=lineage)
        self.release.register(version)
        return version

    def _declared_digest(self, model: str) -> str:
        policy = self.policies.get(model)
        return policy_digest(policy) if policy else ""

    def monitor(self, model: str) -> Monitor:
        """The monitor of one model.

        Raises:
            UsageError: its policy declares no monitoring.
        """
        return Monitor(
            self.store.bucket,
            self.store.documents,
            datasets=self.datasets,
            models=self.models,
            name=model,
            policy=self.policy(model),
            evaluated_on=lambda version: self._evaluated_on(model, version),
        )

    def tick(self, *, progress: Callable[[StepEvent], None] | None = None) -> TickReport:
        """One pass of the loop over every model that has a policy: safe to repeat, fit for cron."""

        def train(target: str, params: Mapping[str, Any]) -> TrainingOutcome:
            done = self.run_pipeline(target, params, progress=progress)
            if done.version is None:
                raise UsageError(
                    "no-candidate",
                    f"{target} returned no candidate",
                    why="a retraining pipeline's result is a Candidate",
                    fix="return tidegate.Candidate(...) from the pipeline",
                )
            return TrainingOutcome(run_id=done.run_id, version=done.version.version)

        report = tick(
            Machinery(
                policies=self.policies,
                documents=self.store.documents,
                monitor=self.monitor,
                release=self.release,
                clock=self.clock,
                actor=self.actor,
                train=train,
                freeze_evaluation=self._freeze_evaluation,
                judge=lambda ref, snapshot: self.judge(ref, snapshot=snapshot),
                exclusive=folder_lock(self.store.root / "locks"),
                roll=lambda model: self.rollouts.tick(model, policy=self.policy(model)),
            )
        )
        return msgspec.structs.replace(report, notes=[*report.notes, *self.follow_up.catch_up(self.model_names())])

    def health(self, *, probe: bool = False) -> Health:
        """What doctor finds. With ``probe`` it also tries out whether the bucket's conditional writes hold."""
        return examine(
            store=self.store,
            datasets=self.datasets,
            models=self.models,
            release=self.release,
            policies=self.policies,
            clock=self.clock,
            folder=self.project.folder,
            probe=probe,
        )

    def verify(self, *, advance: Callable[[float], None] = lambda _: None) -> Verification:
        """Re-hashes every object, checks every manifest, chain and receipt, and remembers that it was done.

        What cannot be read is a problem among the others; it does not end the search for more.
        """
        digests = object_digests(self.store.bucket)
        changed = changed_objects(self.store.bucket, digests, advance=lambda: advance(1))
        names = self.model_names()
        problems = [f"object {digest} was changed on disk" for digest in changed]
        snapshots = _readable(self.datasets.names(), self.datasets.list, problems)
        versions = _readable(names, self.models.list, problems)
        problems += self._lost()
        problems += lost_of_runs(self.runs, self.store.bucket, set(digests))
        problems += [problem for snapshot in snapshots for problem in self.datasets.verify(snapshot)]
        problems += [problem for version in versions for problem in self.models.verify(version)]
        problems += [problem for name in names for problem in self.release.verify(name)]
        problems += [problem for name in names for problem in audit_ledger(self.store.bucket, name)]
        problems += self.checkpoints.problems(names)
        now = self.clock.now()
        state = "problems" if problems else "ok"
        try:
            self.store.documents.add(Document(VERIFICATION, new_id(now), "store", state, now, {"problems": problems}, 1))
        except UnavailableError as error:  # what was found matters more than the note that it was looked for
            problems.append(f"this verification could not be recorded: {error.what}")
        return Verification(
            objects=len(digests), snapshots=len(snapshots), versions=len(versions), ledgers=len(names), problems=problems
        )

    def reindex(self) -> int:
        """Rebuilds the database's index of the bucket from the bucket alone; returns how many entries it has."""
        self.store.catalog.clear()
        return self.datasets.reindex() + self.models.reindex()

    def model_names(self) -> list[str]:
        """Every model that the bucket knows, whether a policy is declared for it or not."""
        parts = [key.split("/") for key in self.store.bucket.keys("models/")]
        return sorted({part[1] for part in parts if len(part) > 2 and is_name(part[1])})

    def _lost(self) -> list[str]:
        """What the index knows and the bucket no longer has."""
        entries = [entry for kind in ("dataset", "model") for entry in self.store.catalog.list(kind)]
        gone = [entry for entry in entries if self.store.bucket.find(entry.key) is None]
        return [f"{entry.name}@{entry.number} is missing: {entry.key} was removed" for entry in gone]

    @cached_property
    def runner(self) -> Runner:
        """Runs this project's pipelines."""
        return Runner(self.store, self.datasets, self.runs, self.clock, folder=self.project.folder)

    def _package(self, model: str, wanted: Baseline, role: str, problems: list[Problem]) -> ModelVersion | None:
        """The version that the ledger names, checked against its digest; a problem where it is gone or another."""
        if not wanted.version:
            return None
        try:
            return read_version(self.store.bucket, model, wanted.version, wanted.digest)
        except (NotFoundError, IntegrityError) as error:
            fix = "restore it from a backup (tidegate store verify), or roll back to a version that is there"
            what = f"the {role} {model}@{wanted.version} cannot be compared with: {error.what}"
            problems += [Problem(code=f"{role}-missing" if isinstance(error, NotFoundError) else error.code, what=what, fix=fix)]
            return None

    def _subject(
        self, candidate: ModelVersion, champion: ModelVersion | None, snapshot: Snapshot, policy: ModelPolicy
    ) -> Subject:
        return Subject(
            candidate=candidate,
            champion=champion,
            snapshot=snapshot,
            policy=policy,
            models=self.models,
            datasets=self.datasets,
            now=self.clock.now(),
        )

    def _anchor(self, model: str, champion: Baseline, problems: list[Problem]) -> ModelVersion | None:
        """The version that was last proven better, if it is not the champion itself."""
        try:
            anchor = find_anchor(self.store.bucket, model)
        except (NotFoundError, IntegrityError) as error:
            what = f"nobody can say which version of {model} was last proven better: {error.what}"
            fix = "restore the receipt from a backup: tidegate store verify"
            problems.append(Problem(code="anchor-unknown", what=what, fix=fix))
            return None
        return self._package(model, anchor, "anchor", problems) if anchor and anchor.digest != champion.digest else None

    def _evaluation(self, ref: str, problems: list[Problem]) -> Snapshot:
        """The evaluation snapshot; where its document was changed, only its name and a problem."""
        try:
            return self.datasets.get(ref)
        except IntegrityError as error:
            fix = "restore it from a backup (tidegate store verify), or take a new snapshot"
            problems.append(Problem(code=error.code, what=f"the evaluation snapshot {ref}: {error.what}: {error.why}", fix=fix))
            reference = parse_reference(ref, "dataset")
            return Snapshot(name=reference.name, number=reference.number or 0, digest="", files=[], created_at=0)

    def _wear(self, evaluation: Snapshot, policy: ModelPolicy, problems: list[Problem]) -> Wear | None:
        gate = policy.gate
        if gate is None or problems:
            return None
        try:
            judged = judged_rows(map(self.release.state, self.model_names()))
        except IntegrityError as error:
            what = f"nobody can say how worn the rows are: {error.what}"
            problems += [Problem(code=error.code, what=what, fix=error.fix)] if gate.max_uses else []
            return None
        return find_wear(self.store.bucket, evaluation, judged=judged, confidence=gate.confidence, now=self.clock.now())

    def _code(self) -> str:
        git = git_state(self.project.folder)
        state = f"git {git.commit[:12]}{' with uncommitted changes' if git.dirty else ''}" if git else "no git repository"
        return f"tidegate {installed_version('tidegate')}, {state}"

    def _evaluated_on(self, model: str, version: int) -> str:
        digest = self.release.newest_receipt(model, version)
        return self.release.receipt(model, digest).snapshot if digest else ""

    def _freeze_evaluation(self, target: str, now: int) -> str:
        return str(load_function(target, self.project.folder)(self, from_us(now).isoformat()))


def _readable(names: Sequence[str], read: Callable[[str], list[_Record]], problems: list[str]) -> list[_Record]:
    """The records of all names; where they cannot be read, a problem is added instead."""
    records: list[_Record] = []
    for name in names:
        try:
            records += read(name)
        except IntegrityError as error:
            problems.append(f"{error.what}: {error.why}")
    return records


def _opened(project: Project) -> Store:
    settings = project.settings
    if not settings.server:
        return open_store(project.store, database=settings.database, bucket=settings.bucket)
    own = [name for name in ("database", "bucket") if getattr(settings, name)]
    if own:
        raise UsageError(
            "server-and-own",
            f"the settings name a server and a {own[0]} of their own",
            why="the server has the store's database and bucket",
            fix=f"remove the setting server, or {own[0]}; tidegate settings explain says who set them",
        )
    return open_remote(project.store, settings.server, settings.token.get_secret_value())


def open_workspace(folder: str | Path = ".", **settings: Any) -> Workspace:
    """Opens the project around ``folder``: see ``Workspace.open``."""
    return Workspace.open(folder, **settings)
