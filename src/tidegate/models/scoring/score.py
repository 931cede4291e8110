"""Scoring: files in, one file of predictions out, and a run that says which bytes and which version it was."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Literal, NamedTuple

import msgspec

from tidegate import digest as digests
from tidegate.data import Datasets
from tidegate.errors import BadInputError, ConflictError, IntegrityError, UsageError
from tidegate.frames import Connection
from tidegate.models.package import load_version
from tidegate.models.scoring.engines import Engine, PackedModel, find_engine
from tidegate.models.scoring.output import Part, Parts, check_output, working
from tidegate.models.scoring.rows import Portion, Refusal
from tidegate.models.scoring.source import SourceFile, bucket_of, find_files, is_address
from tidegate.models.scoring.table import Table, connected, open_table, ranges, read_portion
from tidegate.models.signing import TrustedKey
from tidegate.records.model import ModelVersion
from tidegate.records.names import nearest
from tidegate.records.run import RunInput
from tidegate.records.scoring import Refused, Scored, ScoredFile
from tidegate.store.objects import fetch_object
from tidegate.store.ports import Bucket
from tidegate.tracking import Runs

EXPERIMENT = "score"
"""Where the runs of scorings are."""

_FORMAT = 1  # of parts: what another one left cannot be gone on with
_NAMED = 10

Progress = Callable[[int, int], None]
"""Is told how many rows are done, and how many there are."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How files are scored."""

    keep: list[str] = []
    """Columns of the input that stand beside the predictions; empty: the number of the row."""
    columns: list[str] = []
    """Outputs of the model to write; empty: all."""
    on_error: Literal["fail", "skip"] = "fail"
    """What becomes of rows that the model cannot take: none is scored, or these are left out and counted."""
    engine: str = "local"
    workers: int = 0
    """Calls of the model at once; 0: as many as the engine has room for."""
    allow_code: bool = False
    """Whether a package may run code of its own when it is loaded."""
    signed_by: Sequence[TrustedKey] = ()
    """One of these keys must have signed the version, if there are any."""


class Scoring:
    """Scores files with versions. Safe to use from several processes; one at a time writes an output."""

    def __init__(self, bucket: Bucket, datasets: Datasets, runs: Runs) -> None:
        self._bucket = bucket
        self._datasets = datasets
        self._runs = runs

    def score(
        self,
        version: ModelVersion,
        source: str | Path,
        output: str | Path,
        options: Options | None = None,
        *,
        progress: Progress | None = None,
    ) -> Scored:
        """Predicts every row of ``source`` and writes ``output`` (Parquet or CSV), which is there whole or not at all.

        What is interrupted goes on where it was when it is called again with the same bytes, version and options; an output in a
        bucket elsewhere begins anew. Equal calls give equal bytes, whatever the engine.

        Args:
            version: the version that predicts.
            source: a file, a folder, a pattern, a snapshot (``flights@3``), or an address (``s3://name/may/*.parquet``).
            output: a file, which is replaced, or an address, where nothing may be yet.
            options: what to keep, and how to go about it.
            progress: is told how many rows are done, and how many there are.

        Raises:
            NotFoundError: no such file or snapshot.
            BadInputError: the columns are not the model's, or rows are not and ``on_error`` is ``fail``; the error names them.
            UsageError: the output would replace an input, or an option names what is not there.
            ConflictError: another process writes this output, or it is there already at an address.
            UnavailableError: the disk is full, or an engine fails; what is done is kept.
            IntegrityError: an input changed meanwhile.
            RefusedError: the package runs code, or is not signed as asked.
        """
        chosen = options or Options()
        began = monotonic()
        _check_columns(version, chosen)
        engine = find_engine(chosen.engine)
        with tempfile.TemporaryDirectory(prefix="tidegate-score-") as folder:
            scratch = Path(folder)
            found = find_files(str(source), self._datasets, scratch)
            target = scratch / Path(str(output)).name if is_address(str(output)) else Path(output)
            check_output(target, [file.path for file in found])
            params = {"model": version.ref, "model_digest": version.digest, "engine": chosen.engine, "on_error": chosen.on_error}
            with self._runs.start(EXPERIMENT, name=f"{version.ref} on {source}", params=params) as run:
                inputs = [_opened(file) for file in found]
                for each in inputs:
                    run.input(RunInput(name=each.name, digest=each.digest, source_type="file", source=each.name))
                work = _Work(version, inputs, target, chosen, progress or _silent)
                done = work.run(self._packed(version, chosen), engine, chosen.workers or engine.workers())
                digest = digests.of_file(target)
                if is_address(str(output)):
                    _send(target, str(output), digest, scratch)
                seconds = round(monotonic() - began, 3)
                done = msgspec.structs.replace(done, output=str(output), output_digest=digest, seconds=seconds, run=run.id)
                run.tag(output=done.output, output_digest=digest)
                run.log(rows=done.rows, refused=sum(each.rows for each in done.refused), seconds=seconds)
        return done

    def _packed(self, version: ModelVersion, options: Options) -> PackedModel:
        predictor = load_version(self._bucket, version, allow_code=options.allow_code, signed_by=options.signed_by)
        files = {file.path: file.digest for file in version.manifest.files}

        def read() -> dict[str, bytes]:
            return {path: fetch_object(self._bucket, digest).read_bytes() for path, digest in files.items()}

        return PackedModel(version.manifest, predictor, read)


class _Input(NamedTuple):
    """A file as it was when it was first looked at."""

    name: str
    path: Path
    digest: str
    state: tuple[int, int]

    @property
    def changed(self) -> bool:
        return _state(self.path) != self.state


class _Span(NamedTuple):
    """A portion before it is read; ``offset`` is the number of rows in the files before its own."""

    number: int
    table: Table
    first: int
    last: int
    offset: int


@dataclass
class _Work:
    """One scoring on its way."""

    version: ModelVersion
    inputs: list[_Input]
    target: Path
    options: Options
    progress: Progress
    written: dict[int, Part] = field(default_factory=dict[int, Part])
    places: set[str] = field(default_factory=set[str])

    def run(self, model: PackedModel, engine: Engine, workers: int) -> Scored:
        with working(self.target, self._plan()) as folder:
            tensors = self.version.manifest.signature.inputs
            tables = [
                open_table(number, each.path, each.name, tensors, self.options.keep, folder)
                for number, each in enumerate(self.inputs)
            ]
            spans = list(_spans(tables))
            parts = Parts(folder, self.options.keep)
            self.written = {span.number: part for span in spans if (part := parts.find(span.number)) is not None}
            resumed = sum(spans[number].last - spans[number].first + 1 for number in self.written)
            self._answer(model, engine, workers, spans, parts)
            for each in self.inputs:
                if each.changed:
                    raise IntegrityError("input-changed", f"{each.name} was changed while it was scored", fix="score it again")
            parts.merge(len(spans), self.target)
        return Scored(
            model=self.version.ref,
            model_digest=self.version.digest,
            inputs=[
                ScoredFile(name=each.name, digest=each.digest, rows=table.rows)
                for each, table in zip(self.inputs, tables, strict=True)
            ],
            output="",
            output_digest="",
            rows=sum(part.rows for part in self.written.values()),
            refused=_refused([(span, refusal) for span in spans for refusal in self.written[span.number].refused]),
            engine=engine.name,
            workers=workers,
            places=sorted(self.places),
            seconds=0.0,
            resumed=resumed,
        )

    def _answer(self, model: PackedModel, engine: Engine, workers: int, spans: list[_Span], parts: Parts) -> None:
        total = sum(span.last - span.first + 1 for span in spans)
        done = sum(spans[number].last - spans[number].first + 1 for number in self.written)
        self.progress(done, total)
        todo = [span for span in spans if span.number not in self.written]
        if not todo:
            return
        skip = self.options.on_error == "skip"
        with connected(parts.folder) as con:
            portions = self._portions(con, todo)
            with closing(engine.answers(model, portions, workers=workers, skip=skip)) as answers:
                for answer in answers:
                    span = spans[answer.number]
                    if answer.refused and not skip:
                        raise _rows_refused(_refused([(span, refusal) for refusal in answer.refused]))
                    outputs = {name: answer.outputs[name] for name in self.options.columns or answer.outputs}
                    answer = answer._replace(outputs=outputs)  # noqa: PLW2901 - the same answer, less what nobody wants
                    self.written[span.number] = parts.write(con, answer, span.table, span.first, span.last, offset=span.offset)
                    self.places.add(answer.where or "this process")
                    done += span.last - span.first + 1
                    self.progress(done, total)

    def _portions(self, con: Connection, spans: list[_Span]) -> Iterator[Portion]:
        for span in spans:
            yield read_portion(con, span.table, self.version.manifest.signature.inputs, span.number, span.first, span.last)

    def _plan(self) -> dict[str, object]:
        chosen = self.options
        files = [[each.name, each.digest] for each in self.inputs]
        asked = {"keep": chosen.keep, "columns": chosen.columns, "on_error": chosen.on_error}
        return {"format": _FORMAT, "model": self.version.digest, "inputs": files, "output": self.target.name, **asked}


def _spans(tables: list[Table]) -> Iterator[_Span]:
    number = offset = 0
    for table in tables:
        for first, last in ranges(table):
            yield _Span(number, table, first, last, offset)
            number += 1
        offset += table.rows


def _opened(file: SourceFile) -> _Input:
    state = _state(file.path)
    return _Input(file.name, file.path, digests.of_file(file.path), state)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _check_columns(version: ModelVersion, options: Options) -> None:
    outputs = [tensor.name for tensor in version.manifest.signature.outputs]
    for name in options.columns:
        if name not in outputs:
            raise UsageError("no-such-column", f"{version.ref} gives no {name!r}", fix=nearest(name, outputs))
    wanted = [*options.keep, *(options.columns or outputs)]
    twice = [name for name in dict.fromkeys(wanted) if wanted.count(name) > 1]
    if twice:
        raise UsageError(
            "duplicate-columns",
            f"the column {twice[0]!r} would stand in the output twice",
            fix="keep every column once, and say with columns which of the model's outputs to write",
        )


def _refused(found: list[tuple[_Span, Refusal]]) -> list[Refused]:
    """Refusals of portions by reason, in the order of their first row."""
    by_reason: dict[tuple[str, str], Refused] = {}
    for span, refusal in found:
        before = by_reason.get((refusal.code, refusal.what))
        named = [f"row {span.first + place} of {span.table.name}" for place in refusal.first]
        by_reason[refusal.code, refusal.what] = Refused(
            code=refusal.code,
            what=refusal.what,
            rows=refusal.rows + (before.rows if before else 0),
            first=[*(before.first if before else []), *named][:_NAMED],
        )
    return list(by_reason.values())


def _rows_refused(refused: list[Refused]) -> BadInputError:
    reasons = [
        f"{each.what} in {', '.join(each.first)}" + (" and more" if each.rows > len(each.first) else "") for each in refused
    ]
    return BadInputError(
        "rows-refused",
        f"some rows cannot be scored, the first is {refused[0].first[0]}",
        why="; ".join(reasons) + " (rows are counted from 0)",
        fix="mend these rows, or leave such rows out and have them counted: --on-error skip",
    )


def _send(path: Path, address: str, digest: str, scratch: Path) -> None:
    bucket, key = bucket_of(address, scratch / "bucket")
    if not bucket.put_if_absent(key, path, sha256=digest):
        raise ConflictError(
            "output-exists",
            f"{address} is there already",
            why="what is in a bucket is not replaced",
            fix="choose another --output",
        )


def _silent(done: int, total: int) -> None:
    del done, total
