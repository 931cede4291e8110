"""Running a pipeline here: step after step, each result stored, each execution recorded, what is still true not run again."""

from __future__ import annotations

import inspect
import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tidegate.clock import Clock
from tidegate.errors import BadInputError, IntegrityError, NotFoundError, TidegateError, UsageError
from tidegate.pipelines.arguments import Arguments, SnapshotSource, bare_paths
from tidegate.pipelines.authoring import Pipeline
from tidegate.pipelines.failure import step_failed
from tidegate.pipelines.fingerprint import CodeParts, code_of, key_of
from tidegate.pipelines.graph import Graph, Node
from tidegate.pipelines.inputs import Dataset, File
from tidegate.pipelines.outputs import check_output, store_value
from tidegate.pipelines.plan import Plan, make_plan
from tidegate.pipelines.why import Why, explain
from tidegate.records.names import nearest
from tidegate.records.pipeline import Fingerprint, StepOutput, StepRun, StepState
from tidegate.store.ports import Bucket, StepStore
from tidegate.tracking import ActiveRun, Runs

PARAMS_ARTIFACT = "pipeline.json"
"""The artifact of a run that holds the pipeline's target and typed parameters: what ``run_step`` starts from."""


class PipelineStore(Protocol):
    """The parts of the store that pipelines use."""

    @property
    def bucket(self) -> Bucket:
        """Where results are kept."""
        ...

    @property
    def steps(self) -> StepStore:
        """Where executions are recorded."""
        ...


class StepEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A step started (``state`` is None) or ended: step ``number`` of ``total``."""

    step: str
    number: int
    total: int
    state: StepState | None = None
    seconds: float = 0.0
    note: str = ""


Progress = Callable[[StepEvent], None]


@dataclass(frozen=True)
class PipelineResult:
    """A finished run: its id, its steps in order, warnings, and the value that the pipeline returned."""

    run_id: str
    steps: list[StepRun]
    graph: Graph
    warnings: list[str]
    arguments: Arguments = field(repr=False)

    @property
    def snapshots(self) -> list[str]:
        """References of the snapshots that the run read."""
        return sorted(snapshot.ref for snapshot in self.arguments.snapshots.values())

    @cached_property
    def value(self) -> Any:
        """What the pipeline function returned, read from the store when it is first asked for.

        Raises:
            NotFoundError, IntegrityError: a stored result is gone or was changed since the run ended.
        """
        return self.arguments.value(self.graph.result)


@dataclass
class _Session:
    """One run of one plan."""

    plan: Plan
    run_id: str
    arguments: Arguments
    codes: dict[int, CodeParts] = field(default_factory=dict[int, CodeParts])

    def code(self, node: Node) -> CodeParts:
        """The code of a node's function, walked once per run."""
        function = self.plan.functions[node.id]
        if id(function) not in self.codes:
            self.codes[id(function)] = code_of(function)
        return self.codes[id(function)]

    def fingerprint(self, node: Node) -> Fingerprint:
        """The fingerprint of a node; the results of what it takes must be known."""
        inputs, unhashable = self.arguments.parts(node)
        fingerprint = self.code(node).with_inputs(inputs)
        return (
            msgspec.structs.replace(fingerprint, unhashable=[*fingerprint.unhashable, *unhashable]) if unhashable else fingerprint
        )


class Runner:
    """Runs pipelines in this process. ``folder`` is the project folder, where relative ``File`` inputs start."""

    def __init__(
        self, store: PipelineStore, datasets: SnapshotSource, runs: Runs, clock: Clock, *, folder: Path | None = None
    ) -> None:
        self._bucket = store.bucket
        self._steps = store.steps
        self._datasets = datasets
        self._runs = runs
        self._clock = clock
        self._folder = folder or Path()

    def run(
        self, pipeline: Pipeline[..., Any], params: Mapping[str, Any] | None = None, *, progress: Progress | None = None
    ) -> PipelineResult:
        """Runs every step whose result is not in the store yet, as one tracked run.

        Args:
            pipeline: a function decorated with ``@pipeline``.
            params: its arguments; texts are converted to the declared types.
            progress: is told when a step starts and ends.

        Raises:
            UsageError: the pipeline cannot be traced with these parameters.
            StepFailedError: a step raised; ``__cause__`` is the original exception. The step and the run are recorded as failed.
        """
        plan = make_plan(pipeline, params)
        warnings = bare_paths(plan.graph.nodes, self._folder)
        tags = {"pipeline": plan.graph.target, **{f"warning.{number}": text for number, text in enumerate(warnings, 1)}}
        with self._runs.start(pipeline.name, params=_shown_params(plan.graph.params), tags=tags) as run:
            _keep_params(run, plan.graph)
            session = self._session(plan, run.id)
            try:
                steps = [self._execute(session, node, progress, number) for number, node in enumerate(plan.graph.nodes, 1)]
            finally:
                self._tag_inputs(run, session)
        loud = [f"step {done.step} is {done.note}" for done in steps if done.fingerprint.unhashable]
        return PipelineResult(run.id, steps, plan.graph, warnings + loud, session.arguments)

    def run_step(self, pipeline: Pipeline[..., Any], step: str, *, run_id: str, progress: Progress | None = None) -> StepRun:
        """Runs one step of a run that exists, on the results that its upstream steps left there: what an engine calls.

        Idempotent: a step that is done with the same fingerprint is not run again.

        Raises:
            UsageError: the run is of another pipeline, or there is no such step.
            NotFoundError: an upstream step has not run yet.
            StepFailedError: the step raised.
        """
        plan = make_plan(pipeline, self._params_of(run_id, pipeline))
        node = _node(plan.graph, step)
        session = self._session(plan, run_id)
        done = {item.step: item for item in self._steps.of_run(run_id) if item.state is not StepState.FAILED}
        for name in node.upstream:
            if name not in done:
                raise NotFoundError(
                    "upstream-missing",
                    f"step {step} needs the result of {name}, which run {run_id} does not have",
                    fix=f"run the step {name} of that run first",
                )
            session.arguments.outputs[name] = done[name].outputs
        if step in done and done[step].key == key_of(session.fingerprint(node)) and not self._damage(done[step].outputs):
            return done[step]
        return self._execute(session, node, progress, plan.graph.nodes.index(node) + 1)

    def why(self, pipeline: Pipeline[..., Any], step: str = "", params: Mapping[str, Any] | None = None) -> list[Why]:
        """What would happen to each step (or to one) if the pipeline ran now, and what changed since it last ran.

        Nothing runs. Where an upstream step would run again, its result is not known yet; the steps after it say so.

        Raises:
            UsageError: the pipeline cannot be traced with these parameters, or there is no such step.
        """
        plan = make_plan(pipeline, params)
        nodes = plan.graph.ancestors(_node(plan.graph, step).id) if step else list(plan.graph.nodes)
        session = self._session(plan, "")
        found: list[Why] = []
        pending: list[str] = []
        for node in nodes:
            waits = [name for name in node.upstream if name in pending]
            for name in waits:
                session.arguments.outputs.setdefault(name, _unknown(name, plan.graph))
            fingerprint = session.fingerprint(node)
            before = self._steps.latest(plan.graph.pipeline, node.id)
            hit, damage = (None, "") if waits or not _may_cache(node, fingerprint) else self._lookup(key_of(fingerprint))
            if hit:
                session.arguments.outputs[node.id] = hit.outputs
            else:
                pending.append(node.id)
            found.append(explain(node, fingerprint, before, hit=hit, damage=damage, waits=waits))
        return found if not step else found[-1:]

    def _session(self, plan: Plan, run_id: str) -> _Session:
        return _Session(plan, run_id, Arguments(plan.graph, self._bucket, self._datasets, self._folder))

    def _execute(self, session: _Session, node: Node, progress: Progress | None, number: int) -> StepRun:
        """Looks a step's result up or makes it; records the execution either way."""
        tell = progress or _silent
        event = StepEvent(step=node.id, number=number, total=len(session.plan.graph.nodes))
        tell(event)
        started = time.perf_counter()
        step_run = StepRun(
            run=session.run_id,
            pipeline=session.plan.graph.pipeline,
            step=node.id,
            state=StepState.FAILED,
            key="",
            fingerprint=Fingerprint(code={}, inputs={}, packages={}),
            started_at=self._clock.now() + number,  # a clock that stands still must not lose the order
        )
        try:
            fingerprint = session.fingerprint(node)
            step_run = msgspec.structs.replace(step_run, fingerprint=fingerprint, key=_key(session, node, fingerprint))
            step_run = self._reused_or_made(session, node, step_run)
        except BaseException as error:
            failed = _failure(error, session, node, step_run)
            step_run = msgspec.structs.replace(
                step_run, error=str(failed) or type(failed).__name__, seconds=time.perf_counter() - started
            )
            self._steps.record(step_run)
            tell(msgspec.structs.replace(event, state=StepState.FAILED, seconds=step_run.seconds))
            if failed is error:
                raise
            raise failed from error
        step_run = msgspec.structs.replace(step_run, seconds=time.perf_counter() - started)
        self._steps.record(step_run)
        session.arguments.outputs[node.id] = step_run.outputs
        tell(msgspec.structs.replace(event, state=step_run.state, seconds=step_run.seconds, note=step_run.note))
        return step_run

    def _reused_or_made(self, session: _Session, node: Node, step_run: StepRun) -> StepRun:
        note = _why_never(node, step_run.fingerprint)
        if not note:
            hit, note = self._lookup(step_run.key)
            if hit:
                return msgspec.structs.replace(
                    step_run, state=StepState.CACHED, outputs=hit.outputs, note=f"result of run {hit.run}"
                )
        done = msgspec.structs.replace(step_run, state=StepState.DONE, outputs=self._made(session, node), note=note)
        if _inputs_now(session, node) == step_run.fingerprint.inputs:
            return done
        key = key_of(step_run.fingerprint, only_for=f"{session.run_id} {node.id}")
        return msgspec.structs.replace(done, key=key, note="not kept for later runs: an input changed while the step ran")

    def _made(self, session: _Session, node: Node) -> list[StepOutput]:
        function = session.plan.functions[node.id]
        bound = inspect.signature(function).bind_partial()
        bound.arguments = {name: session.arguments.value(argument) for name, argument in node.arguments.items()}
        value = function(*bound.args, **bound.kwargs)
        if node.results is None:
            return [store_value(self._bucket, value)]
        if not isinstance(value, tuple) or len(value) != node.results:
            shape = f"{len(value)} results" if isinstance(value, tuple) else f"a {type(value).__name__}"
            raise BadInputError(
                "wrong-results",
                f"step {node.id} is annotated as returning a tuple of {node.results}, it returned {shape}",
                fix="make the annotation and the return statement agree",
            )
        return [store_value(self._bucket, item) for item in value]

    def _lookup(self, key: str) -> tuple[StepRun | None, str]:
        """A usable earlier result of this key, or None and why the one that was recorded is not usable."""
        hit = self._steps.find_done(key)
        damage = self._damage(hit.outputs) if hit else ""
        return (None, f"ran again: the stored result of run {hit.run} cannot be used: {damage}") if hit and damage else (hit, "")

    def _damage(self, outputs: Sequence[StepOutput]) -> str:
        try:
            for output in outputs:
                check_output(self._bucket, output)
        except (NotFoundError, IntegrityError) as error:
            return error.what
        return ""

    def _params_of(self, run_id: str, pipeline: Pipeline[..., Any]) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(self._runs.artifact(run_id, PARAMS_ARTIFACT).read_bytes())
        if kept["target"] != pipeline.target:
            raise UsageError(
                "other-pipeline",
                f"run {run_id} is of {kept['target']}, not of {pipeline.target}",
                fix="name the run's own pipeline",
            )
        if kept["params"] is None:
            raise UsageError(
                "params-not-portable",
                f"the parameters of run {run_id} cannot be read back",
                why="they are not JSON",
                fix="use texts, numbers and lists",
            )
        return {name: _param_back(value) for name, value in kept["params"].items()}

    def _tag_inputs(self, run: ActiveRun, session: _Session) -> None:
        if session.arguments.snapshots:
            run.tag(**{f"input.{snapshot.name}": snapshot.ref for snapshot in session.arguments.snapshots.values()})
            for snapshot in session.arguments.snapshots.values():
                run.input(snapshot)


def _silent(event: StepEvent) -> None:
    del event


def _node(graph: Graph, step: str) -> Node:
    node = graph.node(step)
    if node is None:
        raise UsageError(
            "no-such-step",
            f"pipeline {graph.pipeline} has no step {step!r}",
            fix=nearest(step, [item.id for item in graph.nodes]),
        )
    return node


def _inputs_now(session: _Session, node: Node) -> dict[str, str]:
    """The input parts of a node after it ran; empty if an input is gone."""
    try:
        return session.arguments.parts(node)[0]
    except NotFoundError:
        return {}


def _may_cache(node: Node, fingerprint: Fingerprint) -> bool:
    return node.cache and not fingerprint.unhashable


def _key(session: _Session, node: Node, fingerprint: Fingerprint) -> str:
    """The key of a result that must never be found again holds the run and step that it was made for."""
    return key_of(fingerprint, only_for="" if _may_cache(node, fingerprint) else f"{session.run_id} {node.id}")


def _why_never(node: Node, fingerprint: Fingerprint) -> str:
    if fingerprint.unhashable:
        return f"never cached, this cannot be hashed: {'; '.join(fingerprint.unhashable)}"
    return "" if node.cache else "never cached: @step(cache=False)"


def _unknown(name: str, graph: Graph) -> list[StepOutput]:
    node = graph.node(name)
    return [StepOutput(kind="unknown", digest=f"of {name}, which runs first")] * ((node.results if node else None) or 1)


def _failure(error: BaseException, session: _Session, node: Node, step_run: StepRun) -> BaseException:
    """Errors of the house and of the keyboard stay themselves; what the user's code raised becomes ``StepFailedError``."""
    if isinstance(error, TidegateError):
        error.what = f"step {node.id}: {error.what}"
        return error
    if not isinstance(error, Exception):
        return error
    graph = session.plan.graph
    return step_failed(
        error, pipeline=graph.pipeline, step=node.id, inputs=step_run.fingerprint.inputs, rerun=rerun_command(graph)
    )


def rerun_command(graph: Graph) -> str:
    """The command that runs a pipeline again with the same parameters."""
    words = ["tidegate", "pipeline", "run", graph.target]
    for name, value in graph.params.items():
        words += ["--param", f"{name}={_text(value)}"]
    return shlex.join(words)


def _text(value: Any) -> str:
    match value:
        case Dataset(ref=ref):
            return ref
        case File(path=path):
            return path
        case _:
            return str(value)


def _shown_params(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value)[:500] for name, value in params.items()}


def _keep_params(run: ActiveRun, graph: Graph) -> None:
    try:
        data = json.dumps(
            {"target": graph.target, "params": {name: _param_out(value) for name, value in graph.params.items()}}, allow_nan=False
        )
    except (TypeError, ValueError):
        data = json.dumps({"target": graph.target, "params": None})
    run.artifact(data.encode(), PARAMS_ARTIFACT)


def _param_out(value: Any) -> Any:
    return {"$input": msgspec.to_builtins(value)} if isinstance(value, Dataset | File) else value


def _param_back(value: Any) -> Any:
    return msgspec.convert(value["$input"], Dataset | File) if isinstance(value, dict) and "$input" in value else value
