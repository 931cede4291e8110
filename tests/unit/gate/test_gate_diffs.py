"""What changed from the champion to the candidate."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from tidegate.gate.diffs import MOST, CodeChange, Origin, compare_origins, diff_predictions
from tidegate.gate.evidence import Evidence
from tidegate.gate.shown import find_flips, find_sides
from tidegate.records.dataset import ColumnProfile, FileEntry, Snapshot
from tidegate.records.model import Lineage, Manifest, PackagedFile, Signature, Tensor
from tidegate.records.report import Change


def manifest(version: int = 1, **changed: object) -> Manifest:
    made = Manifest(
        name="delay",
        version=version,
        task="binary",
        format="onnx",
        loads_code=False,
        signature=Signature(
            inputs=[Tensor(name="wind", dtype="float32", shape=[-1])],
            outputs=[Tensor(name="probability", dtype="float32", shape=[-1])],
        ),
        files=[PackagedFile(path="model.onnx", size=1000, digest="a" * 64)],
        lineage=Lineage(run="r1", git_commit="a" * 40, snapshots=["train@1"], packages={"numpy": "2.4.0"}),
        created_at=0,
    )
    return replace(made, **changed)


def snapshot(number: int, rows: int, *columns: ColumnProfile) -> Snapshot:
    files = [FileEntry(path="data.parquet", size=rows * 10, digest=f"{number}" * 64)]
    return Snapshot(
        name="train", number=number, digest=f"{number}" * 64, files=files, created_at=0, rows=rows, columns=list(columns)
    )


def column(name: str, *, nulls: int = 0, low: str = "0", high: str = "9") -> ColumnProfile:
    return ColumnProfile(name=name, type="DOUBLE", nulls=nulls, distinct=5, minimum=low, maximum=high)


def test_the_same_origin_has_no_diff() -> None:
    same = Origin(manifest=manifest(), params={"C": "1"}, snapshots=[snapshot(1, 10, column("wind"))])
    found = compare_origins(same, same, CodeChange())
    assert (found.code, found.data, found.model) == ([], [], [])


def test_code_names_commits_files_and_the_command_that_shows_them() -> None:
    after = Origin(manifest=manifest(2, lineage=Lineage(run="r2", git_commit="b" * 40, git_dirty=True)))
    found = compare_origins(Origin(manifest=manifest()), after, CodeChange(files=["3 1 src/my file.py", "- - model.bin"])).code
    assert found == [
        Change(what="commit", before="a" * 12, after=f"{'b' * 12} with uncommitted changes"),
        Change(what="src/my file.py", before="-1", after="+3"),
        Change(what="model.bin", before="--", after="+-"),
        Change(what="see it", after="tidegate run compare r1 r2 --code"),
    ]
    unknown = compare_origins(Origin(manifest=manifest()), after, CodeChange(note="no commit here")).code
    assert Change(what="not known", after="no commit here") in unknown
    loose = Origin(manifest=manifest(2, lineage=Lineage(git_commit="b" * 40)))
    assert compare_origins(Origin(manifest=manifest()), loose, CodeChange()).code[-1].after == f"git diff {'a' * 12}..{'b' * 12}"


def test_data_names_snapshots_rows_and_columns() -> None:
    before = Origin(manifest=manifest(), snapshots=[snapshot(1, 1000, column("wind"), column("old"))])
    after = Origin(manifest=manifest(), snapshots=[snapshot(2, 2000, column("wind", nulls=20, high="12"), column("new"))])
    found = {change.what: (change.before, change.after) for change in compare_origins(before, after, CodeChange()).data}
    assert found == {
        "trained on train": ("train@1", "train@2"),
        "train: rows": ("1,000", "2,000"),
        "train: bytes": ("10,000", "20,000"),
        "train: column wind": ("DOUBLE, 0 to 9", "DOUBLE, 1% null, 0 to 12"),
        "train: column old": ("DOUBLE, 0 to 9", ""),
        "train: column new": ("", "DOUBLE, 0 to 9"),
    }


def test_model_names_params_signature_size_format_and_packages() -> None:
    signature = Signature(
        inputs=[Tensor(name="rain", dtype="float64", shape=[-1, 3], nullable=True)], outputs=manifest().signature.outputs
    )
    other = manifest(2, format="skops", loads_code=True, signature=signature, files=[PackagedFile(path="m", size=2500, digest="b" * 64)],
                     lineage=Lineage(packages={"numpy": "2.5.0", "scipy": "1.17"}))  # fmt: skip
    found = {
        change.what: (change.before, change.after)
        for change in compare_origins(
            Origin(manifest=manifest(), params={"C": "1"}), Origin(manifest=other, params={"C": "2"}), CodeChange()
        ).model
    }
    assert found == {
        "param C": ("1", "2"),
        "format": ("onnx", "skops"),
        "size": ("1,000 bytes", "2,500 bytes"),
        "runs code when loaded": ("no", "yes"),
        "input wind": ("float32", ""),
        "input rain": ("", "float64 [-1, 3], may be missing"),
        "package numpy": ("2.4.0", "2.5.0"),
        "package scipy": ("", "1.17"),
    }


def test_long_diffs_are_cut_and_counted() -> None:
    packages = {f"p{place:03}": "1" for place in range(200)}
    found = compare_origins(
        Origin(manifest=manifest(lineage=Lineage())), Origin(manifest=manifest(lineage=Lineage(packages=packages))), CodeChange()
    ).model
    assert len(found) == MOST
    assert found[-1].what == f"and {200 - MOST + 1} more"


def test_predictions_say_mean_quantiles_agreement_and_flips() -> None:
    labels = np.array([1.0, 0.0] * 50)
    ours = np.linspace(0, 1, 100)
    evidence = Evidence(task="binary", labels=labels, candidate=ours, champion=np.clip(ours + 0.1, 0, 1))
    sides = find_sides(evidence)
    assert sides is not None
    found = {change.what: change for change in diff_predictions(evidence, sides, find_flips(evidence, sides))}
    assert found["mean"].after == "0.5"
    assert float(found["50% (median)"].before) == pytest.approx(0.6, abs=0.01)
    assert found["rows with another prediction"].after == "99 (99%)"
    assert float(found["correlation of both"].after) > 0.99
    assert found["only the champion right at a threshold of 0.5"].after == "5 (5%)"
    assert diff_predictions(Evidence(task="binary", labels=labels, candidate=ours), None, None) == []


def test_predictions_of_every_task() -> None:
    labels = np.array([0.0, 1.0, 2.0] * 20)
    for champion in (labels, np.zeros(60)):
        evidence = Evidence(task="multiclass", labels=labels, candidate=labels, champion=champion, classes=["a", "b", "c"])
        assert diff_predictions(evidence, None, None)[0].what == "rows with another prediction"
    chances = np.full((60, 3), 1 / 3)
    assert (
        diff_predictions(Evidence(task="multiclass", labels=labels, candidate=chances, champion=chances + 0), None, None)[0].after
        == "0 (0%)"
    )
    constant = Evidence(task="regression", labels=labels, candidate=np.ones(60), champion=labels)
    assert "correlation of both" not in {change.what for change in diff_predictions(constant, None, None)}
