import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tidegate import frames
from tidegate.errors import BadInputError, NotFoundError

ROWS = [(1, "a"), (2, None), (None, "c")]


@pytest.fixture
def con():
    with frames.connect() as connection:
        yield connection


def test_no_bar_of_progress_is_printed_where_no_file_runs():
    asked = "SELECT current_setting('enable_progress_bar')"
    program = f"from tidegate.frames import connect; con = connect(); print(con.execute({asked!r}).fetchall())"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[(False,)]\n"


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"x": [1, 2, None], "s": ["a", None, "c"]}),
        pl.DataFrame({"x": [1, 2, None], "s": ["a", None, "c"]}).to_pandas(),
        pa.table({"x": [1, 2, None], "s": ["a", None, "c"]}),
        {"x": np.array([1, 2, None], dtype=object), "s": np.array(["a", None, "c"], dtype=object)},
    ],
    ids=["polars", "pandas", "pyarrow", "mapping"],
)
def test_any_frame_gives_the_same_rows_twice(con, frame):
    relation = frames.relation(con, frame)
    assert relation.fetchall() == ROWS
    assert relation.fetchall() == ROWS


def test_a_relation_of_another_connection_is_taken(con):
    with frames.connect() as other:
        assert frames.relation(con, other.sql("SELECT 1 AS x")).fetchall() == [(1,)]
    assert frames.relation(con, con.sql("SELECT 2 AS x")).fetchall() == [(2,)]


def test_files_are_read_by_their_name(con, tmp_path):
    frames.write_parquet(con.sql("SELECT 1 AS x"), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert frames.relation(con, tmp_path / "a.parquet").fetchall() == frames.relation(con, str(tmp_path / "a.csv")).fetchall()


def test_times_lose_their_zone_and_keep_their_moment(con):
    moment = pd.Timestamp("2013-01-01 01:00", tz="Europe/Berlin")
    relation = frames.relation(con, pd.DataFrame({"t": [moment]}))
    assert [str(kind) for kind in relation.types] == ["TIMESTAMP"]
    assert frames.to_columns(relation)["t"][0] == np.datetime64("2013-01-01T00:00")


def test_nulls_become_nan_nat_and_none(con):
    columns = frames.to_columns(
        con.sql("SELECT * FROM (VALUES (1, 1.5, 'a', TIMESTAMP '2013-01-01'), (NULL, NULL, NULL, NULL)) AS t(i, f, s, t)")
    )
    assert np.isnan(columns["i"][1])
    assert np.isnan(columns["f"][1])
    assert columns["s"][1] is None
    assert np.isnat(columns["t"][1])


def test_names_and_texts_are_quoted(con):
    name, text = 'we"ird', "it's"
    rows = con.sql(f"SELECT {frames.literal(text)} AS {frames.quote(name)}")
    assert (rows.columns, rows.fetchall()) == ([name], [(text,)])


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda folder: folder / "absent.parquet", NotFoundError, "no file"),
        (lambda folder: _write(folder / "e.csv", b""), BadInputError, "is empty"),
        (lambda folder: _write(folder / "x.parquet", b"no parquet"), BadInputError, "cannot be read"),
        (lambda folder: _write(folder / "x.docx", b"x"), BadInputError, "neither Parquet nor CSV"),
        (lambda _: 7, BadInputError, "is not a dataframe"),
        (lambda _: {"a": [1], "b": [1, 2]}, BadInputError, "differ in length"),
    ],
)
def test_what_is_no_frame_is_refused(con, tmp_path, make, error, text):
    with pytest.raises(error, match=text):
        frames.relation(con, make(tmp_path))


def _write(path, data):
    path.write_bytes(data)
    return path


def test_a_two_dimensional_array_is_a_column_of_lists():
    with frames.connect() as con:
        rows = frames.relation(con, {"a": np.arange(3), 'p "q"': np.arange(6.0).reshape(3, 2)})
        assert rows.columns == ["a", 'p "q"']
        assert rows.fetchall() == [(0, (0.0, 1.0)), (1, (2.0, 3.0)), (2, (4.0, 5.0))]
        with pytest.raises(BadInputError, match="has no columns"):
            frames.relation(con, {"a": np.arange(3), "p": np.empty((3, 0))})


def test_arrays_that_are_turned_round_are_read_in_their_order():
    with frames.connect() as con:
        rows = frames.relation(con, {"a": np.arange(3)[::-1], "b": np.array(["x", "y", "z"], dtype=object)[::-1]})
        assert rows.fetchall() == [(2, "z"), (1, "y"), (0, "x")]


@pytest.mark.parametrize("header", ["a,b,a", "a;b;a", "\ufeffa,b,a", "a,b, a"])
def test_a_header_that_names_a_column_twice_is_refused(tmp_path, header):
    separator = ";" if ";" in header else ","
    path = tmp_path / "rows.csv"
    path.write_text(
        header + "\n" + separator.join(["1", "2", "3"]) + "\n" + separator.join(["4", "5", "6"]) + "\n", encoding="utf-8"
    )
    with frames.connect() as con, pytest.raises(BadInputError, match="names the column 'a' 2 times"):
        frames.relation(con, path)


def test_a_column_may_be_called_like_a_second_one(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,a_1\n1,2\n", encoding="utf-8")
    with frames.connect() as con:
        assert frames.relation(con, path).columns == ["a", "a_1"]


def test_a_range_of_a_parquet_file_is_read_by_itself(tmp_path):
    file = tmp_path / "rows.parquet"
    with frames.connect() as con:
        frames.write_parquet(frames.relation(con, {"x": np.arange(10) * 2}), file)
        part = frames.numbered(con, file).filter("file_row_number BETWEEN 3 AND 5")
        assert frames.to_columns(part)["x"].tolist() == [6, 8, 10]
