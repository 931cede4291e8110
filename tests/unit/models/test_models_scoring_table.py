"""Portions: together they are the file, however it is cut into groups of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import frames
from tidegate.models.scoring import table
from tidegate.models.scoring.table import Table, connected, open_table, ranges, read_portion
from tidegate.records.model import Tensor

NUMBER = [Tensor(name="wind", dtype="float64", shape=[-1, 1])]


def parquet(path, rows, group):
    with frames.connect() as con:
        con.execute(
            f"COPY (SELECT range::DOUBLE AS wind FROM range({rows})) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {group})"
        )
    return path


@settings(max_examples=25)
@given(st.integers(0, 9000), st.sampled_from([2048, 4096, 100000]), st.integers(100, 5000))
def test_portions_are_the_file_in_order(tmp_path, rows, group, portion):
    path = parquet(tmp_path / "may.parquet", rows, group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "PORTION", portion)
        patch.setattr(table, "_LEAST", 100)
        opened = open_table(0, path, "may", NUMBER, [], tmp_path)
        spans = list(ranges(opened))
        with connected(tmp_path) as con:
            read = [read_portion(con, opened, NUMBER, 0, first, last).columns["wind"] for first, last in spans]
    assert opened.rows == rows
    assert np.concatenate(read).tolist() == list(range(rows))
    assert all(last - first < portion for first, last in spans)
    assert opened.staged == (min(rows, group) > 4 * portion)


def test_wide_rows_come_in_smaller_portions(tmp_path):
    path = parquet(tmp_path / "may.parquet", 122_880, 122_880)
    one = Table(0, "may", path, 122_880, {"wind": ["wind"]}, staged=False)
    wide = one._replace(parts={"X": ["wind"] * 1000})
    assert len(list(ranges(one))) == 2
    assert len(list(ranges(wide))) > 20


@pytest.mark.parametrize(
    ("dtype", "text", "value"),
    [
        ("float64", "1.5", 1.5),
        ("float64", " 1e3 ", 1000.0),
        ("float64", "", None),
        ("float64", "1,5", "refused"),
        ("int64", "9007199254740993", 9007199254740993),
        ("int64", "1.0", 1),
        ("int64", "1.5", "refused"),
        ("int32", "3000000000", "refused"),
        ("bool", "true", True),
        ("bool", "maybe", "refused"),
        ("string", "007", "007"),
    ],
)
def test_text_is_read_as_what_the_model_takes(tmp_path, dtype, text, value):
    path = tmp_path / "may.csv"
    path.write_text(f'wind,note\n"{text}",x\n')
    tensors = [Tensor(name="wind", dtype=dtype, shape=[-1, 1], nullable=True)]
    opened = open_table(0, path, "may", tensors, [], tmp_path)
    with connected(tmp_path) as con:
        portion = read_portion(con, opened, tensors, 0, 0, 0)
    if value == "refused":
        assert portion.problems[0][0] == "wrong-type"
        return
    assert portion.problems == {}
    found = portion.columns["wind"].tolist()[0]
    assert found == value or (value is None and np.isnan(found))
