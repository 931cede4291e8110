"""What is known about where two versions come from, read from runs, snapshots and the repository, and how it differs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tidegate.errors import TidegateError
from tidegate.gate.case import Reads
from tidegate.gate.diffs import CodeChange, Origin, compare_origins
from tidegate.records.dataset import Snapshot
from tidegate.records.model import ModelVersion
from tidegate.records.report import Diffs
from tidegate.records.run import Run
from tidegate.store.ports import Bucket
from tidegate.tracking.rebuild import diff_code


class Finds(Protocol):
    """What is asked of ``tidegate.tracking.Runs``."""

    def get(self, run_id: str) -> Run:
        """A run by its id."""
        ...


def find_diffs(
    before: ModelVersion, after: ModelVersion, *, runs: Finds, datasets: Reads, bucket: Bucket, repository: Path
) -> Diffs:
    """Code, data and model, from one version to another. Raises nothing: what cannot be read is no line, or one that says why."""
    first, second = (_run(version, runs) for version in (before, after))
    origins = [
        Origin(manifest=version.manifest, params=run.params if run else {}, snapshots=_snapshots(version, datasets))
        for version, run in ((before, first), (after, second))
    ]
    code = CodeChange()
    if first and second and first.id != second.id:
        found = diff_code(first.environment, second.environment, bucket, repository, most_lines=0)
        code = CodeChange(files=found.files, note=found.note)
    return compare_origins(origins[0], origins[1], code)


def _run(version: ModelVersion, runs: Finds) -> Run | None:
    try:
        return runs.get(version.manifest.lineage.run) if version.manifest.lineage.run else None
    except TidegateError:
        return None


def _snapshots(version: ModelVersion, datasets: Reads) -> list[Snapshot]:
    found: list[Snapshot] = []
    for ref in version.manifest.lineage.snapshots:
        try:
            found.append(datasets.get(ref))
        except TidegateError:
            continue  # the gate warns of it: lineage-unknown
    return found
