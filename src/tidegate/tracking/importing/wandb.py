"""W&B runs that were recorded offline: ``wandb/offline-run-*/run-*.wandb`` with the files beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tidegate.clock import SECOND
from tidegate.errors import NotFoundError, TidegateError, UsageError
from tidegate.records.names import is_name
from tidegate.records.run import Run, RunState
from tidegate.tracking.importing.records import NOT_AS_EXPECTED, Attachment, ImportedExperiment, ImportedRun, Problem, Source
from tidegate.tracking.importing.wandb_log import is_log, read_log
from tidegate.tracking.importing.wandb_run import WandbRun, flat, numbers_of, pretty, slug

KIND = "wandb-offline"


def open_wandb(path: Path) -> Source:
    """The runs in a folder ``wandb``, in the folder that holds it, or in one run's folder; nothing there is changed.

    Raises:
        NotFoundError: there is nothing at ``path``.
        UsageError: it holds no log of a run.
    """
    if not path.exists():
        raise NotFoundError("source-not-found", f"no file or folder {path}", fix="check the path")
    logs = _logs(path.absolute())
    if not logs:
        raise UsageError(
            "nothing-to-import",
            f"{path} holds no run of W&B",
            why="there is no file run-*.wandb in it or in the folders below it",
            fix="name the folder wandb, or one folder offline-run-... in it",
        )
    return Source(KIND, path.absolute(), len(logs), _items(logs))


def _logs(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if is_log(path) else []
    patterns = ("*.wandb", "*/*.wandb", "wandb/*/*.wandb")
    # latest-run is a link to a folder that is there under its own name.
    found = {item for pattern in patterns for item in path.glob(pattern) if item.is_file() and not item.parent.is_symlink()}
    return sorted(found, key=lambda item: (item.stem, item.parent.name))


def _items(logs: Sequence[Path]) -> Iterator[ImportedExperiment | ImportedRun | Problem]:
    """One run for the logs of each id: a run that was resumed has several."""
    started: set[str] = set()
    for stem in dict.fromkeys(path.stem for path in logs):
        runs: dict[tuple[str, str], tuple[WandbRun, list[Path]]] = {}
        for path in [path for path in logs if path.stem == stem]:
            one = WandbRun()
            yield from _read(path, one)
            key = (one.project, one.id)
            if key in runs:  # again, into the same run
                known, folders = runs[key]
                list(_read(path, known))
                folders.append(path.parent)
            else:
                runs[key] = (one, [path.parent])
        for one, folders in runs.values():
            if not one.id:
                yield Problem("runs", str(folders[0]), "its log does not say which run it is")
                continue
            project = one.project or "uncategorized"
            if project not in started:
                started.add(project)
                yield ImportedExperiment(project, one.started_at, {"wandb.entity": one.entity} if one.entity else {})
            yield _imported(one, project, folders)


def _read(path: Path, run: WandbRun) -> Iterator[Problem]:
    try:
        for record in read_log(path):
            if isinstance(record, str):
                yield Problem("records", str(path), record)
                continue
            run.records += 1
            try:
                run.take(record)
            except NOT_AS_EXPECTED as error:
                yield Problem("records", f"{path}, record {run.records}", str(error))
    except OSError as error:
        yield Problem("runs", str(path), error.strerror or str(error))
    except TidegateError as error:
        yield Problem("runs", str(path), error.why or error.what)


def _imported(one: WandbRun, project: str, folders: Sequence[Path]) -> ImportedRun:
    started = one.started_at or one.points.first_at
    ended = max(one.points.last_at, started + one.runtime * SECOND)
    for folder in folders:
        _beside(folder, one)
    # A number that was only put into the summary is a metric with one point.
    last = one.points.last_step
    for name, value in numbers_of(one.summary).items():
        if name not in one.points and not name.startswith("_"):
            one.points.add(name, last, ended, value)
    for name, data in (
        ("wandb/config.json", pretty(one.config) if one.config else b""),
        ("wandb/summary.json", pretty(one.summary) if one.summary else b""),
        ("wandb/history.jsonl", b"".join(one.values)),
        ("wandb/records.jsonl", b"".join(one.others)),
        ("wandb/output.log", "".join(one.output).encode("utf-8", "replace")),
    ):
        if data:
            one.files.append(Attachment(name, data, of_source=False))
    state = RunState.CRASHED if one.exit_code is None else RunState.FAILED if one.exit_code else RunState.FINISHED
    readable = one.id if is_name(one.id) else slug(one.id)
    run = Run(
        id=f"{readable[:80]}-{slug(one.entity, one.project, one.id)}",
        experiment=project,
        name=one.name or one.id,
        state=state,
        started_at=started,
        ended_at=ended,
        author=one.entity,
        params=flat(one.config),
        tags=_tags(one),
    )
    return ImportedRun(run, one.points.series(), one.files, {"points": len(one.values), "records": len(one.others)}, one.problems)


def _tags(one: WandbRun) -> dict[str, str]:
    named = {
        "mlflow.note.content": one.notes,
        "mlflow.source.git.commit": one.commit,
        "mlflow.source.git.repoURL": one.remote,
        "wandb.id": one.id,
        "wandb.entity": one.entity,
        "wandb.group": one.group,
        "wandb.job_type": one.job_type,
        "wandb.sweep": one.sweep,
        "wandb.host": one.host,
        "wandb.exit_code": "" if one.exit_code is None else str(one.exit_code),
    }
    return {key: value for key, value in named.items() if value} | {f"wandb.tag.{label}": "true" for label in one.labels}


def _beside(folder: Path, one: WandbRun) -> None:
    """The files of a run and the logs of its client. A link is followed as far as the project: ``wandb.save`` makes them."""
    project = (folder.parent.parent if folder.parent.name == "wandb" else folder).resolve()
    for kind, prefix in (("files", ""), ("logs", "wandb/logs/")):
        base = folder / kind
        for path in sorted(base.rglob("*")) if base.is_dir() else ():
            if path.is_dir():
                continue
            target = path.resolve()
            if kind == "logs" and path.is_symlink() and not target.is_relative_to(project):
                # The log of W&B's own service, in its cache, of all runs at once: its place is noted.
                one.note("link", {path.name: str(target)})
            elif not target.is_file():
                one.problems.append(Problem("artifacts", str(path), f"it leads to {target}, which is no file"))
            elif not target.is_relative_to(project):
                one.problems.append(
                    Problem("artifacts", str(path), f"it leads out of {project}; copy the file there to import it")
                )
            else:
                one.files.append(Attachment(prefix + path.relative_to(base).as_posix(), target))
