"""Bad rows are named, each with its code, and never become evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.gate.evidence import MISSING, Evidence, read_evidence


def _with(column: str, place: int, value: Any) -> dict[str, Any]:
    rows = binary_rows(200)
    values = rows[column].astype(object) if value is None else rows[column].astype(float)
    values[place] = value
    return rows | {column: values}


def _broken() -> dict[str, tuple[dict[str, Any], str]]:
    rows = binary_rows(200)
    return {
        "label NaN": (_with("y", 3, np.nan), "label-missing"),
        "label null": (_with("y", 3, None), "label-missing"),
        "label inf": (_with("y", 3, np.inf), "label-infinite"),
        "label 2": (_with("y", 3, 2), "label-not-binary"),
        "prediction NaN": (_with("new", 3, np.nan), "prediction-missing"),
        "prediction null": (_with("old", 3, None), "prediction-missing"),
        "prediction inf": (_with("new", 3, -np.inf), "prediction-infinite"),
        "prediction 1.2": (_with("old", 3, 1.2), "probability-out-of-range"),
        "prediction -0.1": (_with("new", 3, -0.1), "probability-out-of-range"),
        "one class": (rows | {"y": np.zeros(200)}, "one-class"),
        "text label": (rows | {"y": np.array(["late", "fine"] * 100, dtype=object)}, "not-numeric"),
        "time label": (rows | {"y": np.arange(200).astype("datetime64[us]")}, "not-numeric"),
        "key doubled": (rows | {"id": np.array([*range(199), 7])}, "duplicate-keys"),
        "key null": (_with("id", 5, None), "key-missing"),
        "weight negative": (_with("weight", 3, -1), "bad-weights"),
        "weight NaN": (_with("weight", 3, np.nan), "bad-weights"),
        "weights zero": (rows | {"weight": np.zeros(200)}, "bad-weights"),
        "no rows": ({name: values[:0] for name, values in rows.items()}, "no-rows"),
        "slice gone": ({name: values for name, values in rows.items() if name != "origin"}, "column-missing"),
        "cluster gone": ({name: values for name, values in rows.items() if name != "tail"}, "column-missing"),
    }


@pytest.mark.parametrize("case", sorted(_broken()))
def test_what_is_broken_is_named(case: str) -> None:
    rows, code = _broken()[case]
    asked = policy(rule("log_loss", slices=["origin"]), key="id", cluster="tail", weight="weight")
    reading = read_evidence(rows, asked)
    assert code in [problem.code for problem in reading.problems]
    assert reading.evidence is None
    assert all(problem.fix for problem in reading.problems)


def test_a_missing_column_names_the_nearest() -> None:
    reading = read_evidence(binary_rows(50), policy(candidate="newer"))
    assert [problem.code for problem in reading.problems] == ["column-missing"]
    assert "'new'" in reading.problems[0].what


def test_a_continuous_slice_is_refused() -> None:
    reading = read_evidence(binary_rows(2000), policy(rule("log_loss", slices=["weight"])))
    assert [problem.code for problem in reading.problems] == ["too-many-slices"]


def _evidence(rows: Any, **keys: Any) -> Evidence:
    reading = read_evidence(rows, policy(rule("brier", slices=["origin"]), **keys))
    assert reading.evidence is not None, reading.problems
    return reading.evidence


def test_every_kind_of_frame_gives_the_same_evidence(tmp_path: Path) -> None:
    rows = binary_rows(300)
    frame = pl.DataFrame({name: values.tolist() for name, values in rows.items()})
    frame.write_parquet(tmp_path / "rows.parquet")
    frame.write_csv(tmp_path / "rows.csv")
    expected = _evidence(rows, cluster="tail", weight="weight")
    for source in (frame, tmp_path / "rows.parquet", str(tmp_path / "rows.csv"), frame.to_pandas()):
        found = _evidence(source, cluster="tail", weight="weight")
        assert np.array_equal(found.labels, expected.labels)
        assert np.array_equal(found.candidate, expected.candidate)
        assert np.array_equal(found.weights, expected.weights)
        assert np.unique(found.clusters).size == np.unique(rows["tail"]).size
        assert found.slices["origin"].values == ["EWR", "JFK", "LGA"]
        assert np.array_equal(np.array(found.slices["origin"].values)[found.slices["origin"].codes], rows["origin"].astype(str))


def test_booleans_and_text_numbers_are_numbers() -> None:
    rows = binary_rows(60)
    plain = _evidence(rows)
    assert np.array_equal(_evidence(rows | {"y": rows["y"].astype(bool)}).labels, plain.labels)
    assert np.array_equal(_evidence(rows | {"y": rows["y"].astype(str).astype(object)}).labels, plain.labels)


def test_hard_decisions_are_noticed() -> None:
    rows = binary_rows(60)
    assert not _evidence(rows).hard
    assert _evidence(rows | {"new": (rows["new"] > 0.5).astype(int)}).hard


def test_missing_slices_and_clusters_are_groups_of_their_own() -> None:
    rows = binary_rows(60)
    rows["origin"][:5] = None
    tails = rows["tail"].astype(object)
    tails[:7] = None
    reading = read_evidence(rows | {"tail": tails}, policy(rule("brier", slices=["origin"]), cluster="tail"))
    assert reading.evidence is not None
    assert MISSING in reading.evidence.slices["origin"].values
    assert [warning.code for warning in reading.warnings] == ["cluster-missing"]


def test_what_is_odd_but_allowed_is_a_warning() -> None:
    rows = binary_rows(60)
    reading = read_evidence(rows | {"new": np.full(60, 0.5), "old": np.full(60, 0.5)}, policy())
    codes = [warning.code for warning in reading.warnings]
    assert codes == ["candidate-equals-champion", "constant-predictions", "constant-predictions"]


def test_splitting_keeps_every_row_once() -> None:
    evidence = _evidence(binary_rows(300), cluster="tail", weight="weight")
    parts = evidence.split("origin")
    assert [name for name, _ in parts] == ["EWR", "JFK", "LGA"]
    assert sum(part.rows for _, part in parts) == 300
    assert sum(part.labels.sum() for _, part in parts) == evidence.labels.sum()
    assert all(part.clusters is not None and part.weights is not None for _, part in parts)


def test_classes_of_any_type() -> None:
    labels = np.array(["cat", "dog", "eel"] * 20, dtype=object)
    guess = labels.copy()
    guess[:6] = "gnu"
    asked = policy(rule("accuracy"), task="multiclass")
    reading = read_evidence({"y": labels, "new": labels, "old": guess}, asked)
    assert reading.evidence is not None
    assert (reading.evidence.labels == reading.evidence.candidate).all()
    assert (reading.evidence.labels == reading.evidence.champion).mean() == 0.9
    numbers = read_evidence({"y": np.arange(60) % 3, "new": np.arange(60) % 3.0, "old": np.zeros(60)}, asked)
    assert numbers.evidence is not None
    assert (numbers.evidence.labels == numbers.evidence.candidate).all()
    labels[4] = None
    broken = read_evidence({"y": labels, "new": guess, "old": guess}, asked)
    assert [problem.code for problem in broken.problems] == ["label-missing"]
