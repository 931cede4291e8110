"""A run while it runs: ``with tidegate.run("delay") as run: run.params(depth=6); run.log(loss=0.3, step=1)``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self

from tidegate.clock import Clock
from tidegate.errors import ConflictError, TidegateError, UsageError
from tidegate.records.run import Artifact, Run, RunState
from tidegate.store import Store, put_object
from tidegate.store.bucket.folder import FolderBucket
from tidegate.store.journal import FORMAT, SUFFIX, Journal, Opening
from tidegate.store.ports import Bucket
from tidegate.tracking.current import entered, left
from tidegate.tracking.inputs import FindSnapshot, run_input
from tidegate.tracking.intake import Intake
from tidegate.tracking.interruption import outcome, unwatch, watch
from tidegate.tracking.shipping import Sampling, Shipping, Syncing, tell
from tidegate.tracking.values import MAX_STEP, metric_columns, metric_name, metric_values, shown_text, whole_step
from tidegate.tracking.writer import host_name, writer_name


class Recording(NamedTuple):
    """How a run is recorded by this process."""

    folder: Path
    """The run's folder of journals."""
    clock: Clock
    store: Store | None = None
    """None while the store is away or not wanted: then the folder is shipped by ``tidegate sync``."""
    owner: bool = True
    """Whether this process ends the run; others only write to it."""
    resumed: bool = False
    unknown: bool = False
    """Whether the store does not know the run yet: then the journal begins with all about it."""
    step: int = -1
    """The last step so far."""
    system: Clock = Clock()
    """The system's time, for heartbeats, whatever clock the run has."""
    machine: bool = False
    """Whether the machine is sampled into series."""
    find_snapshot: FindSnapshot | None = None


class ActiveRun:
    """Records one run. Any thread may call anything; leaving the ``with`` block ends the run.

    Everything goes to the run's journal, one ``write(2)`` per call, and from there into the store in batches by a thread of
    its own: a store that is slow or away never stops training. What returned survives a kill of the process at once, and a
    loss of power a second later. A forked child may go on recording; only the process that began the run ends it.

    Errors of every recording call: ``ConflictError`` after the end, ``UnavailableError`` when the journal cannot be written
    (the disk is full); then nothing of that call was recorded, and the next one tries anew.
    """

    def __init__(self, run: Run, recording: Recording) -> None:
        self.id = run.id
        self.experiment = run.experiment
        self._run = run
        self._recording = recording
        self._params = dict(run.params)
        self._now: Callable[[], int] = recording.clock.now
        self._names: set[str] = set()
        self._forked = self._ended = False
        self._opening = threading.Lock()
        self._journal = self._open(recording.owner, recording.step)
        self._points = self._journal.points
        self._syncing = Syncing(run.id, self._journal)
        self._sampling = Sampling(run.id, self._journal, recording.clock) if recording.machine else None
        self._shipping: Shipping | None = None
        if recording.store is not None:
            intake = Intake(recording.store, recording.folder)
            self._shipping = Shipping(run.id, self._journal, recording.store, intake, recording.system)
        watch(self)

    def params(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Adds parameters: what is set before training and describes the whole run. Names as keywords, or a mapping.

        Raises:
            ConflictError: a parameter already has another value; none of this call is added.
            BadInputError: a value is longer than a parameter can be.
        """
        given = {shown_text(name): shown_text(value) for name, value in {**(values or {}), **named}.items()}
        for name, value in given.items():
            if self._params.get(name, value) != value:
                raise ConflictError(
                    "param-changed",
                    f"parameter {name!r} of run {self.id} is {self._params[name]!r} and cannot become {value!r}",
                    why="a parameter describes the whole run",
                    fix="log what changes as a metric or a tag, or start a new run",
                )
        journal = self._writing()
        if given:
            journal.note(params=given)
            self._params |= given

    def tag(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Adds or replaces tags. Names as keywords, or a mapping.

        Raises:
            BadInputError: a value is longer than a tag can be.
        """
        given = {**(values or {}), **named}
        journal = self._writing()
        if given:
            journal.note(tags={shown_text(name): shown_text(value) for name, value in given.items()})

    def describe(self, params: Mapping[str, Any] | None, tags: Mapping[str, Any] | None) -> None:
        """Adds parameters and tags, where there are any."""
        if params:
            self.params(params)
        if tags:
            self.tag(tags)

    def log(self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **named: Any) -> None:
        """Logs metric values at a step (one more than the last, if none is given). When it returns, a kill loses nothing.

        Names are keywords, or keys of a mapping: ``log({"val/loss": 0.3}, step=4)``. Values are whatever ``float`` takes but
        texts. Steps may come in any order and again: every point is kept.

        Raises:
            BadInputError: a value is no number, a name or step cannot be one; nothing of this call is recorded.
        """
        if values is not None:
            named = {**values, **named}
        for name, value in named.items():
            if value.__class__ is not float or name not in self._names:
                named = metric_values(named)
                self._names.update(named)
                break
        if step is not None and (step.__class__ is not int or not -MAX_STEP <= step <= MAX_STEP):
            step = whole_step(step)
        if named:
            self._points(step, self._now(), named)

    def log_series(self, metric: str, values: Any, steps: Any = None, times: Any = None) -> None:
        """Logs many points of one metric at once: columns of equal length, such as NumPy arrays.

        Args:
            metric: its name.
            values: one number per point.
            steps: whole numbers; one after the other from the last step on, if left out.
            times: microseconds UTC or datetime64; now, if left out.

        Raises:
            BadInputError: they are no numbers, or their lengths differ; nothing is recorded.
            UnavailableError: the journal cannot grow; the points before that are kept, and logging all of them again is
                harmless: the same point twice is one point.
        """
        journal = self._writing()
        name = metric_name(metric)
        columns = metric_columns(values, steps, times, first_step=journal.step + 1, now=self._now())
        journal.series(name, *columns)

    def input(self, source: Any, *, name: str = "", context: str = "training") -> str:
        """Records what the run reads, and returns its digest: ``"flights-train@3"`` or a snapshot, a path, a frame with a name.

        Raises:
            NotFoundError: no such snapshot or file.
            UsageError: a frame without a name.
        """
        found = run_input(source, name, context, self._recording.find_snapshot)
        self._writing().note(inputs=[found])
        return found.digest

    def artifact(self, source: str | Path | bytes, name: str = "") -> str:
        """Keeps a copy of a file (or of bytes, then with a name) with the run and returns its SHA-256.

        The copy is on this machine's disk when it returns; a bucket that is elsewhere gets it later.

        Raises:
            UsageError: bytes without a name, or no such file.
            IntegrityError: the file changed while it was being read.
        """
        payload = source if isinstance(source, bytes) else Path(source)
        label = shown_text(name or (payload.name if isinstance(payload, Path) else ""))
        if isinstance(payload, Path) and not payload.is_file():
            raise UsageError("file-not-found", f"no file {payload}", fix="check the path")
        if not label:
            raise UsageError(
                "artifact-unnamed",
                "bytes need a name",
                why="a file's name is taken, bytes have none",
                fix='artifact(data, "plot.png")',
            )
        journal = self._writing()
        stored = put_object(spool_of(self._recording.store, self._recording.folder), payload)
        size = len(payload) if isinstance(payload, bytes) else payload.stat().st_size
        journal.note(artifacts=[Artifact(path=label, digest=stored, size=size)])
        return stored

    def finish(self, state: RunState = RunState.FINISHED) -> None:
        """Ends the run (or, in a process that joined it, its part in it). A second call does nothing.

        If the store is away, it waits for ten seconds, keeps the journal, and says how to ship it.
        """
        if self._ended:
            return
        self._ended = True
        untouched = self._points == self._reopened
        self._points = self._refuse
        unwatch(self)
        if untouched:  # a forked child that recorded nothing
            return
        self._syncing.stop()
        if self._sampling is not None:
            self._sampling.stop()
        if self._recording.owner and not self._forked:
            self._end(state)
        done = self._shipping.finish() if self._shipping is not None else False
        # Only now: as long as the journal is open, and so locked, nobody takes this run for a crashed one.
        self._journal.close()
        if not done and not self._forked:
            problem = self._shipping.problem if self._shipping is not None else None
            why = f"{problem}\nIt is" if problem else "recorded offline;"
            tell(self.id, f"{why} kept in {self._recording.folder}; ship it with: tidegate sync")

    def end_by(self, error: BaseException | None) -> None:
        """Ends the run as ``error`` tells: FINISHED without one, KILLED by a signal, else FAILED; the reason becomes a tag."""
        state, reason = outcome(error)
        if reason and not self._ended and self._recording.owner and not self._forked:
            with suppress(TidegateError):  # a full disk must not hide what happened
                self.tag(error=reason)
        self.finish(state)

    def forked(self) -> None:
        """Called in a forked child: the run, its journal and the store's connections belong to the parent."""
        self._journal.drop_copy()
        self._forked = True
        self._opening = threading.Lock()
        self._shipping = self._sampling = None
        self._points = self._refuse if self._ended else self._reopened

    def __enter__(self) -> Self:
        entered(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        left(self)
        self.end_by(error)

    def _open(self, owner: bool, step: int) -> Journal:
        now = self._now()
        writer = writer_name()
        recording = self._recording
        opening = Opening(
            seq=1,
            format=FORMAT,
            run_id=self.id,
            writer=f"{self.id}-{writer}",
            host=host_name(),
            at=now,
            owner=owner,
            resumed=recording.resumed and owner,
            run=self._run if recording.unknown and owner else None,
        )
        return Journal(recording.folder / f"{writer}{SUFFIX}", opening, step=step)

    def _writing(self) -> Journal:
        """The journal of this process."""
        if self._ended:
            self._refuse()
        with self._opening:
            if self._points == self._reopened:
                self._journal = self._open(owner=False, step=self._journal.step)
                self._syncing = Syncing(self.id, self._journal)
                self._points = self._journal.points
                watch(self)
            return self._journal

    def _reopened(self, step: int | None, at: int, values: Mapping[str, float]) -> None:
        """The first ``log`` in a forked child: it gets a journal of its own, which the parent takes in with its own."""
        self._writing().points(step, at, values)

    def _refuse(self, *_: Any) -> NoReturn:
        raise ConflictError("run-ended", f"run {self.id} has ended", why="a run ends once", fix="log inside the with block")

    def _end(self, state: RunState) -> None:
        """Writes the end into the journal; where the disk is full, straight into the store."""
        now = max(self._now(), self._run.started_at)
        try:
            self._journal.end(state, now)
        except TidegateError:
            if self._recording.store is not None:
                with suppress(TidegateError):
                    self._recording.store.runs.change_state(self.id, state, now)


def spool_of(store: Store | None, folder: Path) -> Bucket:
    """Where artifacts are put at once: the store's bucket where that is a folder, else the folder of the run's journals."""
    if store is not None and isinstance(store.bucket, FolderBucket):
        return store.bucket
    return FolderBucket(folder)
