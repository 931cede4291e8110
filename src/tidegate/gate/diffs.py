"""What changed from the champion to the candidate: code, data, model, predictions. Pure: what it compares is handed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tidegate.gate.evidence import Evidence
from tidegate.gate.shown import Sides
from tidegate.gate.wording import rounded
from tidegate.models.declared import allowed_text
from tidegate.records.dataset import ColumnProfile, Snapshot
from tidegate.records.model import Manifest, Tensor
from tidegate.records.report import Change, Diffs, Flips
from tidegate.stats.estimate import Floats

MOST = 60
"""Lines of one diff; the rest is counted."""
_QUANTILES = ((0.05, "5%"), (0.25, "25%"), (0.5, "50% (median)"), (0.75, "75%"), (0.95, "95%"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a version comes from, beyond its manifest: parameters of its run, and the snapshots that it was trained on."""

    manifest: Manifest
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    snapshots: Sequence[Snapshot] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChange:
    """What differs between the code of both: ``<added lines> <removed lines> <path>`` per file; or why nobody can say."""

    files: Sequence[str] = ()
    note: str = ""


def compare_origins(before: Origin, after: Origin, code: CodeChange) -> Diffs:
    """The diffs of code, data and model, from one version's origin to another's."""
    return Diffs(code=_cut(_code(before, after, code)), data=_cut(_data(before, after)), model=_cut(_model(before, after)))


def diff_predictions(evidence: Evidence, sides: Sides | None, flips: Flips | None) -> list[Change]:
    """Mean, quantiles, agreement and flips of both models' predictions; empty without a champion."""
    ours, theirs = evidence.candidate, evidence.champion
    if theirs is None:
        return []
    changes: list[Change] = []
    if ours.ndim == 1 and theirs.ndim == 1 and evidence.task != "multiclass":
        changes.append(_numbers("mean", float(theirs.mean()), float(ours.mean())))
        step = max(len(ours) // 100_000, 1)  # a sample is enough for what is read with the eye
        ends = [np.quantile(each[::step], [share for share, _ in _QUANTILES]).tolist() for each in (theirs, ours)]
        changes += [_numbers(name, *pair) for (_, name), pair in zip(_QUANTILES, zip(*ends, strict=True), strict=True)]
    moved = np.any(ours != theirs, axis=1) if ours.ndim == 2 and ours.shape == theirs.shape else None
    if moved is None and ours.ndim == theirs.ndim == 1:
        moved = ours != theirs
    if moved is not None:
        changes.append(Change(what="rows with another prediction", after=_share(int(np.count_nonzero(moved)), evidence.rows)))
    linked = _correlation(ours, theirs) if evidence.task in {"binary", "regression", "scores", "ranking"} else None
    if linked is not None:
        changes.append(Change(what="correlation of both", after=rounded(linked)))
    if flips is not None and sides is not None:
        changes.append(Change(what=f"only the candidate {sides.asked}", after=_share(flips.gained, evidence.rows)))
        changes.append(Change(what=f"only the champion {sides.asked}", after=_share(flips.lost, evidence.rows)))
    return changes


def _code(before: Origin, after: Origin, code: CodeChange) -> list[Change]:
    ours, theirs = after.manifest.lineage, before.manifest.lineage
    changes = _differing(
        {"commit": _commit(theirs.git_commit, theirs.git_dirty)}, {"commit": _commit(ours.git_commit, ours.git_dirty)}
    )
    changes += _differing({"pipeline": theirs.pipeline}, {"pipeline": ours.pipeline})
    for line in code.files:
        added, removed, path = [*line.split(" ", 2), "", ""][:3]
        changes.append(Change(what=path, before=f"-{removed}", after=f"+{added}"))
    if code.note:
        changes.append(Change(what="not known", after=code.note))
    if theirs.run and ours.run and theirs.run != ours.run:
        changes.append(Change(what="see it", after=f"tidegate run compare {theirs.run} {ours.run} --code"))
    elif theirs.git_commit and ours.git_commit and theirs.git_commit != ours.git_commit:
        changes.append(Change(what="see it", after=f"git diff {theirs.git_commit[:12]}..{ours.git_commit[:12]}"))
    return changes


def _commit(commit: str, dirty: bool | None) -> str:
    return commit[:12] + (" with uncommitted changes" if commit and dirty else "")


def _data(before: Origin, after: Origin) -> list[Change]:
    """The training snapshots, paired by name: rows, columns, and what a column's profile says."""
    theirs, ours = ({each.name: each for each in origin.snapshots} for origin in (before, after))
    changes: list[Change] = []
    for name in sorted({*theirs, *ours}):
        old, new = theirs.get(name), ours.get(name)
        if old is None or new is None:
            changes.append(Change(what=f"trained on {name}", before=old.ref if old else "", after=new.ref if new else ""))
        elif old.digest != new.digest:
            changes.append(Change(what=f"trained on {name}", before=old.ref, after=new.ref))
            changes += _differing(_table(old), _table(new), f"{name}: ")
    digests = [origin.manifest.lineage.training_digest[:12] for origin in (before, after)]
    return changes + _differing({"digest of the training rows": digests[0]}, {"digest of the training rows": digests[1]})


def _table(snapshot: Snapshot) -> dict[str, str]:
    return {"rows": f"{snapshot.rows:,}" if snapshot.rows is not None else "", "bytes": f"{snapshot.size:,}"} | {
        f"column {column.name}": _profile(column, snapshot.rows or 0) for column in snapshot.columns
    }


def _profile(column: ColumnProfile, rows: int) -> str:
    nulls = f", {_percent(column.nulls, rows)} null" if column.nulls else ""
    reach = f", {column.minimum[:40]} to {column.maximum[:40]}" if column.minimum or column.maximum else ""
    return f"{column.type}{nulls}{reach}"


def _model(before: Origin, after: Origin) -> list[Change]:
    theirs, ours = before.manifest, after.manifest
    changes = _differing(before.params, after.params, "param ")
    changes += _differing(
        {"format": theirs.format, "size": f"{theirs.size:,} bytes", "runs code when loaded": _yes(theirs.loads_code)},
        {"format": ours.format, "size": f"{ours.size:,} bytes", "runs code when loaded": _yes(ours.loads_code)},
    )
    changes += _differing({"classes": ", ".join(theirs.classes)}, {"classes": ", ".join(ours.classes)})
    for side, old, new in (
        ("input", theirs.signature.inputs, ours.signature.inputs),
        ("output", theirs.signature.outputs, ours.signature.outputs),
    ):
        changes += _differing({each.name: _tensor(each) for each in old}, {each.name: _tensor(each) for each in new}, f"{side} ")
    return changes + _differing(theirs.lineage.packages, ours.lineage.packages, "package ")


def _tensor(tensor: Tensor) -> str:
    shape = "" if tensor.shape in ([-1], [-1, 1]) else f" {tensor.shape}"
    unit = f" in {tensor.unit}" if tensor.unit else ""
    allowed = f", {allowed_text(tensor)}" if tensor.allowed else ""
    return f"{tensor.dtype}{shape}{unit}{allowed}{', may be missing' if tensor.nullable else ''}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _differing(before: Mapping[str, str], after: Mapping[str, str], prefix: str = "") -> list[Change]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        Change(what=f"{prefix}{name}", before=before.get(name, ""), after=after.get(name, ""))
        for name in names
        if before.get(name, "") != after.get(name, "")
    ]


def _cut(changes: list[Change]) -> list[Change]:
    if len(changes) <= MOST:
        return changes
    return [*changes[: MOST - 1], Change(what=f"and {len(changes) - MOST + 1:,} more")]


def _numbers(what: str, before: float, after: float) -> Change:
    return Change(what=what, before=rounded(before), after=rounded(after))


def _share(count: int, rows: int) -> str:
    return f"{count:,} ({_percent(count, rows)})"


def _percent(count: int, rows: int) -> str:
    return f"{rounded(100 * count / rows if rows else 0.0, 3)}%"


def _correlation(ours: Floats, theirs: Floats) -> float | None:
    """Pearson's; None where one of them is constant."""
    if np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return None
    x, y = ours - ours.mean(), theirs - theirs.mean()
    scale = float(np.sqrt(np.dot(x, x) * np.dot(y, y)))
    return float(np.dot(x, y)) / scale if scale > 0 else None
