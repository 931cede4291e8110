"""Checks: every kind of broken row is counted and shown, and a table that keeps its contract passes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import frames
from tidegate.data import Contract, ContractError, check_file, check_rows, parse_contract
from tidegate.data.check import enforce
from tidegate.errors import BadInputError, NotFoundError, UsageError


def contract(*properties: dict[str, Any], quality: list[dict[str, Any]] | None = None) -> Contract:
    table = {"name": "t", "properties": list(properties), "quality": quality or []}
    return parse_contract(yaml.safe_dump({"kind": "DataContract", "apiVersion": "v3.1.0", "schema": [table]}))


def found(rows: Any, declared: Contract, *, text: bool = False) -> dict[tuple[str, str], int]:
    """Check and column to count, of what is broken."""
    with frames.connect() as con:
        result = check_rows(frames.relation(con, rows), declared, text=text)
    return {(violation.check, violation.column): violation.count for violation in result.violations}


@pytest.mark.parametrize(
    ("values", "declared", "broken"),
    [
        ([1, None, 3], {"required": True}, ("required", 1)),
        ([1.0, math.nan, None], {"required": True}, ("required", 2)),
        ([1, 1, 1, None, None], {"unique": True}, ("unique", 2)),
        ([1, 5, -2], {"logicalTypeOptions": {"minimum": 0}}, ("minimum", 1)),
        ([1, 5, 6], {"logicalTypeOptions": {"maximum": 5}}, ("maximum", 1)),
        ([0.0, math.nan, 7.5], {"logicalTypeOptions": {"minimum": 0}}, ("minimum", 1)),
        ([0, 1], {"logicalTypeOptions": {"exclusiveMinimum": 0}}, ("exclusiveMinimum", 1)),
        ([0, 1], {"logicalTypeOptions": {"exclusiveMaximum": 1}}, ("exclusiveMaximum", 1)),
        ([0, 5, 7], {"logicalTypeOptions": {"multipleOf": 5}}, ("multipleOf", 1)),
        (["ab", "abc", None], {"logicalTypeOptions": {"maxLength": 2}}, ("maxLength", 1)),
        (["", "abc", None], {"logicalTypeOptions": {"minLength": 1}}, ("minLength", 1)),
        (["AA1", "x", "zAA1"], {"logicalTypeOptions": {"pattern": "^[A-Z]{2}"}}, ("pattern", 2)),
        (["2013-01-02", "2012-12-31"], {"logicalType": "string", "logicalTypeOptions": {"minimum": "2013-01-01"}}, ("minimum", 1)),
        ([1, 2], {"logicalType": "string"}, ("type", 2)),
        (["1", "2"], {"logicalType": "integer"}, ("type", 2)),
        ([1.0, 2.5, None], {"logicalType": "integer"}, ("type", 1)),
        ([True, False], {"logicalType": "integer"}, ("type", 2)),
        ([1, None, None, 4], {"quality": [{"metric": "nullValues", "mustBeLessThan": 2}]}, ("nullValues", 2)),
        ([1, None, None, 4], {"quality": [{"metric": "nullValues", "unit": "percent", "mustBeLessThan": 50}]}, ("nullValues", 2)),
        (["a", "", "n/a"], {"quality": [{"metric": "missingValues", "mustBe": 0, "arguments": {"missingValues": [None, "", "n/a"]}}]}, ("missingValues", 2)),
        (["kg", "lb", None], {"quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["kg"]}}]}, ("invalidValues", 1)),
        ([1, 2, 3], {"quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": [1, 2]}}]}, ("invalidValues", 1)),
        (["A1", "b"], {"quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": "^[A-Z]"}}]}, ("invalidValues", 1)),
        ([1, 1, 2, 2], {"quality": [{"metric": "duplicateValues", "mustBeLessThan": 2}]}, ("duplicateValues", 2)),
        ([1, 2], {"quality": [{"type": "sql", "query": "SELECT count(*) FROM {object} WHERE {property} > 1", "mustBe": 0}]}, ("sql", 1)),
    ],
)  # fmt: skip
def test_each_check_counts_what_breaks_it(values: list[Any], declared: dict[str, Any], broken: tuple[str, int]) -> None:
    check, count = broken
    assert found(pl.DataFrame({"x": values}), contract({"name": "x", **declared})) == {(check, "x"): count}


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        ([1.0, 2.0, None], {"logicalType": "integer"}),
        ([1, 2], {"logicalType": "number", "logicalTypeOptions": {"minimum": 1, "maximum": 2}}),
        (["a", None], {"logicalType": "string", "unique": True}),
        ([None, None], {"quality": [{"metric": "nullValues", "mustBeBetween": [1, 3]}]}),
        ([1, None], {"quality": [{"metric": "nullValues", "unit": "percent", "mustBeLessOrEqualTo": 50}]}),
        ([1, 2], {"quality": [{"type": "sql", "query": "SELECT bool_and({column} > 0) FROM ${object}", "mustBe": True}]}),
        ([1, 2], {"quality": [{"type": "text", "description": "nice numbers"}, {"type": "custom", "engine": "soda"}]}),
    ],
)
def test_what_is_allowed_passes(values: list[Any], declared: dict[str, Any]) -> None:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Int64 if values == [None, None] else None)})
    assert found(frame, contract({"name": "x", **declared})) == {}


def test_rows_are_named_by_number_up_to_ten() -> None:
    frame = pl.DataFrame({"id": range(1, 51), "x": [None if i % 2 else i for i in range(50)]})
    declared = contract({"name": "id", "primaryKey": True}, {"name": "x", "required": True})
    with frames.connect() as con:
        result = check_rows(frames.relation(con, frame), declared)
    (violation,) = result.violations
    assert (violation.count, violation.of, result.rows, result.ok) == (25, 50, 50, False)
    assert violation.rows == [{"row": i, "id": i, "x": None} for i in range(2, 22, 2)]
    with pytest.raises(ContractError) as caught:
        enforce(result, declared, where="t.csv")
    assert "row 2: id=2, x=None" in caught.value.why
    assert "and 22 more" in caught.value.why


def test_a_column_called_row_does_not_confuse_the_numbers() -> None:
    with frames.connect() as con:
        result = check_rows(frames.relation(con, pl.DataFrame({"Row": [7, None]})), contract({"name": "Row", "required": True}))
    assert result.violations[0].rows == [{"row_": 2, "Row": None}]


def test_a_composite_primary_key_may_not_repeat_nor_be_null() -> None:
    frame = pl.DataFrame({"a": [1, 1, 1, None], "b": [1, 1, 2, 2]})
    declared = contract({"name": "a", "primaryKey": True}, {"name": "b", "primaryKey": True})
    assert found(frame, declared) == {("required", "a"): 1, ("primaryKey", "a, b"): 1}
    rule = {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["a", "b"]}}
    assert found(frame, contract({"name": "a"}, {"name": "b"}, quality=[rule])) == {("duplicateValues", "a, b"): 1}


def test_a_missing_column_is_told_with_the_nearest_and_hides_no_other_check() -> None:
    declared = contract(
        {"name": "origin", "primaryKey": True},
        {"name": "x", "required": True},
        quality=[{"type": "sql", "query": "SELECT count(origin) FROM {object}", "mustBe": 1}],
    )
    with frames.connect() as con:
        result = check_rows(
            frames.relation(con, pl.DataFrame({"orign": ["a"], "x": pl.Series([None], dtype=pl.Int64)})), declared
        )
    assert [violation.check for violation in result.violations] == ["missing-column", "required", "sql"]
    assert "did you mean 'orign'" in result.violations[0].message
    assert "not run" in result.violations[2].message


def test_a_table_without_rows_breaks_unless_allowed() -> None:
    empty = pl.DataFrame({"x": []}, schema={"x": pl.Int64})
    assert found(empty, contract({"name": "x", "required": True})) == {("rows", ""): 0}
    allowing = [{"metric": "rowCount", "mustBeGreaterOrEqualTo": 0}]
    assert found(empty, contract({"name": "x", "required": True}, quality=allowing)) == {}
    assert found(empty, contract({"name": "x"}, quality=[{"metric": "rowCount", "mustBeGreaterThan": 0}])) == {
        ("rowCount", ""): 0
    }


def test_warnings_are_told_but_do_not_block() -> None:
    rule = {"metric": "nullValues", "mustBe": 0, "severity": "warning", "name": "few nulls"}
    declared = contract({"name": "x", "quality": [rule]})
    with frames.connect() as con:
        result = check_rows(frames.relation(con, pl.DataFrame({"x": [1, None]})), declared)
    assert [(violation.check, violation.blocks) for violation in result.violations] == [("few nulls", False)]
    assert result.ok
    enforce(result, declared, where="t")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT nothing FROM {object}", "nothing"),
        ("DROP TABLE x", "not exactly one SELECT"),
        ("SELECT 1; SELECT 2", "not exactly one SELECT"),
        ("SELECT x, 1 FROM {object}", "one number"),
        ("SELECT 'a'", "one number"),
    ],
)
def test_a_query_that_cannot_be_run_is_an_error_not_a_pass(query: str, says: str) -> None:
    with pytest.raises(BadInputError) as caught:
        found(pl.DataFrame({"x": [1, 2]}), contract({"name": "x"}, quality=[{"type": "sql", "query": query, "mustBe": 0}]))
    assert caught.value.code == "contract-query-failed"
    assert says in caught.value.why


@pytest.mark.parametrize("query", ["SELECT max(x) FROM {object} WHERE x > 9", "SELECT 'nan'::DOUBLE FROM {object} LIMIT 1"])
def test_null_and_nan_satisfy_no_rule(query: str) -> None:
    for operator in ({"mustBeLessThan": 5}, {"mustBeGreaterThan": 5}, {"mustBe": 0}, {"mustBeBetween": [0, 5]}):
        declared = contract({"name": "x"}, quality=[{"type": "sql", "query": query, **operator}])
        assert ("sql", "") in found(pl.DataFrame({"x": [1, 2]}), declared)


def test_a_bound_of_another_type_is_refused() -> None:
    for bound in ("abc", float("inf")):
        with pytest.raises(UsageError) as caught:
            found(pl.DataFrame({"x": [1]}), contract({"name": "x", "logicalTypeOptions": {"minimum": bound}}))
        assert caught.value.code == "contract-invalid"


def test_times_are_compared_as_times() -> None:
    frame = pl.DataFrame({"x": ["2013-01-01 00:00:00", "2012-12-31 23:59:59"]}).with_columns(pl.col("x").str.to_datetime())
    for bound in ("2013-01-01", "2013-01-01T00:00:00"):
        declared = contract({"name": "x", "logicalType": "timestamp", "logicalTypeOptions": {"minimum": bound}})
        assert found(frame, declared) == {("minimum", "x"): 1}
    assert found(frame, contract({"name": "x", "logicalType": "date"})) == {("type", "x"): 2}


def test_csv_text_is_read_as_the_contract_says(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,zip,when,paid,ok\n1,007,2013-01-01,5,true\n2,12,2013-02-01 10:00:00,x7,0\n3,999,never,nan,maybe\n")
    declared = contract(
        {"name": "id", "logicalType": "integer"},
        {"name": "zip", "logicalType": "string", "logicalTypeOptions": {"minLength": 3}},
        {"name": "when", "logicalType": "timestamp", "logicalTypeOptions": {"minimum": "2013-01-15"}},
        {"name": "paid", "logicalType": "number", "required": True, "logicalTypeOptions": {"maximum": 10}},
        {"name": "ok", "logicalType": "boolean"},
        quality=[{"type": "sql", "query": "SELECT sum({object}.paid) FROM {object} WHERE id = 1", "mustBe": 5}],
    )
    result = check_file(path, declared)
    assert {(violation.check, violation.column): [row["row"] for row in violation.rows] for violation in result.violations} == {
        ("minLength", "zip"): [2],
        ("type", "when"): [3],
        ("minimum", "when"): [1],
        ("type", "paid"): [2],
        ("required", "paid"): [3],
        ("maximum", "paid"): [3],
        ("type", "ok"): [3],
    }


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "note.md").write_text("hello")
    for name, kind, code in (
        ("empty.csv", BadInputError, "empty-file"),
        ("note.md", BadInputError, "unknown-format"),
        ("no.csv", NotFoundError, "file-not-found"),
    ):
        with pytest.raises(kind) as caught:
            check_file(tmp_path / name, contract({"name": "x"}))
        assert caught.value.code == code


@settings(max_examples=60)
@given(
    values=st.lists(st.one_of(st.none(), st.sampled_from([math.nan, math.inf, -math.inf]), st.floats(-5, 5)), min_size=1, max_size=12),
    low=st.integers(-4, 0), high=st.integers(0, 4),
)  # fmt: skip
def test_counts_agree_with_plain_python(values: list[float | None], low: int, high: int) -> None:
    declared = contract(
        {"name": "x", "logicalType": "number", "required": True, "logicalTypeOptions": {"minimum": low, "maximum": high}}
    )
    there = [value for value in values if value is not None]
    expected = {
        ("required", "x"): sum(value is None or math.isnan(value) for value in values),
        ("minimum", "x"): sum(not value >= low for value in there),
        ("maximum", "x"): sum(not value <= high for value in there),
    }
    counts = found(pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)}), declared)
    assert counts == {check: count for check, count in expected.items() if count}
