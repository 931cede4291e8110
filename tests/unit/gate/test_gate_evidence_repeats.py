"""Copies of rows are told where chance does not make them, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate import frames
from tidegate.gate import check
from tidegate.gate.evidence import read_evidence
from tidegate.records.policy import CheckPolicy
from tidegate.records.verdict import Verdict

SCORES = policy(rule("mean_score"), task="scores", label="")
NUMBERS = policy(rule("mae"), task="regression")
CLASSES = policy(rule("accuracy"), task="multiclass")
DOCUMENTED = (Path(__file__).parents[3] / "docs/reference/gate-policy.md").read_text()


def told(rows: Any, asked: CheckPolicy) -> list[str]:
    reading = read_evidence(rows, asked)
    assert reading.problems == []
    return [warning.what for warning in reading.warnings if warning.code == "rows-repeated"]


def repeated(rows: dict[str, Any], times: int) -> dict[str, Any]:
    return {name: np.concatenate([values] * times) for name, values in rows.items()}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_copies_of_probabilities() -> None:
    rows = binary_rows(600)
    assert told(rows, policy()) == []
    found = told(repeated(rows, 3), policy())
    assert len(found) == 1
    assert found[0].startswith("1,200 of 1,800 rows are exact copies of others")
    assert "too narrow" in found[0]
    assert "`rows-repeated`" in DOCUMENTED
    assert check(repeated(rows, 3), policy()).verdict is Verdict.PASS  # it is told, and decides nothing


def test_a_clear_share_is_needed() -> None:
    rows = binary_rows(900)
    some = {count: {name: np.concatenate([values, values[:count]]) for name, values in rows.items()} for count in (60, 200)}
    assert told(some[60], policy()) == []
    assert told(some[200], policy())[0].startswith("200 of 1,100 rows")


def test_a_key_or_a_cluster_says_what_belongs_together() -> None:
    rows = repeated(binary_rows(600), 2)
    assert told(rows | {"id": np.arange(1200)}, policy(key="id")) == []
    assert told(rows, policy(cluster="id")) == []


def test_copies_of_numbers_of_scores_and_of_probabilities_of_classes(rng: np.random.Generator) -> None:
    truth = rng.normal(size=300)
    numbers = {"y": truth, "new": truth + rng.normal(size=300), "old": truth + rng.normal(size=300)}
    assert told(numbers, NUMBERS) == []
    assert told(repeated(numbers, 2), NUMBERS) != []
    assert told(numbers, SCORES) == []
    assert told(repeated(numbers, 2), SCORES) != []
    shares = rng.dirichlet(np.ones(3), size=(2, 300))
    classes = {"y": rng.integers(0, 3, 300), "new": shares[0], "old": shares[1]}
    assert told(classes, CLASSES) == []
    assert told(repeated(classes, 2), CLASSES) != []


def test_equal_rows_by_chance_are_not_told(rng: np.random.Generator) -> None:
    rows = binary_rows(3000)
    decided = rows | {"new": np.round(rows["new"]), "old": np.round(rows["old"])}
    assert told({name: decided[name] for name in ("y", "new", "old")}, policy()) == []
    coarse = {"y": rows["y"], "new": np.round(rows["new"], 2), "old": np.round(rows["old"], 1)}
    assert told(coarse, policy()) == []
    kind, risks = rng.integers(0, 200, 3000), rng.random((2, 200))  # inputs of few values: a probability for each
    assert told({"y": (rng.random(3000) < risks[0][kind]) * 1, "new": risks[0][kind], "old": risks[1][kind]}, policy()) == []
    rain = np.where(rng.random(3000) < 0.6, 0, rng.gamma(2, 5, 3000))
    wet = {name: np.where(rain > 0, rain + rng.normal(0, 2, 3000), 0) for name in ("new", "old")}
    assert told({"y": rain} | wet, NUMBERS) == []
    assert told({name: rng.integers(1, 6, 900) for name in ("new", "old")}, SCORES) == []


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_further_columns_of_a_file_show_copies_of_decisions(tmp_path: Path, rng: np.random.Generator, name: str) -> None:
    truth = rng.integers(0, 3, 400)
    rows = {"y": truth, "new": np.where(rng.random(400) < 0.9, truth, 0), "old": np.where(rng.random(400) < 0.7, truth, 0)}
    for inputs, times, expected in ((rng.normal(size=400), 1, 0), (rng.normal(size=400), 2, 1), (truth * 2, 2, 0)):
        path = tmp_path / name
        with frames.connect() as con:
            relation = frames.relation(con, repeated(rows | {"input": inputs}, times))
            relation.write_csv(str(path)) if name.endswith("csv") else relation.write_parquet(str(path))
        assert len(told(path, CLASSES)) == expected


def test_of_many_rows_a_sample_is_looked_at() -> None:
    found = told(repeated(binary_rows(150_000), 2), policy())
    assert found[0].startswith("about 15")
    assert "of 300,000 rows" in found[0]
