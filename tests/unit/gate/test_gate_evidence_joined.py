"""Files of their own for labels and models: joined by key in any order, and refused where keys do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.errors import UsageError
from tidegate.gate import check, parse_check_policy
from tidegate.gate.evidence import read_evidence
from tidegate.records.policy import CheckPolicy
from tidegate.records.verdict import Verdict

N = 400
ROWS = binary_rows(N)
ROWS["best"] = ROWS["new"] / 3
SLICED = (rule("brier", slices=["origin"]),)


def _asked(**keys: Any) -> CheckPolicy:
    return policy(*SLICED, **({"candidate": "p", "champion": "p", "key": "id", "cluster": "tail"} | keys))


def _of(name: str, order: Any, **more: Any) -> dict[str, Any]:
    return {"id": ROWS["id"][order], "p": ROWS[name][order]} | {key: value[order] for key, value in more.items()}


def _labels(order: Any) -> dict[str, Any]:
    return {name: ROWS[name][order] for name in ("id", "y", "origin", "tail")}


def _shuffled(seed: int) -> Any:
    return np.random.default_rng(seed).permutation(N)


def test_rows_in_any_order_are_paired_by_key() -> None:
    one = read_evidence(ROWS, policy(*SLICED, key="id", cluster="tail")).evidence
    others = {"champion": _of("old", _shuffled(1)), "labels": _labels(np.arange(N)), "anchor": _of("best", _shuffled(2))}
    found = read_evidence(_of("new", _shuffled(3)), _asked(), others).evidence
    assert one is not None
    assert found is not None
    for name in ("labels", "candidate", "champion", "keys", "clusters"):
        assert np.array_equal(getattr(one, name), getattr(found, name)), name
    assert np.array_equal(found.anchor, ROWS["best"])
    assert np.array_equal(one.slices["origin"].codes, found.slices["origin"].codes)


def test_labels_may_stand_beside_the_candidate() -> None:
    order = _shuffled(4)
    candidate = _of("new", order, y=ROWS["y"], origin=ROWS["origin"], tail=ROWS["tail"])
    report = check(candidate, _asked(), champion=_of("old", _shuffled(5)))
    assert report.verdict is Verdict.PASS
    assert report.rows == N
    assert report.title == "the candidate's rows against the champion's rows on 'id' in common"


def test_patterns_and_files(tmp_path: Path) -> None:
    names = ["cat", "dog", "eel"]
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, N)
    for name, seed, sharp in (("new", 1, 9.0), ("old", 2, 1.0)):
        chance = rng.dirichlet(np.ones(3), N) + sharp * np.eye(3)[truth]
        chance /= chance.sum(axis=1, keepdims=True)
        columns = {f"p_{each}": chance[:, place] for place, each in enumerate(names)}
        pl.DataFrame({"id": np.arange(N), **columns})[_shuffled(seed).tolist()].write_parquet(tmp_path / f"{name}.parquet")
    pl.DataFrame({"id": np.arange(N), "y": [names[code] for code in truth]}).write_csv(tmp_path / "labels.csv")
    asked = {"task": "multiclass", "label": "y", "candidate": "p_*", "champion": "p_*", "key": "id", "rules": [rule("log_loss")]}
    report = check(tmp_path / "new.parquet", asked, champion=tmp_path / "old.parquet", labels=tmp_path / "labels.csv")
    assert (report.verdict, report.title) == (Verdict.PASS, "new.parquet against old.parquet on labels.csv")
    assert (report.candidate, report.champion) == ("new.parquet", "old.parquet")


def _broken() -> dict[str, tuple[Any, Any, str]]:
    whole, order = np.arange(N), np.arange(N)
    order[5] = 6
    keyless = _of("old", whole)
    keyless["id"] = np.where(whole == 3, None, whole.astype(object))
    return {
        "a key less": (_of("old", whole[1:]), _labels(whole), "keys-differ"),
        "a label less": (_of("old", whole), _labels(whole[1:]), "keys-differ"),
        "a key twice": (_of("old", order), _labels(whole), "duplicate-keys"),
        "a label twice": (_of("old", whole), _labels(np.append(whole, 7)), "duplicate-keys"),
        "no key": (keyless, _labels(whole), "key-missing"),
        "no key column": ({"p": ROWS["old"]}, _labels(whole), "column-missing"),
        "no prediction": ({"id": ROWS["id"], "q": ROWS["old"]}, _labels(whole), "column-missing"),
        "same predictions": (_of("new", whole), _labels(whole), "candidate-equals-champion"),
    }


@pytest.mark.parametrize("case", sorted(_broken()))
def test_keys_that_do_not_fit_are_named(case: str) -> None:
    champion, labels, code = _broken()[case]
    report = check(_of("new", np.arange(N)), _asked(), champion=champion, labels=labels)
    assert report.verdict is Verdict.INVALID
    assert code in {problem.code for problem in report.problems}
    assert all(problem.fix for problem in report.problems)


def test_without_a_key_nothing_is_joined() -> None:
    with pytest.raises(UsageError, match="only be joined by a key"):
        check(_of("new", np.arange(N)), _asked(key=""), champion=_of("old", np.arange(N)))


def test_runs_of_two_models_from_two_files() -> None:
    asked = {"task": "scores", "candidate": "s", "champion": "s", "key": "item", "rules": [rule("mean_score", slices=["kind"])]}
    new = {"item": np.array([1, 1, 2]), "s": np.array([0.0, 1.0, 1.0]), "kind": np.array(["x", "x", "z"], dtype=object)}
    old = {"item": np.array([2, 1]), "s": np.array([0.25, 1.0])}
    reading = read_evidence(new, parse_check_policy(asked), {"champion": old})
    assert reading.evidence is not None, reading.problems
    assert reading.evidence.candidate.tolist() == [0.5, 1.0]
    assert reading.evidence.champion is not None
    assert reading.evidence.champion.tolist() == [1.0, 0.25]
    assert "runs-differ" in {warning.code for warning in reading.warnings}
    lone = read_evidence(new, parse_check_policy(asked), {"champion": {"item": np.array([2, 3]), "s": np.array([0.25, 1.0])}})
    assert {problem.code for problem in lone.problems} == {"item-of-one-model"}


def test_documents_of_a_ranking_are_joined_within_their_query() -> None:
    rng = np.random.default_rng(8)
    keys = {"q": np.repeat(np.arange(40), 5), "doc": np.tile(np.arange(5), 40)}
    rows = keys | {"y": rng.integers(0, 2, 200), "s": rng.random(200)}
    order = rng.permutation(200)
    old = {name: values[order] for name, values in keys.items()} | {"s": rows["y"][order] + 0.0}
    asked = {
        "task": "ranking",
        "label": "y",
        "candidate": "s",
        "champion": "s",
        "key": "doc",
        "query": "q",
        "rules": [rule("map")],
    }
    found = read_evidence(rows, parse_check_policy(asked), {"champion": old}).evidence
    assert found is not None
    assert np.array_equal(found.champion, rows["y"])


def test_keys_of_two_types_that_fall_together_are_refused() -> None:
    ids = 2**53 + np.arange(N)
    told_apart = np.unique(ids.astype(np.float64))
    assert len(told_apart) < N
    others = {"champion": {"id": told_apart, "p": ROWS["old"][: len(told_apart)]}}
    reading = read_evidence(
        {"id": ids} | {name: ROWS[name] for name in ("y", "origin", "tail")} | {"p": ROWS["new"]}, _asked(), others
    )
    assert [problem.code for problem in reading.problems] == ["keys-differ"]
