"""Puts what a reader found into the store. Done twice, the second time adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate import digest as digests
from tidegate.clock import Clock, format_time
from tidegate.errors import BadInputError, IntegrityError, NotFoundError, TidegateError, UnavailableError
from tidegate.records.run import Artifact, Run, RunState, Series
from tidegate.store import Store, put_object
from tidegate.store.ports import Batch
from tidegate.tracking.importing.records import Attachment, ImportedExperiment, ImportedRun, Problem, Source
from tidegate.tracking.values import MAX_STEP, metric_name, shown_text

FROM = "tidegate.imported_from"
"""The tag that says which source a run came from."""
AT = "tidegate.imported_at"
"""The tag that says when an import of the run first came to its end."""
_BATCH = 100_000  # points
_WRITER = "import"
KINDS = ("experiments", "runs", "params", "tags", "points", "artifacts", "inputs", "records")


class Count(msgspec.Struct, kw_only=True):
    """How many of a kind: found = imported + known (there already, or twice in the source) + kept as files + unreadable."""

    found: int = 0
    imported: int = 0
    known: int = 0
    kept: int = 0
    unreadable: int = 0


class ImportReport(msgspec.Struct, kw_only=True):
    """What an import found and what became of it."""

    source: str
    path: str
    dry_run: bool
    counts: dict[str, Count]
    runs: list[str]
    """Ids of the runs that were new."""
    problems: list[Problem]
    """What could not be read, each with the reason."""
    notes: list[str]


class _Fresh(NamedTuple):
    """What the store lacks of a run."""

    params: dict[str, str]
    tags: dict[str, str]
    series: list[Series]
    artifacts: list[tuple[Attachment, str]]
    inputs: list[Any]

    def __bool__(self) -> bool:
        return any(self)


def import_source(
    store: Store, source: Source, *, clock: Clock, dry_run: bool = False, advance: Callable[[], None] = lambda: None
) -> ImportReport:
    """Puts everything of a source into the store, and tells what became of each thing. A dry run only tells.

    Raises:
        UnavailableError: the store cannot be used; importing again goes on from there.
    """
    report = ImportReport(
        source=source.kind,
        path=str(source.path),
        dry_run=dry_run,
        counts={kind: Count() for kind in KINDS},
        runs=[],
        problems=[],
        notes=[],
    )
    writer = _Writer(store, report, f"{source.kind}:{source.path.name}", clock)
    try:
        for item in source.items:
            if isinstance(item, Problem):
                writer.unreadable(item)
            elif isinstance(item, ImportedExperiment):
                writer.experiment(item)
            else:
                writer.run(item)
            advance()
    finally:
        writer.finish()
    return report


class _Writer:
    def __init__(self, store: Store, report: ImportReport, origin: str, clock: Clock) -> None:
        self._store, self._report, self._origin, self._clock = store, report, origin, clock
        self._to_delete: dict[str, int] = {}

    def unreadable(self, problem: Problem) -> None:
        count = self._report.counts.setdefault(problem.kind, Count())
        count.found += problem.count
        count.unreadable += problem.count
        self._report.problems.append(problem)

    def experiment(self, found: ImportedExperiment) -> None:
        """Adds an experiment or its new tags. It is deleted at the end, when its runs are there."""
        count, experiments = self._report.counts["experiments"], self._store.experiments
        count.found += 1
        known = experiments.find(found.name)
        tags = {key: value for key, value in found.tags.items() if known is None or known.tags.get(key) != value}
        count.imported += known is None
        count.known += known is not None
        if self._report.dry_run:
            return
        if known is None:
            experiments.create(found.name, at=found.created_at, tags={**tags, FROM: self._origin})
        elif tags and known.deleted_at is None:
            experiments.change(known.id, at=self._clock.now(), tags=tags)
        if found.deleted_at is not None and known is None:
            self._to_delete[found.name] = found.deleted_at
        elif found.deleted_at is not None and known is not None and known.deleted_at is None:
            self._report.notes.append(
                f"experiment {found.name!r} is deleted in the source and stays here, because it was here before; its runs are"
            )

    def run(self, found: ImportedRun) -> None:
        """Adds a run, or what is new of it."""
        for problem in found.problems:
            self.unreadable(problem)
        found = storable(found)
        known = self._find(found.run.id)
        counts = self._report.counts
        counts["runs"].found += 1
        times = (found.run.started_at, found.run.ended_at or 0, found.run.deleted_at or 0)
        if any(abs(at) > MAX_STEP for at in times):
            self._refused(found.run.id, f"its times {times} have more than 64 bits")
            return
        if known is not None and FROM not in known.tags:
            self._refused(found.run.id, "the store has a run of that id which was not imported")
            return
        before = {kind: msgspec.structs.replace(count) for kind, count in counts.items()}
        try:
            fresh = self._count(found, known)
            if known is None and not self._report.dry_run:
                self._create(found.run)
            if not self._report.dry_run:
                self._add(found.run, known, fresh)
        except UnavailableError:
            raise
        except TidegateError as error:
            counts.clear()
            counts.update(before)
            self._refused(found.run.id, error.what + (f": {error.why}" if error.why else ""))
            return
        counts["runs"].imported += known is None
        counts["runs"].known += known is not None
        if known is None:
            self._report.runs.append(found.run.id)

    def finish(self) -> None:
        """Deletes what is deleted in the source."""
        for name, at in self._to_delete.items():
            experiment = self._store.experiments.find(name)
            if experiment is not None:
                self._store.experiments.delete(experiment.id, at=at)

    def _refused(self, run_id: str, why: str) -> None:
        self._report.counts["runs"].unreadable += 1
        self._report.problems.append(Problem("runs", run_id, why))

    def _find(self, run_id: str) -> Run | None:
        with suppress(NotFoundError):
            return self._store.runs.get(run_id)
        return None

    def _create(self, run: Run) -> None:
        tags = {FROM: self._origin, **run.tags}
        experiment = self._store.experiments.find(run.experiment)
        if experiment is not None and experiment.deleted_at is not None:  # it takes no runs: it comes back until the end
            self._store.experiments.delete(experiment.id, at=None)
            self._to_delete[run.experiment] = experiment.deleted_at
        self._store.runs.create(msgspec.structs.replace(run, deleted_at=None, params={}, inputs=[], tags=tags))

    def _count(self, found: ImportedRun, known: Run | None) -> _Fresh:
        """What is new of the run; everything of it is counted."""
        counts, run = self._report.counts, found.run
        for kind, number in found.kept.items():
            count = counts.setdefault(kind, Count())
            count.found += number
            count.kept += number
        there = known or Run(id=run.id, experiment="", name="", state=run.state, started_at=0)
        params, changed = _params(run.params, there)
        tags = {key: value for key, value in run.tags.items() if there.tags.get(key) != value} | changed
        _tally(counts["params"], len(run.params), imported=len(params), kept=len(changed))
        _tally(counts["tags"], len(run.tags), imported=len(tags) - len(changed))
        inputs = [item for item in run.inputs if item not in there.inputs]
        _tally(counts["inputs"], len(run.inputs), imported=len(inputs))
        series: list[Series] = []
        for one in found.series:
            new = _new_points(one, self._known_points(known, one.metric))
            _tally(counts["points"], len(one), imported=len(new))
            if len(new):
                series.append(new)
        return _Fresh(params, tags, series, self._new_files(found.files, there), inputs)

    def _known_points(self, known: Run | None, metric: str) -> Series | None:
        if known is None or metric not in known.metrics:
            return None
        return self._store.series.points(known.id, metric)

    def _new_files(self, files: Iterable[Attachment], there: Run) -> list[tuple[Attachment, str]]:
        fresh: list[tuple[Attachment, str]] = []
        for file in files:
            try:
                data = file.source
                digest = digests.of_bytes(data) if isinstance(data, bytes) else digests.of_file(data)
            except OSError as error:
                self.unreadable(Problem("artifacts", str(file.source), error.strerror or str(error)))
                continue
            new = there.artifacts.get(file.path) != digest
            if file.of_source:
                _tally(self._report.counts["artifacts"], 1, imported=int(new))
            if new:
                fresh.append((file, digest))
        return fresh

    def _add(self, run: Run, known: Run | None, fresh: _Fresh) -> None:
        store = self._store
        whole = known is not None and AT in known.tags
        ends = known is None or _state_moves(known, run)
        if whole and not fresh and not ends:
            return
        hidden = known.deleted_at if known is not None else None
        if hidden is not None:
            store.runs.delete([run.id], at=None)
        for batch in _batches(run.id, fresh.series):
            refused = store.series.ingest([batch])[0]
            if refused is not None:
                raise refused
        if fresh.series:
            store.series.seal(run.id)
        for file, digest in fresh.artifacts:
            stored = put_object(store.bucket, file.source)
            size = len(file.source) if isinstance(file.source, bytes) else file.source.stat().st_size
            if stored != digest:
                raise IntegrityError("file-changed", f"{file.source} changed while it was imported", fix="import again")
            store.artifacts.put(run.id, [Artifact(path=file.path, digest=stored, size=size)])
        if known is not None and ends:
            if known.state.ended and known.state is not RunState.CRASHED:
                store.runs.change_state(run.id, RunState.RUNNING, run.ended_at or run.started_at)
            store.runs.change_state(run.id, run.state, run.ended_at or run.started_at)
        mark = {} if whole else {AT: format_time(self._clock.now())}
        store.runs.annotate(run.id, params=fresh.params, tags=fresh.tags | mark, inputs=fresh.inputs)
        deleted_at = hidden if whole else run.deleted_at
        if deleted_at is not None:
            store.runs.delete([run.id], at=deleted_at)


def storable(found: ImportedRun) -> ImportedRun:
    """The run with what no database takes as files: texts too long or with NUL, and metrics with names that cannot be one."""
    files, kept = list(found.files), dict(found.kept)
    texts: dict[str, dict[str, str]] = {}
    for kind, given in (("params", found.run.params), ("tags", found.run.tags)):
        texts[kind] = {key: value for key, value in given.items() if _fits(key) and _fits(value)}
        odd = {key: value for key, value in given.items() if key not in texts[kind]}
        if odd:
            files.append(
                Attachment(f"imported/{kind}.json", msgspec.json.encode({repr(key): repr(odd[key]) for key in odd}), False)
            )
            kept[kind] = kept.get(kind, 0) + len(odd)
    series = [one for one in found.series if _names_metric(one.metric)]
    lines = [line for one in found.series if not _names_metric(one.metric) for line in _lines(one)]
    if lines:
        files.append(Attachment("imported/metrics.jsonl", b"".join(lines), False))
        kept["points"] = kept.get("points", 0) + len(lines)
    run = msgspec.structs.replace(found.run, params=texts["params"], tags=texts["tags"])
    return found._replace(run=run, series=series, files=files, kept=kept)


def _fits(text: str) -> bool:
    try:
        return shown_text(text) == text
    except BadInputError:
        return False


def _names_metric(name: str) -> bool:
    try:
        return _fits(metric_name(name))
    except BadInputError:
        return False


def _lines(series: Series) -> Iterator[bytes]:
    for step, at, value in zip(series.steps.tolist(), series.times.tolist(), series.values.tolist(), strict=True):
        yield msgspec.json.encode({"metric": repr(series.metric), "step": step, "at": at, "value": repr(value)}) + b"\n"


def _tally(count: Count, found: int, *, imported: int, kept: int = 0) -> None:
    count.found += found
    count.imported += imported
    count.kept += kept
    count.known += found - imported - kept


def _params(given: Mapping[str, str], there: Run) -> tuple[dict[str, str], dict[str, str]]:
    """The new parameters, and as tags those that changed in the source since the last import: a parameter here never changes."""
    fresh = {key: value for key, value in given.items() if key not in there.params}
    changed = {f"changed.{key}": value for key, value in given.items() if there.params.get(key, value) != value}
    return fresh, {key: value for key, value in changed.items() if there.tags.get(key) != value}


def _state_moves(known: Run, run: Run) -> bool:
    """Whether the source knows of an end that the store does not know."""
    if not run.state.ended or (known.state is run.state and known.ended_at == run.ended_at):
        return False
    if not known.state.ended or known.state is RunState.CRASHED:
        return known.state is not run.state
    return (run.ended_at or 0) > (known.ended_at or 0)


def _new_points(given: Series, known: Series | None) -> Series:
    """The points of a series that are not known yet, each once, in the order of the source."""
    rows = _rows(given)
    _, first = np.unique(rows, return_index=True)
    fresh = np.zeros(len(rows), bool)
    fresh[first] = True
    if known is not None:
        fresh &= ~np.isin(rows, _rows(known))
    return _part(given, fresh)


def _part(series: Series, chosen: Any) -> Series:
    return Series(series.metric, series.steps[chosen], series.times[chosen], series.values[chosen])


def _rows(series: Series) -> NDArray[np.void]:
    """Each point as 24 bytes; NaN is one value."""
    values = np.where(np.isnan(series.values), np.nan, series.values + 0.0)
    table = np.stack([series.steps, series.times, values.view(np.int64)], axis=1)
    return np.ascontiguousarray(table).view(np.dtype((np.void, 24))).ravel()


def _batches(run_id: str, series: Sequence[Series]) -> Iterator[Batch]:
    """Batches of at most ``_BATCH`` points."""
    waiting: list[Series] = []
    size = 0
    for one in series:
        for start in range(0, len(one), _BATCH):
            part = _part(one, slice(start, start + _BATCH))
            if waiting and size + len(part) > _BATCH:
                yield Batch(run_id, _WRITER, 0, waiting)
                waiting, size = [], 0
            waiting.append(part)
            size += len(part)
    if waiting:
        yield Batch(run_id, _WRITER, 0, waiting)
