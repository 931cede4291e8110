"""Bad rows of every kind: each is named with its code and a sentence that says what to do, and never passes."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import re
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from gate_rows import binary_rows, policy, rule

from tidegate.errors import UsageError
from tidegate.gate import check, parse_check_policy
from tidegate.gate.evidence import read_evidence
from tidegate.records.verdict import Verdict

ROOT = Path(__file__).parents[3]
ROWS = 200


class Case(NamedTuple):
    """Rows, a policy, and the code that must be among the problems (or the warnings, where there are only too few rows)."""

    rows: Any
    asked: dict[str, Any]
    code: str


def _with(column: str, place: int, value: Any) -> dict[str, Any]:
    rows = binary_rows(ROWS)
    values = rows[column].astype(object) if value is None else rows[column].astype(float)
    values[place] = value
    return rows | {column: values}


def _asked(task: str = "binary", *, metric: str = "log_loss", **keys: Any) -> dict[str, Any]:
    named = {"task": task, "label": "y", "candidate": "new", "champion": "old", "rules": [rule(metric)]} | keys
    return {name: value for name, value in named.items() if value is not None}


BINARY = _asked(key="id", cluster="tail", weight="weight", rules=[rule("log_loss", slices=["origin"])])


def _binary() -> dict[str, Case]:
    rows = binary_rows(ROWS)
    objects = {
        "uuid": uuid.UUID(int=5),
        "date": dt.date(2020, 1, 1),
        "bytes": b"ab",
        "time": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    }
    odd = {
        f"{name} prediction": (rows | {"new": np.array([value] * ROWS, dtype=object)}, "not-numeric")
        for name, value in objects.items()
    }
    found: dict[str, tuple[Any, str]] = {
        "label NaN": (_with("y", 3, np.nan), "label-missing"),
        "label null": (_with("y", 3, None), "label-missing"),
        "label inf": (_with("y", 3, np.inf), "label-infinite"),
        "label 2": (_with("y", 3, 2), "label-not-binary"),
        "label a half": (_with("y", 3, 0.5), "label-not-binary"),
        "prediction NaN": (_with("new", 3, np.nan), "prediction-missing"),
        "prediction null": (_with("old", 3, None), "prediction-missing"),
        "prediction inf": (_with("new", 3, -np.inf), "prediction-infinite"),
        "prediction 1.2": (_with("old", 3, 1.2), "probability-out-of-range"),
        "prediction -0.1": (_with("new", 3, -0.1), "probability-out-of-range"),
        "prediction huge": (_with("new", 3, 1e200), "number-too-large"),
        "prediction HUGEINT": (rows | {"new": np.array([2**100] * ROWS, dtype=object)}, "probability-out-of-range"),
        "percents": (rows | {"new": rows["new"] * 100}, "probability-out-of-range"),
        "one class": (rows | {"y": np.zeros(ROWS)}, "one-class"),
        "text label": (rows | {"y": np.array(["late", "fine"] * (ROWS // 2), dtype=object)}, "not-numeric"),
        "text among numbers": (rows | {"new": np.array(["0.5"] * (ROWS - 1) + ["1,5"], dtype=object)}, "not-numeric"),
        "time label": (rows | {"y": np.arange(ROWS).astype("datetime64[us]")}, "not-numeric"),
        "list of predictions": (rows | {"new": np.stack([1 - rows["new"], rows["new"]], axis=1)}, "not-numeric"),
        "deep lists": (
            pl.DataFrame({k: v.tolist() for k, v in rows.items()}).with_columns(new=pl.Series([[[0.5]]] * ROWS)),
            "not-numeric",
        ),
        "key doubled": (rows | {"id": np.array([*range(ROWS - 1), 7])}, "duplicate-keys"),
        "key null": (_with("id", 5, None), "key-missing"),
        "weight negative": (_with("weight", 3, -1), "bad-weights"),
        "weight NaN": (_with("weight", 3, np.nan), "bad-weights"),
        "weight huge": (_with("weight", 3, 1e300), "bad-weights"),
        "weight text": (rows | {"weight": np.array(["heavy"] * ROWS, dtype=object)}, "bad-weights"),
        "weights zero": (rows | {"weight": np.zeros(ROWS)}, "bad-weights"),
        "no rows": ({name: values[:0] for name, values in rows.items()}, "no-rows"),
        "slice gone": ({name: values for name, values in rows.items() if name != "origin"}, "column-missing"),
        "cluster gone": ({name: values for name, values in rows.items() if name != "tail"}, "column-missing"),
        "candidate is champion": (rows | {"new": rows["old"]}, "candidate-equals-champion"),
        "constant candidate": (rows | {"new": np.full(ROWS, 0.5)}, "constant-predictions"),
        "three rows": ({k: v[:3] for k, v in rows.items()} | {"y": np.array([0, 1, 0])}, "too-few-rows"),
        "two clusters": (rows | {"tail": np.arange(ROWS) % 2}, "too-few-clusters"),
        "a slice of one row": (rows | {"origin": np.array(["EWR"] * (ROWS - 1) + ["JFK"], dtype=object)}, "small-slice"),
        "columns of different length": (rows | {"new": rows["new"][:-1]}, "ragged-columns"),
        "a number as a frame": (5, "not-a-frame"),
        **odd,
    }
    return {f"binary {name}": Case(rows, BINARY, code) for name, (rows, code) in found.items()}


def _other_columns() -> dict[str, Case]:
    rows = binary_rows(ROWS)
    marks = np.array([1] + [0] * (ROWS - 2) + [7])
    fractions = np.array([decimal.Decimal("1.5")] * ROWS, dtype=object)
    return {
        "slices by number": Case(binary_rows(2000), _asked(rules=[rule("brier", slices=["weight"])]), "too-many-slices"),
        "marks": Case(rows | {"gold": marks}, _asked(rules=[{"test": "golden", "rows": "gold"}]), "bad-marks"),
        "regression huge": Case(rows | {"new": rows["new"] * 1e101}, _asked("regression", metric="mae"), "number-too-large"),
        "regression Decimal": Case(rows | {"new": fractions}, _asked("regression", metric="mae"), "constant-predictions"),
        "pattern without columns": Case(rows, _asked("multiclass", metric="accuracy", candidate="p_*"), "column-missing"),
    }


def _multiclass() -> dict[str, Case]:
    rng = np.random.default_rng(1)
    names = ["cat", "dog", "eel"]
    labels = np.array(names, dtype=object)[rng.integers(0, 3, ROWS)]
    new, old = rng.dirichlet(np.ones(3), ROWS), rng.dirichlet(np.ones(3), ROWS)
    whole = {"y": labels, "new": new, "old": old}

    def changed(place: int, value: Any, by: dict[str, Any] = whole) -> dict[str, Any]:
        table = new.copy()
        table[3, place] = value
        return by | {"new": table}

    def lists(*, short: Any) -> pl.DataFrame:
        table: list[Any] = new.tolist()
        table[3] = short
        return pl.DataFrame({"y": labels.tolist(), "new": table, "old": old.tolist()})

    gnus = labels.copy()
    gnus[:4] = "gnu"
    wide = {f"p_{name}": new[:, place] for place, name in enumerate(names)} | {"old": old}
    found: dict[str, tuple[Any, str]] = {
        "label null": (whole | {"y": np.where(np.arange(ROWS) == 3, None, labels)}, "label-missing"),
        "prediction null": (whole | {"new": np.where(np.arange(ROWS) == 3, None, labels)}, "prediction-missing"),
        "one class": (whole | {"y": np.full(ROWS, "cat", dtype=object)}, "one-class"),
        "probability NaN": (changed(1, np.nan), "prediction-missing"),
        "probability infinite": (changed(1, np.inf), "prediction-infinite"),
        "probability -0.5": (changed(1, -0.5), "probability-out-of-range"),
        "sum of 2": (changed(1, 1.0), "probabilities-not-one"),
        "lists of unequal length": (lists(short=[0.5, 0.5]), "lists-differ-in-length"),
        "a null list": (lists(short=None), "prediction-missing"),
        "an empty list": (lists(short=[]), "lists-differ-in-length"),
        "two probabilities of three classes": (whole | {"new": new[:, :2]}, "classes-unknown"),
        "labels that are lists": (whole | {"y": new}, "label-not-one"),
        "a thousand classes": (
            whole | {"y": np.arange(ROWS * 10) / 7} | {k: np.tile(whole[k], (10, 1)) for k in ("new", "old")},
            "too-many-classes",
        ),
        "constant": (whole | {"new": np.full(ROWS, "cat", dtype=object)}, "constant-predictions"),
        "candidate is champion": (whole | {"new": old}, "candidate-equals-champion"),
    }
    cases = {
        f"multiclass {name}": Case(rows, _asked("multiclass", metric="accuracy"), code) for name, (rows, code) in found.items()
    }
    unseen = _asked("multiclass", metric="accuracy", candidate="p_*", champion=None, rules=[rule("accuracy", "floor", value=0.1)])
    cases["multiclass a class never seen"] = Case(wide | {"y": gnus}, unseen, "class-unknown")
    declared = _asked("multiclass", metric="accuracy", classes=["cat", "dog", "gnu"])
    cases["multiclass declared classes"] = Case(whole, declared, "class-unknown")
    return cases


def _multilabel() -> dict[str, Case]:
    rng = np.random.default_rng(2)
    labels, new, old = rng.integers(0, 2, (ROWS, 3)), rng.random((ROWS, 3)), rng.random((ROWS, 3))
    whole = {"y": labels, "new": new, "old": old}
    asked = _asked("multilabel", metric="brier")
    wide = {f"y_{name}": labels[:, place] for place, name in enumerate("abc")} | {"p_a": new[:, 0], "p_b": new[:, 1], "old": old}
    return {
        "multilabel one column": Case(whole | {"y": labels[:, 0]}, asked, "not-several"),
        "multilabel label 2": Case(whole | {"y": labels + (labels > 0)}, asked, "label-not-binary"),
        "multilabel widths": Case(whole | {"new": new[:, :2]}, asked, "lists-differ-in-length"),
        "multilabel no label anywhere": Case(whole | {"y": labels * 0}, asked, "one-class"),
        "multilabel 1.5": Case(whole | {"new": new * 1.5}, asked, "probability-out-of-range"),
        "multilabel a label the model lacks": Case(wide, asked | {"label": "y_*", "candidate": "p_*"}, "class-unknown"),
    }


def _ranking() -> dict[str, Case]:
    rng = np.random.default_rng(3)
    rows: dict[str, Any] = {
        "y": rng.integers(0, 3, ROWS).astype(float), "new": rng.random(ROWS), "old": rng.random(ROWS),
        "q": np.repeat(np.arange(ROWS // 5), 5), "site": np.repeat(np.arange(ROWS // 5) % 2, 5),
    }  # fmt: skip
    asked = _asked("ranking", metric="ndcg@3", query="q")
    sliced = asked | {"rules": [rule("ndcg@3", slices=["site"])]}
    queries = rows["q"].astype(object)
    queries[4] = None
    return {
        "ranking relevance -1": Case(rows | {"y": rows["y"] - 1}, asked, "relevance-out-of-range"),
        "ranking relevance 1000": Case(rows | {"y": rows["y"] * 1000}, asked, "relevance-out-of-range"),
        "ranking relevance NaN": Case(rows | {"y": np.where(np.arange(ROWS) == 3, np.nan, rows["y"])}, asked, "label-missing"),
        "ranking nothing relevant": Case(rows | {"y": rows["y"] * 0}, asked, "no-relevant"),
        "ranking queries of one item": Case(rows | {"q": np.arange(ROWS)}, asked, "nothing-to-rank"),
        "ranking query null": Case(rows | {"q": queries}, asked, "query-missing"),
        "ranking slice within a query": Case(rows | {"site": np.arange(ROWS) % 2}, sliced, "differs-in-query"),
        "ranking weight within a query": Case(rows | {"w": rng.random(ROWS)}, asked | {"weight": "w"}, "differs-in-query"),
        "ranking constant": Case(rows | {"new": rows["new"] * 0}, asked, "constant-predictions"),
        "ranking infinite": Case(
            rows | {"new": np.where(np.arange(ROWS) == 3, np.inf, rows["new"])}, asked, "prediction-infinite"
        ),
        "ranking two queries": Case({k: v[:10] for k, v in rows.items()}, asked, "too-few-rows"),
    }


def _scores() -> dict[str, Case]:
    rng = np.random.default_rng(4)
    rows: dict[str, Any] = {"item": np.repeat(np.arange(ROWS // 2), 2), "new": rng.random(ROWS), "old": rng.random(ROWS)}
    rows["kind"] = rows["item"] % 2
    asked = _asked("scores", metric="mean_score", label=None, key="item")
    preferred = _asked("scores", metric="win_rate", label=None, candidate=None, champion=None, key="item", preference="who")
    lone = np.where(rows["item"] == 3, np.nan, rows["old"])
    frame = pl.DataFrame(rows).with_columns(old=pl.Series(lone).fill_nan(None))
    words = np.array(["A", "B"] * (ROWS // 2), dtype=object)
    items = np.where(np.arange(ROWS) == 3, None, rows["item"].astype(object))
    return {
        "scores NaN": Case(
            {name: rows[name] for name in ("new", "old")} | {"new": np.where(np.arange(ROWS) == 3, np.nan, rows["new"])},
            _asked("scores", metric="mean_score", label=None),
            "prediction-missing",
        ),
        "scores NaN in both runs": Case(
            rows | {"new": np.where(rows["item"] == 3, np.nan, rows["new"])}, asked, "item-of-one-model"
        ),
        "scores infinite": Case(
            rows | {"new": np.where(np.arange(ROWS) == 3, np.inf, rows["new"])}, asked, "prediction-infinite"
        ),
        "scores huge": Case(rows | {"new": rows["new"] * 1e200}, asked, "number-too-large"),
        "scores text": Case(rows | {"new": np.array(["good"] * ROWS, dtype=object)}, asked, "not-numeric"),
        "scores all null": Case(rows | {"new": np.array([None] * ROWS, dtype=object)}, asked, "prediction-missing"),
        "scores item of one model": Case(frame, asked, "item-of-one-model"),
        "scores item without key": Case(rows | {"item": items}, asked, "key-missing"),
        "scores slice within an item": Case(
            rows | {"kind": np.arange(ROWS) % 2}, asked | {"rules": [rule("mean_score", slices=["kind"])]}, "differs-in-item"
        ),
        "scores equal": Case(rows | {"new": rows["old"]}, asked, "candidate-equals-champion"),
        "scores single item": Case({k: v[:2] for k, v in rows.items()}, asked, "too-few-rows"),
        "preference unknown": Case(rows | {"who": np.where(words == "A", "left", "B")}, preferred, "preference-unknown"),
        "preference null": Case(rows | {"who": np.where(np.arange(ROWS) == 3, None, words)}, preferred, "prediction-missing"),
    }


CASES = _binary() | _other_columns() | _multiclass() | _multilabel() | _ranking() | _scores()
DOCUMENTED = (ROOT / "docs" / "reference" / "gate-policy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", sorted(CASES))
def test_what_is_bad_is_named_and_never_passes(case: str) -> None:
    rows, asked, code = CASES[case]
    report = check(rows, asked)
    assert report.verdict in {Verdict.INVALID, Verdict.INCONCLUSIVE}
    told = [*report.problems, *report.warnings]
    assert code in {problem.code for problem in told}
    if report.verdict is Verdict.INVALID:
        assert code in {problem.code for problem in report.problems}
    assert all(problem.fix and problem.what for problem in told)
    assert all(f"`{problem.code}`" in DOCUMENTED for problem in told)


def test_a_missing_column_names_the_nearest() -> None:
    reading = read_evidence(binary_rows(50), policy(candidate="newer"))
    assert [problem.code for problem in reading.problems] == ["column-missing"]
    assert "'new'" in reading.problems[0].what


def test_a_constant_champion_may_be_a_baseline() -> None:
    rows = binary_rows(2000) | {"old": np.full(2000, 0.5)}
    report = check(rows, policy())
    assert report.verdict is Verdict.PASS
    assert [warning.code for warning in report.warnings] == ["constant-predictions"]


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"labl": "y"}, "unknown-key"),
        ({"label": ""}, "bad-policy"),
        ({"query": "id"}, "bad-policy"),
        ({"preference": "y"}, "bad-policy"),
        ({"classes": ["a"]}, "bad-policy"),
        ({"task": "scores", "rules": [rule("mean_score")]}, "bad-policy"),
        ({"task": "ranking", "rules": [rule("map")]}, "bad-policy"),
        ({"task": "ranking", "query": "id", "rules": [rule("ndcg@0")]}, "bad-depth"),
        ({"task": "ranking", "query": "id", "rules": [rule("ndcg[cubic]@3")]}, "bad-metric"),
    ],
)
def test_a_policy_that_does_not_fit_its_task_is_refused(keys: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as refused:
        policy(**keys)
    assert refused.value.code == code
    assert refused.value.fix or refused.value.why


# Files


def _written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def _csv(n: int = 100, separator: str = ",", header: str = "id,y,new,old") -> str:
    rows = binary_rows(n)
    lines = [header.replace(",", separator)]
    lines += [separator.join(str(rows[name][place]) for name in ("id", "y", "new", "old")) for place in range(n)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("separator", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8-sig")])
def test_csv_with_other_separators_and_a_byte_order_mark(tmp_path: Path, separator: str, encoding: str) -> None:
    found = read_evidence(_written(tmp_path / "rows.csv", _csv(separator=separator), encoding), policy(key="id"))
    assert found.evidence is not None
    assert np.array_equal(found.evidence.candidate, binary_rows(100)["new"])


def test_names_with_quotes_and_line_breaks() -> None:
    rows = binary_rows(100)
    names = {"y": 'the "label"', "new": "neu\nü", "old": "old'; DROP TABLE x; --", "origin": "*", "tail": "a.b"}
    asked = policy(
        rule("brier", slices=["*"]),
        label=names["y"],
        candidate=names["new"],
        champion=names["old"],
        cluster=names["tail"],
        key='"',
    )
    found = read_evidence({names.get(name, name): values for name, values in rows.items()} | {'"': np.arange(100)}, asked)
    assert found.evidence is not None, found.problems
    assert np.array_equal(found.evidence.champion, rows["old"])


def test_names_that_the_reading_itself_uses() -> None:
    rows = binary_rows(600)
    names = {
        "y": "candidate_0", "new": "champion_0", "old": "label_0", "weight": "hash", "tail": "v", "id": "key", "origin": "slice_0",
    }  # fmt: skip
    renamed = {names[name]: rows[name] for name in names} | {
        "weight": rows["tail"] % 7,
        "k": rows["tail"] % 3,
        "n": rows["tail"] % 2,
    }
    asked = policy(
        rule("brier", slices=["slice_0", "weight", "k", "n"]),
        label="candidate_0", candidate="champion_0", champion="label_0", weight="hash", cluster="v", key="key",
    )  # fmt: skip
    found = read_evidence(renamed, asked).evidence
    assert found is not None
    assert np.array_equal(found.labels, rows["y"])
    assert np.array_equal(found.candidate, rows["new"])
    assert np.array_equal(found.champion, rows["old"])
    assert np.array_equal(found.weights, rows["weight"])
    assert found.slices["slice_0"].values == ["EWR", "JFK", "LGA"]
    assert np.array_equal(found.slices["k"].codes, rows["tail"] % 3)


def test_files_that_are_no_table(tmp_path: Path) -> None:
    pl.DataFrame({name: values.tolist() for name, values in binary_rows(5000).items()}).write_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    broken = bytearray(whole)
    broken[1000:-2000] = bytes(len(whole) - 3000)
    files = {
        "cut.parquet": (whole[: len(whole) // 2], "unreadable-file"),
        "zeros.parquet": (bytes(broken), "unreadable-file"),
        "empty.csv": (b"", "empty-file"),
        "twice.csv": (_csv(header="id,y,new,new").encode(), "duplicate-columns"),
        "rows.xlsx": (b"PK", "unknown-format"),
        "late text.csv": ((_csv(30_000) + "30000,1,much,0.5\n").encode(), "unreadable-file"),
        "comma.csv": (re.sub(r"0\.(\d)", r"0,\1", _csv(separator=";")).encode(), "not-numeric"),
    }
    for name, (content, code) in files.items():
        (tmp_path / name).write_bytes(content)
        report = check(tmp_path / name, policy())
        assert (name, report.verdict) == (name, Verdict.INVALID)
        assert [problem.code for problem in report.problems][:1] == [code], (name, report.problems)
        assert f"`{code}`" in DOCUMENTED
    assert [problem.code for problem in check(tmp_path / "gone.csv", policy()).problems] == ["file-not-found"]


@pytest.mark.parametrize("last", ["77", "77,", "77,1", "77,1,0.5"])
@pytest.mark.parametrize("rows", [20, 4000, 30_000])
def test_a_file_that_is_cut_is_told_as_cut(tmp_path: Path, rows: int, last: str) -> None:
    path = tmp_path / "cut.csv"
    path.write_text("\ufeff" + _csv(rows) + last)
    report = check(path, policy())
    assert report.verdict is Verdict.INVALID
    assert [problem.code for problem in report.problems] == ["unreadable-file"]
    assert "cut.csv seems to be cut" in report.problems[0].what
    assert f"with {last.count(',') + 1} of 4 columns" in report.problems[0].what


def test_a_compressed_file_that_is_cut(tmp_path: Path) -> None:
    whole = gzip.compress(_csv(4000).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    report = check(tmp_path / "cut.csv.gz", policy())
    assert [problem.code for problem in report.problems] == ["unreadable-file"]
    assert "seems to be cut" in report.problems[0].what


@pytest.mark.parametrize("name", ["rowid", "RowID"])
def test_a_column_called_as_the_rows_of_duckdb(name: str) -> None:
    rows = binary_rows(600)
    runs = {"new": rows["new"], "old": rows["old"]}
    asked = {"task": "scores", "candidate": "new", "champion": "old", "rules": [rule("mean_score")]}
    plain = read_evidence(runs | {"group": rows["tail"]}, parse_check_policy(asked | {"cluster": "group"})).evidence
    named = read_evidence(runs | {name: rows["tail"]}, parse_check_policy(asked | {"cluster": name})).evidence
    assert plain is not None
    assert named is not None
    assert named.rows == 600
    assert np.array_equal(named.candidate, plain.candidate)
    assert np.array_equal(named.clusters, plain.clusters)
    turned = {"id": rows["id"], "old": rows["old"]}
    ours = {"id": rows["id"], "y": rows["y"], "new": rows["new"], name: rows["id"][::-1].copy()}
    joined = read_evidence(ours, policy(key="id"), {"champion": turned}).evidence
    assert joined is not None
    assert np.array_equal(joined.keys, rows["id"])
    assert np.array_equal(joined.champion, rows["old"])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e75, 9.9e99, 1e-160])
def test_numbers_whose_powers_are_infinite_pass_nothing_unproven(scale: float) -> None:
    rng = np.random.default_rng(2)
    truth = np.clip(rng.normal(size=120), -1, 1)
    rows = {name: np.clip(truth + noise * rng.normal(size=120), -1, 1) for name, noise in (("y", 0), ("new", 0.3), ("old", 0.3))}
    rows = {name: values * scale for name, values in rows.items()} | {"s": np.arange(120) % 3, "c": np.arange(120) // 4}
    for metric in ("mae", "mse", "rmse", "r2", "pinball@0.9"):
        asked = [
            rule(metric, "not_worse", relative_margin=0.02, slices=["s"]),
            rule(metric),
            rule(metric, "gap", value=0.5, slices=["s"]),
        ]
        for one in asked:
            for more in ({}, {"cluster": "c"}):
                report = check(rows, policy(one, task="regression", **more))
                for found in report.rules if report.verdict is Verdict.PASS else []:
                    for shown in (found.candidate, found.difference or found.candidate):
                        assert shown.estimate is not None
                        assert np.isfinite(shown.estimate)
