"""Files judged in portions: the same report as from memory, the same refusals, and when it is done at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_rows import binary_rows, policy, rule
from msgspec.structs import replace

from tidegate import frames
from tidegate.errors import BadInputError
from tidegate.gate import check, streaming
from tidegate.gate.policy import parse_check_policy
from tidegate.gate.streaming import footer_of, stream, why_not_streamed
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict

METRICS = ("accuracy", "f1", "precision", "recall@0.4", "log_loss", "brier")
ROWS = 6000


def _written(rows: dict[str, Any], folder: Path, group: int = 2048) -> Path:
    file = folder / "rows.parquet"
    with frames.connect() as con:
        frames.relation(con, rows).create_view("written")
        con.execute(f"COPY (SELECT * FROM written) TO {frames.literal(str(file))} (FORMAT parquet, ROW_GROUP_SIZE {group})")
    return file


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written(binary_rows(ROWS), tmp_path_factory.mktemp("streaming"))


@pytest.mark.parametrize(
    "keys", [{}, {"cluster": "tail", "key": "id"}, {"weight": "weight"}, {"cluster": "tail", "weight": "weight"}]
)
def test_the_report_is_that_of_rows_in_memory(file: Path, keys: dict[str, str]) -> None:
    rules = [rule(metric, slices=["origin"]) for metric in METRICS] + [rule("log_loss", "floor", value=0.5)]
    asked = policy(*rules, **keys)
    expected = check(file, asked)
    for portion in (700, 5000):
        found = stream(file, asked, portion=portion)
        assert found.rules == [replace(each, tipping=None) for each in expected.rules]
        assert found.clusters == expected.clusters
        assert found.reading.warnings == expected.warnings
        assert found.reading.rows == expected.rows


def test_regression_is_streamed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.gamma(5, size=5000)
    file = _written({"y": y, "a": y + rng.normal(size=5000), "b": y + rng.normal(size=5000)}, tmp_path)
    keys = {"task": "regression", "label": "y", "candidate": "a", "champion": "b"}
    asked = parse_check_policy(
        keys | {"rules": [rule(name, "not_worse", margin=0.1) for name in ("mae", "rmse", "r2", "mape", "coverage")]}
    )
    assert stream(file, asked, portion=1111).rules == [replace(each, tipping=None) for each in check(file, asked).rules]


def test_decisions_of_many_classes_are_streamed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.array(["a", "b", "c", "d"])[rng.integers(0, 4, ROWS)]
    y[-1] = "rare"  # stands in the last portion alone
    rows = {"y": y, "new": np.where(rng.random(ROWS) < 0.8, y, "a"), "old": np.where(rng.random(ROWS) < 0.7, y, "b")}
    file = _written({name: values.astype(object) for name, values in rows.items()}, tmp_path)
    keys = {"task": "multiclass", "label": "y", "candidate": "new", "champion": "old"}
    asked = parse_check_policy(keys | {"rules": [rule("accuracy"), rule("recall[c]"), rule("mcc")]})
    assert stream(file, asked, portion=1111).rules == [replace(each, tipping=None) for each in check(file, asked).rules]


def _bad(**columns: Any) -> dict[str, Any]:
    return binary_rows(ROWS) | columns


def _with(name: str, place: int, value: float) -> Any:
    column = binary_rows(ROWS)[name].astype(float)
    column[place] = value
    return column


@pytest.mark.parametrize(
    "rows",
    [
        _bad(new=_with("new", 5000, np.nan)),
        _bad(old=_with("old", 10, np.inf)),
        _bad(new=_with("new", 5999, 1.5)),
        _bad(y=_with("y", 3000, 2.0)),
        _bad(y=np.zeros(ROWS)),
        _bad(id=np.arange(ROWS) // 2),
        _bad(old=binary_rows(ROWS)["new"]),
        _bad(new=np.full(ROWS, 0.5)),
        _bad(weight=_with("weight", 7, -1.0)),
        _bad(origin=np.arange(ROWS)),
        {"y": [1, 0], "new": [0.5, 0.5]},
    ],
)
def test_what_is_refused_in_memory_is_refused(rows: dict[str, Any], tmp_path: Path) -> None:
    asked = policy(rule("log_loss", slices=["origin"]), rule("accuracy"), key="id", weight="weight")
    file = _written(rows, tmp_path)
    expected = check(file, asked)
    found = stream(file, asked, portion=1000)
    assert expected.verdict is Verdict.INVALID
    assert found.reading.problems == expected.problems
    assert found.rules == [replace(each, tipping=None) for each in expected.rules]


def test_decisions_have_no_log_loss_streamed_or_not(tmp_path: Path) -> None:
    """The first half of the rows would not tell: they hold only decisions in either file."""
    rows = binary_rows(ROWS)
    hard = (rows["new"] >= 0.5).astype(float)
    half = np.where(np.arange(ROWS) < ROWS // 2, hard, rows["new"])
    for new, verdict in ((hard, Verdict.INVALID), (half, Verdict.PASS)):
        file = _written(rows | {"new": new}, tmp_path)
        asked = policy(rule("log_loss", "not_worse", margin=50.0))
        found, expected = stream(file, asked, portion=1000).rules, check(file, asked).rules
        assert found[0].verdict is expected[0].verdict is verdict
        assert found[0].reason == expected[0].reason


def test_a_large_file_is_streamed_by_itself(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tidegate.gate.check"], "MOST_IN_MEMORY", 1000)
    told: list[tuple[int, int]] = []
    report = check(file, policy(rule("brier")), progress=lambda done, rows: told.append((done, rows)))
    assert "rows-streamed" in _codes(report)
    assert report.rows == ROWS
    assert told[0] == (0, ROWS)
    assert told[-1] == (ROWS, ROWS)
    memory = check(file, policy(rule("brier"), rule("roc_auc")))
    assert "rows-in-memory" in _codes(memory)
    assert memory.verdict is Verdict.PASS


def _codes(report: Report) -> list[str]:
    return [warning.code for warning in report.warnings]


def test_what_cannot_be_streamed_is_said() -> None:
    assert why_not_streamed(policy(rule("f1"), rule("log_loss"))) == ""
    assert why_not_streamed(policy(rule("roc_auc"))) == "roc_auc is not made of sums"
    assert "anchor" in why_not_streamed(policy(rule("f1", "not_worse"), anchor="older"))
    assert "explores" in why_not_streamed(policy(rule("f1"), explore=["origin"]))
    assert why_not_streamed(policy(rule("f1")), ["y", "rowid"]) == ""


def test_a_column_of_the_name_that_numbers_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tidegate.gate.check"], "MOST_IN_MEMORY", 100)
    rows = binary_rows(600)
    for name in ("file_row_number", "File_Row_Number"):
        path = tmp_path / f"{name}.parquet"
        with frames.connect() as con:
            frames.write_parquet(frames.relation(con, rows | {name: rows["tail"]}), path)
        report = check(path, policy(rule("f1"), cluster=name))
        assert _codes(report) == ["rows-in-memory"]
        assert report.rules == check(rows, policy(rule("f1"), cluster="tail")).rules


def test_copies_are_told_of_portions_too(tmp_path: Path) -> None:
    path = tmp_path / "twice.parquet"
    with frames.connect() as con:
        rows = {name: np.tile(values, 2) for name, values in binary_rows(600).items()}
        frames.write_parquet(frames.relation(con, rows), path)
    assert [found.code for found in stream(path, policy(rule("f1"))).reading.warnings] == ["rows-repeated"]
    assert stream(path, policy(rule("f1"), cluster="id")).reading.warnings == []


def test_the_footer_tells_how_many_rows(file: Path, tmp_path: Path) -> None:
    assert footer_of(file) == (ROWS, list(binary_rows(10)))
    assert footer_of(binary_rows(10)) is None
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 nothing")
    assert footer_of(broken) is None
    with pytest.raises(BadInputError, match="cannot be read"):
        stream(broken, policy())


def test_row_groups_are_read_whole_where_they_fit(file: Path) -> None:
    with frames.connect() as con:
        assert list(streaming._portions(con, file, 5000)) == [(0, 4095), (4096, 5999)]
        assert list(streaming._portions(con, file, 1500)) == [
            (0, 1499),
            (1500, 2047),
            (2048, 3547),
            (3548, 4095),
            (4096, 5595),
            (5596, 5999),
        ]
