"""MLflow's file store: ``mlruns/<experiment>/<run>/{meta.yaml,params,metrics,tags,inputs,outputs,artifacts}``.

Source: ``mlflow/store/tracking/file_store.py`` and ``mlflow/store/model_registry/file_store.py`` of MLflow 2.22 and 3.18.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tidegate.records.run import Run, RunInput
from tidegate.tracking.importing.mlflow_runs import (
    MODEL_INPUT,
    MODEL_OUTPUT,
    Found,
    artifacts_at,
    as_json,
    dataset_input,
    files_below,
    leftovers,
    micros,
    model_link,
    state_of,
)
from tidegate.tracking.importing.points import PointList
from tidegate.tracking.importing.records import NOT_AS_EXPECTED, Attachment, ImportedExperiment, ImportedRun, Problem

_META = "meta.yaml"
_TRASH, _REGISTRY, _MODELS = ".trash", "models", "models"
_PARTS = {"params", "tags", "metrics", "inputs", "outputs", "artifacts", _META}
_MODEL_LINKS = {"RUN_INPUT": MODEL_INPUT, "MODEL_INPUT": MODEL_INPUT, "RUN_OUTPUT": MODEL_OUTPUT, "MODEL_OUTPUT": MODEL_OUTPUT}


def is_file_store(root: Path) -> bool:
    """Whether a folder holds the folder of at least one experiment."""
    return any(
        "experiment_id" in (path / _META).read_text("utf-8", "replace") for path in _folders(root) if (path / _META).is_file()
    )


def _folders(root: Path) -> list[Path]:
    """The folders of experiments, deleted ones too, in whatever state they are."""
    found = [*root.iterdir(), *((root / _TRASH).iterdir() if (root / _TRASH).is_dir() else ())]
    return sorted(path for path in found if path.is_dir() and path.name not in {_TRASH, _REGISTRY})


def read_files(root: Path) -> Iterator[ImportedExperiment | ImportedRun | Problem]:
    """Everything in a file store."""
    rest = _Rest(root)
    for folder in _folders(root):
        meta = _yaml(folder / _META)
        if isinstance(meta, Problem):
            yield Problem("experiments", meta.where, meta.why)
            continue
        try:
            experiment = _experiment(folder, meta)
        except NOT_AS_EXPECTED as error:
            yield Problem("experiments", str(folder), str(error))
            continue
        rest.begun.append(experiment.created_at)
        yield experiment
        for path in sorted(folder.iterdir()):
            if (path / _META).is_file() and path.name not in {_MODELS, "datasets", "tags", "traces"}:
                try:
                    yield _run(path, experiment, root)
                except NOT_AS_EXPECTED as error:
                    yield Problem("runs", str(path), str(error))
            elif path.name == _MODELS:
                rest.models(path)
            elif path.name not in {_META, "tags", "datasets"}:
                rest.add(path)
                if (path / "metrics").is_dir() or (path / "params").is_dir():
                    yield Problem("runs", str(path), "it has no meta.yaml; its files are kept with the records of MLflow")
        rest.unused_datasets(folder)
    rest.registry(root / _REGISTRY)
    if rest.files or rest.problems:
        yield leftovers(str(min(rest.begun, default=0)), min(rest.begun, default=0), rest.files, rest.kept, rest.problems)


class _Rest:
    """What belongs to no run: logged models, the registry, and files that nobody knows."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.files: list[Attachment] = []
        self.problems: list[Problem] = []
        self.kept: dict[str, int] = {}
        self.begun: list[int] = []

    def add(self, path: Path) -> None:
        """Keeps a file, or all in a folder, under its place in the store."""
        prefix = path.relative_to(self._root).as_posix()
        found = files_below(path, f"{prefix}/") if path.is_dir() else Found([Attachment(prefix, path)], [])
        self.files += found.files
        self.problems += found.problems

    def unused_datasets(self, experiment: Path) -> None:
        """Keeps the datasets of an experiment that no run names any more."""
        links = [path.read_text("utf-8", "replace") for path in experiment.glob("*/inputs/*/meta.yaml")]
        for path in sorted(experiment.glob("datasets/*")):
            if not any(path.name in link for link in links):
                self.add(path)

    def models(self, folder: Path) -> None:
        """Keeps the logged models of an experiment: records as JSON, files as they are."""
        for path in sorted(folder.iterdir()):
            meta = _yaml(path / _META)
            if isinstance(meta, Problem):
                self.problems.append(Problem("records", meta.where, meta.why))
                continue
            texts = {kind: _texts(path / kind, self.problems) for kind in ("params", "tags", "metrics")}
            self._keep(f"logged-models/{path.name}.json", {**meta, **texts})
            local = path / "artifacts"
            uri = str(meta.get("artifact_location") or "")
            prefix = f"logged-models/{path.name}/"
            found = files_below(local, prefix) if local.is_dir() else Found([], [])
            if not any(found):
                found = artifacts_at(uri, path.name, self._root, prefix)
            self.files += found.files
            self.problems += found.problems

    def registry(self, folder: Path) -> None:
        """Keeps the model registry: models, versions, aliases and tags."""
        models: list[Any] = []
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            meta = _yaml(path / _META)
            if isinstance(meta, Problem):
                self.problems.append(Problem("records", meta.where, meta.why))
                continue
            versions = [_yaml(item / _META) for item in sorted(path.glob("version-*"))]
            self.problems += [Problem("records", item.where, item.why) for item in versions if isinstance(item, Problem)]
            known = [
                {**item, "tags": _texts(path / f"version-{item.get('version')}" / "tags", self.problems)}
                for item in versions
                if not isinstance(item, Problem)
            ]
            aliases, tags = (_texts(path / kind, self.problems) for kind in ("aliases", "tags"))
            models.append({**meta, "tags": tags, "aliases": aliases, "versions": known})
        if models:
            self._keep("registry.json", {"models": models}, len(models) + sum(len(model["versions"]) for model in models))

    def _keep(self, path: str, record: Any, count: int = 1) -> None:
        self.files.append(Attachment(path, as_json(record), of_source=False))
        self.kept["records"] = self.kept.get("records", 0) + count


def _experiment(folder: Path, meta: dict[str, Any]) -> ImportedExperiment:
    deleted = meta.get("lifecycle_stage") == "deleted"
    created, updated = micros(meta.get("creation_time")), micros(meta.get("last_update_time"))
    tags = _texts(folder / "tags", [])
    return ImportedExperiment(str(meta.get("name")), created, tags, (updated or created or 1) if deleted else None)


def _run(folder: Path, experiment: ImportedExperiment, root: Path) -> ImportedRun | Problem:
    meta = _yaml(folder / _META)
    if isinstance(meta, Problem):
        return Problem("runs", meta.where, meta.why)
    run_id = str(meta.get("run_id") or meta.get("run_uuid") or folder.name)
    problems: list[Problem] = []
    params, tags = _texts(folder / "params", problems, "params"), _texts(folder / "tags", problems, "tags")
    started, ended = micros(meta.get("start_time")), meta.get("end_time")
    deleted = meta.get("lifecycle_stage") == "deleted"
    state = state_of(meta.get("status"))
    points = PointList()
    files: list[Attachment] = []
    kept = {"points": _metrics(folder / "metrics", points, files, problems)}
    local = folder / "artifacts"
    uri, expected = str(meta.get("artifact_uri") or ""), "mlflow.log-model.history" in tags
    # The folder may have been moved as a whole: what lies in it counts more than what is written.
    found = files_below(local) if local.is_dir() else Found([], [])
    if not any(found):
        found = artifacts_at(uri, run_id, root, expected=expected)
    files += found.files
    for path in sorted(folder.iterdir()):
        if path.name not in _PARTS:
            other = (
                files_below(path, f"mlflow/{path.name}/")
                if path.is_dir()
                else Found([Attachment(f"mlflow/{path.name}", path)], [])
            )
            files += other.files
            problems += other.problems
    run = Run(
        id=run_id,
        experiment=experiment.name,
        name=str(meta.get("run_name") or meta.get("name") or tags.get("mlflow.runName") or run_id),
        state=state,
        started_at=started,
        ended_at=micros(ended) if ended is not None else (points.last_at or started if state.ended else None),
        deleted_at=(micros(meta.get("deleted_time")) or experiment.deleted_at or started) if deleted else None,
        author=str(meta.get("user_id") or tags.get("mlflow.user") or ""),
        params=params,
        tags=tags,
        inputs=_inputs(folder, problems),
    )
    return ImportedRun(run, points.series(), files, kept, [*problems, *found.problems])


def _inputs(folder: Path, problems: list[Problem]) -> list[RunInput]:
    found: list[RunInput] = []
    for path in sorted([*folder.glob("inputs/*/meta.yaml"), *folder.glob("outputs/*/meta.yaml")]):
        link = _yaml(path)
        if isinstance(link, Problem):
            problems.append(Problem("inputs", link.where, link.why))
            continue
        if str(link.get("source_type")) == "DATASET":
            dataset = _yaml(folder.parent / "datasets" / str(link.get("source_id")) / _META)
            if isinstance(dataset, Problem):
                problems.append(Problem("inputs", dataset.where, dataset.why))
                continue
            found.append(dataset_input(dataset, {str(key): str(value) for key, value in (link.get("tags") or {}).items()}))
        else:
            kind = _MODEL_LINKS.get(
                str(link.get("destination_type")), MODEL_OUTPUT if path.parts[-3] == "outputs" else MODEL_INPUT
            )
            found.append(model_link(str(link.get("destination_id")), kind, link.get("step")))
    return found


def _metrics(folder: Path, points: PointList, files: list[Attachment], problems: list[Problem]) -> int:
    """Reads the lines ``time value [step [dataset digest]]`` of each file; returns how many lines are kept as a file."""
    linked: list[Any] = []
    for path, name in _named(folder):
        try:
            lines = path.read_bytes().decode("utf-8", "replace").splitlines()
        except OSError as error:
            problems.append(Problem("points", str(path), error.strerror or str(error)))
            continue
        for number, line in enumerate(lines, 1):
            parts = line.split()
            try:
                step = int(parts[2]) if len(parts) in {3, 5} else 0 if len(parts) == 2 else int(line)
                points.add(name, step, micros(parts[0]), float(parts[1]))
            except ValueError as error:
                problems.append(Problem("points", f"{path}:{number}", f"it is not time, value and step: {error}"))
                continue
            if len(parts) == 5:
                linked.append(
                    {"metric": name, "time_ms": int(parts[0]), "step": int(parts[2]), "dataset": parts[3], "digest": parts[4]}
                )
    if linked:
        files.append(Attachment("mlflow/metrics-on-datasets.json", as_json(linked), of_source=False))
    return 0


def _named(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files below a folder, and the names that they stand for."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            yield path, path.relative_to(folder).as_posix()


def _texts(folder: Path, problems: list[Problem], kind: str = "records") -> dict[str, str]:
    found: dict[str, str] = {}
    for path, name in _named(folder):
        try:
            found[name] = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(kind, str(path), str(error)))
    return found


def _yaml(path: Path) -> dict[str, Any] | Problem:
    try:
        found: Any = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return Problem("records", str(path), str(error).replace("\n", " ")[:300])
    if not isinstance(found, dict):
        return Problem("records", str(path), "it is empty or no list of keys and values")
    return found  # pyright: ignore[reportUnknownVariableType] - YAML
