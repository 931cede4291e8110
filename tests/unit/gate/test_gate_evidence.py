"""Rows of every task become arrays, whatever frame they come in."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from gate_rows import binary_rows, policy, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import frames
from tidegate.gate import parse_check_policy
from tidegate.gate.evidence import MISSING, Evidence, Reading, fetch, read_evidence, survey
from tidegate.gate.evidence.numbers import Summary
from tidegate.records.policy import CheckPolicy


def _evidence(rows: Any, **keys: Any) -> Evidence:
    return _read(rows, policy(rule("brier", slices=["origin"]), **keys))


def _read(rows: Any, asked: CheckPolicy) -> Evidence:
    reading = read_evidence(rows, asked)
    assert reading.evidence is not None, reading.problems
    assert not reading.problems
    return reading.evidence


def asks(task: str, **keys: Any) -> CheckPolicy:
    """A policy of a task; the metric is of no matter here."""
    metric = {"ranking": "map", "scores": "mean_score", "regression": "mae", "multilabel": "brier"}.get(task, "accuracy")
    named: dict[str, Any] = {"task": task, "label": "y", "candidate": "new", "champion": "old", "rules": [rule(metric)]} | keys
    return parse_check_policy({name: value for name, value in named.items() if value is not None})


def test_every_kind_of_frame_gives_the_same_evidence(tmp_path: Path) -> None:
    rows = binary_rows(300)
    frame = pl.DataFrame({name: values.tolist() for name, values in rows.items()})
    frame.write_parquet(tmp_path / "rows.parquet")
    frame.write_csv(tmp_path / "rows.csv")
    expected = _evidence(rows, cluster="tail", weight="weight", key="id")
    for source in (frame, tmp_path / "rows.parquet", str(tmp_path / "rows.csv"), frame.to_pandas()):
        found = _evidence(source, cluster="tail", weight="weight", key="id")
        assert np.array_equal(found.labels, expected.labels)
        assert np.array_equal(found.candidate, expected.candidate)
        assert np.array_equal(found.weights, expected.weights)
        assert np.array_equal(found.keys, rows["id"])
        assert np.array_equal(found.clusters, expected.clusters)
        assert np.unique(found.clusters).size == np.unique(rows["tail"]).size
        assert found.slices["origin"].values == ["EWR", "JFK", "LGA"]
        assert np.array_equal(np.array(found.slices["origin"].values)[found.slices["origin"].codes], rows["origin"].astype(str))


def test_booleans_decimals_and_text_numbers_are_numbers() -> None:
    rows = binary_rows(60)
    plain = _evidence(rows)
    assert np.array_equal(_evidence(rows | {"y": rows["y"].astype(bool)}).labels, plain.labels)
    assert np.array_equal(_evidence(rows | {"y": rows["y"].astype(str).astype(object)}).labels, plain.labels)
    frame = pl.DataFrame({name: values.tolist() for name, values in rows.items()})
    decimal = frame.with_columns(y=pl.col("y").cast(pl.Decimal(10, 2)), new=pl.col("new").cast(pl.Float32))
    assert np.array_equal(_evidence(decimal).labels, plain.labels)
    assert np.allclose(_evidence(decimal).candidate, plain.candidate, atol=1e-6)


def test_hard_decisions_are_noticed() -> None:
    rows = binary_rows(60)
    assert not _evidence(rows).hard
    assert _evidence(rows | {"new": (rows["new"] > 0.5).astype(int)}).hard


def test_missing_slices_and_clusters_are_groups_of_their_own() -> None:
    rows = binary_rows(600)
    rows["origin"][:50] = None
    tails = rows["tail"].astype(object)
    tails[:7] = None
    reading = read_evidence(rows | {"tail": tails}, policy(rule("brier", slices=["origin"]), cluster="tail"))
    assert reading.evidence is not None
    assert MISSING in reading.evidence.slices["origin"].values
    assert [warning.code for warning in reading.warnings] == ["cluster-missing"]


def test_splitting_keeps_every_row_once() -> None:
    evidence = _evidence(binary_rows(300), cluster="tail", weight="weight")
    parts = evidence.split("origin")
    assert [name for name, _ in parts] == ["EWR", "JFK", "LGA"]
    assert sum(part.rows for _, part in parts) == 300
    assert sum(part.labels.sum() for _, part in parts) == evidence.labels.sum()
    assert all(part.clusters is not None and part.weights is not None for _, part in parts)


def test_the_anchor_is_read_like_the_champion() -> None:
    rows = binary_rows(60)
    found = _evidence(rows | {"best": rows["old"] / 2}, anchor="best", rules=[rule("log_loss", "not_worse")])
    assert np.array_equal(found.anchor, rows["old"] / 2)


@pytest.mark.parametrize(("keys", "text"), [(["a", "b'\"c"], "b'\"c"), ([10, 20], "20")])
def test_keys_stay_what_they_are(keys: list[Any], text: str) -> None:
    rows = {name: values[:2] for name, values in binary_rows(2).items()} | {
        "y": np.array([0, 1]),
        "id": np.array(keys, dtype=object),
    }
    found = _evidence(pl.DataFrame({name: values.tolist() for name, values in rows.items()}), key="id")
    assert found.keys is not None
    assert str(found.keys[1]) == text
    assert found.keys.dtype != object


def test_marks_of_golden_rows() -> None:
    rows = binary_rows(60)
    marks = np.array([1, None, 0] * 20, dtype=object)
    found = _read(rows | {"gold": marks}, policy({"test": "golden", "rows": "gold"}))
    assert np.array_equal(np.flatnonzero(found.marks["gold"]), np.arange(0, 60, 3))


def test_rows_without_a_label_are_counted_and_left_out_where_a_rule_asks() -> None:
    rows = binary_rows(90)
    labels = rows["y"].astype(object)
    labels[rows["origin"] == "JFK"] = None
    asked = policy({"test": "label_coverage", "value": 0.5}, rule("brier", slices=["origin"]))
    found = _read(rows | {"y": labels}, asked)
    assert found.labelling is not None
    assert (found.labelling.whole.rows, found.labelling.whole.labelled) == (90, found.rows)
    sizes = {name: part.rows for name, part in found.split("origin")}
    assert sizes["JFK"] == 0  # it is not forgotten
    assert sum(sizes.values()) == found.rows < 90


# Multiclass


CLASSES = ["cat", "dog", "eel"]


def _multiclass(n: int = 90) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, n)
    new, old = (rng.dirichlet(np.ones(3), n) for _ in range(2))
    return np.array(CLASSES, dtype=object)[labels], new, old


def _columns(stem: str, table: Any, names: list[str]) -> dict[str, Any]:
    return {f"{stem}{name}": table[:, place] for place, name in enumerate(names)}


def test_classes_of_any_type() -> None:
    labels = np.array(["cat", "dog", "eel"] * 20, dtype=object)
    guess = labels.copy()
    guess[:6] = "gnu"
    reading = read_evidence({"y": labels, "new": labels, "old": guess}, asks("multiclass"))
    assert reading.evidence is not None
    assert (reading.evidence.labels == reading.evidence.candidate).all()
    assert (reading.evidence.labels == reading.evidence.champion).mean() == 0.9
    assert (reading.evidence.hard, reading.evidence.classes) == (True, ["cat", "dog", "eel", "gnu"])
    assert [warning.code for warning in reading.warnings] == ["class-not-in-labels"]
    numbers = _read({"y": np.arange(60) % 12, "new": np.arange(60) % 12.0, "old": np.arange(60) % 3}, asks("multiclass"))
    assert (numbers.labels == numbers.candidate).all()
    assert numbers.classes == [str(place) for place in range(12)]
    truth = _read({"y": np.arange(60) % 2 == 1, "new": np.arange(60) % 2, "old": np.arange(60) % 3 % 2}, asks("multiclass"))
    assert (truth.labels == truth.candidate).all()


def test_probabilities_of_classes_in_every_shape() -> None:
    labels, new, old = _multiclass()
    wide = {"y": labels} | _columns("new_", new, CLASSES) | _columns("old_", old, CLASSES)
    expected = _read(wide, asks("multiclass", candidate="new_*", champion="old_*"))
    assert (expected.classes, expected.hard, expected.candidate.shape) == (CLASSES, False, (90, 3))
    assert np.array_equal(expected.candidate, new)
    lists = pl.DataFrame({"y": labels.tolist(), "new": new.tolist(), "old": old.tolist()})
    arrays = lists.with_columns(new=pl.col("new").list.to_array(3))
    names = pl.DataFrame([{"y": y, "new": dict(zip(CLASSES, row, strict=True))} for y, row in zip(labels, new, strict=True)])
    turned = names.with_columns(old=lists["old"])
    shapes: list[Any] = [lists, arrays, turned, {"y": labels, "new": new, "old": old}]
    with frames.connect() as con:
        map_rows = frames.relation(con, turned).project("y, old, MAP {'eel': new.eel, 'cat': new.cat, 'dog': new.dog} AS new")
        shapes.append(map_rows)
        for shape in shapes:
            found = _read(shape, asks("multiclass"))
            assert found.classes == CLASSES
            assert np.array_equal(found.candidate, new)
            assert np.array_equal(found.champion, old)
            assert np.array_equal(found.labels, expected.labels)


def test_the_order_of_a_list_may_be_declared() -> None:
    labels, new, old = _multiclass()
    found = _read({"y": labels, "new": new, "old": old}, asks("multiclass", classes=["eel", "cat", "dog"]))
    assert found.classes == ["eel", "cat", "dog"]
    assert [found.classes[int(code)] for code in found.labels] == labels.tolist()


def test_a_model_without_probabilities_brings_the_other_down_to_decisions() -> None:
    labels, new, _ = _multiclass()
    found = _read({"y": labels, "old": labels} | _columns("new_", new, CLASSES), asks("multiclass", candidate="new_*"))
    assert (found.hard, found.candidate.shape) == (True, (90,))
    assert np.array_equal(found.candidate, new.argmax(axis=1))


def test_a_class_that_only_the_champion_knows_has_no_probability_of_the_candidate() -> None:
    labels, new, _ = _multiclass()
    four = np.random.default_rng(4).dirichlet(np.ones(4), 90)
    rows = {"y": labels} | _columns("new_", new, CLASSES) | _columns("old_", four, [*CLASSES, "gnu"])
    reading = read_evidence(rows, asks("multiclass", candidate="new_*", champion="old_*"))
    assert reading.evidence is not None
    assert reading.evidence.classes == [*CLASSES, "gnu"]
    assert np.array_equal(reading.evidence.candidate[:, 3], np.zeros(90))
    assert [warning.code for warning in reading.warnings] == ["class-not-in-labels"]


# Multilabel


def test_multilabel_in_every_shape() -> None:
    rng = np.random.default_rng(5)
    labels, new, old = rng.integers(0, 2, (80, 3)), rng.random((80, 3)), rng.random((80, 3))
    wide = _columns("y_", labels, CLASSES) | _columns("y_new_", new, CLASSES) | _columns("old_", old[:, ::-1], CLASSES[::-1])
    found = _read(wide, asks("multilabel", label="y_*", candidate="y_new_*", champion="old_*"))
    assert (found.classes, found.hard) == (CLASSES, False)
    assert np.array_equal(found.labels, labels)
    assert np.array_equal(found.candidate, new)
    assert np.array_equal(found.champion, old)
    lists = _read({"y": labels, "new": new, "old": old}, asks("multilabel"))
    assert lists.classes == ["0", "1", "2"]
    assert np.array_equal(lists.candidate, new)
    mixed = _read({"new": new, "old": old} | _columns("y_", labels, CLASSES), asks("multilabel", label="y_*"))
    assert mixed.classes == CLASSES


def test_lists_of_words_are_sets_of_labels() -> None:
    words = [["cat"], ["cat", "dog"], [], ["eel"]] * 10
    guess = [["cat"], ["dog"], [], ["gnu"]] * 10
    old = [["dog"]] * 20 + [[]] * 20
    found = _read(pl.DataFrame({"y": words, "new": guess, "old": old}), asks("multilabel"))
    assert found.classes == ["cat", "dog", "eel", "gnu"]
    assert found.hard
    assert found.labels[1].tolist() == [1, 1, 0, 0]
    assert found.candidate[3].tolist() == [0, 0, 0, 1]  # a label that nobody else has is a false positive


# Rankings and scores


def test_rankings_keep_their_queries() -> None:
    rng = np.random.default_rng(6)
    queries = np.repeat([f"q{n}" for n in range(40)], 5).astype(object)
    rows = {
        "y": rng.integers(0, 3, 200),
        "new": rng.random(200),
        "old": rng.random(200),
        "q": queries,
        "id": np.tile(np.arange(5), 40),
    }
    found = _read(rows, asks("ranking", query="q", key="id"))  # the same document may stand in many queries
    assert found.queries is not None
    assert found.queries.max() == 39
    assert all(np.unique(queries[found.queries == code]).size == 1 for code in range(40))


def test_runs_of_an_item_are_averaged() -> None:
    rows = {
        "item": np.array(["a", "b", "a", "b", "a"], dtype=object),
        "new": np.array([1.0, 0.5, 0.0, np.nan, 0.5]),
        "old": np.array([0.0, 0.5, 0.0, 1.0, 0.0]),
        "kind": np.array(["x", "z", "x", "z", "x"], dtype=object),
    }
    frame = pl.DataFrame(rows).with_columns(new=pl.col("new").fill_nan(None))
    asked = asks("scores", label=None, key="item", rules=[rule("mean_score", slices=["kind"])])
    found = _read(frame, asked)
    assert found.candidate.tolist() == [0.5, 0.5]
    assert found.champion is not None
    assert found.champion.tolist() == [0.0, 0.75]
    assert found.wins is not None
    assert found.wins.tolist() == [1, 0]
    assert (found.slices["kind"].values, found.slices["kind"].codes.tolist()) == (["x", "z"], [0, 1])
    assert found.keys is not None
    assert found.keys.tolist() == ["a", "b"]


def test_preferences_of_several_raters() -> None:
    rows = {"item": np.array([1, 1, 2, 3]), "who": np.array(["A", "tie", "B", " Candidate "], dtype=object)}
    keys = {"label": None, "candidate": None, "champion": None, "key": "item", "preference": "who", "rules": [rule("win_rate")]}
    found = _read(rows, asks("scores", **keys))
    assert found.wins is not None
    assert found.wins.tolist() == [0.75, 0, 1]
    assert found.champion is not None
    assert (found.candidate + found.champion).tolist() == [1, 1, 1]


# Portions


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 199), min_size=1, max_size=4, unique=True))
def test_portions_together_are_the_whole(cuts: list[int]) -> None:
    rows = binary_rows(200)
    asked = policy(rule("brier", slices=["origin"]), cluster="tail", weight="weight")
    whole = _read(rows, asked)
    ends = [0, *sorted(cuts), 200]
    reading = Reading()
    with frames.connect() as con:
        frames.relation(con, rows).create("everything")
        layout = survey(reading, con, "everything", asked)
        assert layout is not None
        parts: list[Evidence] = []
        summaries: dict[str, Summary] = {}
        for start, end in itertools.pairwise(ends):
            con.execute(f"CREATE OR REPLACE TEMP VIEW portion AS SELECT * FROM everything WHERE id >= {start} AND id < {end}")
            portion = fetch(con, "portion", layout)
            parts.append(portion.evidence)
            summaries = {
                role: summaries[role] + found if role in summaries else found for role, found in portion.summaries.items()
            }
    assert np.array_equal(np.concatenate([part.candidate for part in parts]), whole.candidate)
    assert np.array_equal(np.concatenate([part.clusters for part in parts if part.clusters is not None]), whole.clusters)
    assert np.array_equal(np.concatenate([part.slices["origin"].codes for part in parts]), whole.slices["origin"].codes)
    assert summaries["candidate"].rows == 200
    assert summaries["candidate"].high[0] == whole.candidate.max()
