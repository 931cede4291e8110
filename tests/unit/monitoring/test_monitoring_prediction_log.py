from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate import frames
from tidegate.clock import DAY, HOUR
from tidegate.errors import UsageError
from tidegate.monitoring import PredictionLog, prediction_log
from tidegate.monitoring.prediction_log import PredictionColumns
from tidegate.records.serving import Prediction
from tidegate.store.bucket.folder import FolderBucket


def prediction(place: int, *, at: int = 0, version: int = 1, **inputs: Any) -> Prediction:
    return Prediction(
        id=f"p{place}",
        model="delay",
        version=version,
        event_at=at,
        served_at=at + 5,
        seconds=0.001,
        inputs=inputs,
        outputs={"y": 0.5},
    )


def read(log: PredictionLog, start: int, end: int) -> dict[str, Any]:
    with frames.connect() as con:
        return frames.to_columns(log.read(con, start, end).order("event_at, prediction_id"))


def test_what_was_appended_is_read_back_by_time(bucket: FolderBucket) -> None:
    log = PredictionLog(bucket, "delay")
    log.append([prediction(place, at=place * HOUR, x=float(place), name=f"n{place}") for place in range(60)])
    rows = read(log, 20 * HOUR, 30 * HOUR)
    assert rows["prediction_id"].tolist() == [f"p{place}" for place in range(20, 30)]
    assert rows["in.x"].tolist() == [float(place) for place in range(20, 30)]
    assert rows["in.name"].tolist()[0] == "n20"
    assert rows["event_at"].dtype == np.dtype("datetime64[us]")
    assert log.days() == ["1970-01-01", "1970-01-02", "1970-01-03"]
    assert log.span() == (0, 3 * DAY)


def test_versions_with_other_inputs_are_united_by_name(bucket: FolderBucket) -> None:
    log = PredictionLog(bucket, "delay")
    log.append([prediction(1, at=1, old=1)])
    log.append([prediction(2, at=2, version=2, new="a")])
    rows = read(log, 0, DAY)
    assert rows["version"].tolist() == [1, 2]
    assert rows["in.old"][0] == 1
    assert np.isnan(rows["in.old"][1])
    assert rows["in.new"].tolist() == [None, "a"]


def test_missing_values_stay_missing(bucket: FolderBucket) -> None:
    log = PredictionLog(bucket, "delay")
    log.append([prediction(1, at=1, whole=3, text=None, never=None), prediction(2, at=2, whole=None, text="a", never=None)])
    rows = read(log, 0, DAY)
    assert rows["in.whole"][0] == 3
    assert np.isnan(rows["in.whole"][1])
    assert rows["in.text"].tolist() == [None, "a"]
    assert np.isnan(rows["in.never"].astype(float)).all()


def test_appending_the_same_list_again_writes_nothing_twice(bucket: FolderBucket) -> None:
    log = PredictionLog(bucket, "delay")
    rows = [prediction(place, at=place * HOUR) for place in range(30)]
    log.append(rows)
    log.append(rows)
    assert len(read(log, 0, 2 * DAY)["prediction_id"]) == 30
    assert len(list(bucket.keys("monitoring/delay/"))) == 2


def test_nothing_served_gives_no_rows(bucket: FolderBucket) -> None:
    log = PredictionLog(bucket, "delay")
    log.append([])
    assert read(log, 0, DAY)["version"].size == 0
    assert log.span() is None


def test_a_name_that_leaves_the_bucket_is_refused(bucket: FolderBucket) -> None:
    with pytest.raises(UsageError):
        PredictionLog(bucket, "../delay")


def test_columns_are_written_as_their_rows_would_be(bucket: FolderBucket) -> None:
    times = [5, DAY + 1, 7]
    rows = [
        Prediction(
            id=f"p{place}", model="delay", version=2, event_at=at, served_at=at + 5, seconds=0.5 + place,
            inputs={"x": None if place == 1 else float(place), "X.0": place, "X.1": -place, "name": None if place == 2 else "a"},
            outputs={"y": place / 4},
        )
        for place, at in enumerate(times)
    ]  # fmt: skip
    columns = PredictionColumns(
        "delay", 2, [row.id for row in rows], np.array(times), np.array(times) + 5, np.array([0.5, 1.5, 2.5]),
        {"x": np.array([0.0, np.nan, 2.0]), "X": np.array([[0, 0], [1, -1], [2, -2]]), "name": np.array(["a", "a", None])},
        {"y": np.array([0.0, 0.25, 0.5])},
    )  # fmt: skip
    by_row, by_column = PredictionLog(bucket, "delay"), PredictionLog(bucket, "other")
    by_row.append(rows)
    by_column.append_columns(columns)
    by_column.append_columns(columns)
    assert by_row.days() == by_column.days()
    one, two = read(by_row, 0, 2 * DAY), read(by_column, 0, 2 * DAY)
    assert list(one) == list(two)
    for name, values in one.items():
        assert values.dtype == two[name].dtype
        np.testing.assert_array_equal(values, two[name])


def test_rows_of_very_many_days_share_a_part(bucket: FolderBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "MOST_DAYS", 4)
    log = PredictionLog(bucket, "delay")
    days = [*range(-30, 30), *[7] * 5, *[9] * 5]
    ids = [f"p{place}" for place in range(len(days))]
    times = np.array(days) * DAY + HOUR
    numbers = np.arange(len(days), dtype=float)
    columns = PredictionColumns("delay", 1, ids, times, times, numbers, {"x": numbers}, {"y": numbers})
    log.append_columns(columns)
    log.append_columns(columns)
    assert len(list(bucket.keys("monitoring/delay/"))) == 4 + 1
    assert len(list(bucket.keys("monitoring/delay/1970-01-08/"))) == 1
    assert len(log.days()) == 60
    assert read(log, -31 * DAY, 30 * DAY)["in.x"].size == len(days)
    for day in (-30, 0, 7, 29):
        rows = read(log, day * DAY, (day + 1) * DAY)["prediction_id"].tolist()
        assert rows == [name for name, at in zip(ids, days, strict=True) if at == day]
