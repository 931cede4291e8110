from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegate import frames
from tidegate.clock import DAY
from tidegate.errors import BadInputError
from tidegate.monitoring import Labels
from tidegate.store.bucket.folder import FolderBucket


def frame(*rows: tuple[str, Any, int]) -> dict[str, Any]:
    return {
        "prediction_id": np.array([row[0] for row in rows], dtype=object),
        "label": np.array([row[1] for row in rows]),
        "known_at": np.array([row[2] for row in rows], dtype="datetime64[us]"),
    }


def known(labels: Labels, start: int = 0, end: int = 10 * DAY) -> dict[str, Any]:
    with frames.connect() as con:
        rows = frames.to_columns(labels.read(con, start, end))
    return dict(zip(rows["prediction_id"].tolist(), rows["label"].tolist(), strict=True))


def test_the_same_rows_count_once(bucket: FolderBucket) -> None:
    labels = Labels(bucket, "delay")
    batch = frame(("a", 0, 1), ("b", 1, DAY + 1), ("a", 0, 1))
    assert labels.add(batch) == 2
    assert labels.add(batch) == 0
    assert labels.add(frame(("b", 1, DAY + 1), ("c", 0, DAY + 2))) == 1
    assert known(labels) == {"a": 0, "b": 1, "c": 0}


def test_of_different_labels_the_newest_one_counts_and_the_dispute_is_told(bucket: FolderBucket) -> None:
    labels = Labels(bucket, "delay")
    labels.add(frame(("a", 0, 1), ("b", 1, 1)))
    assert labels.add(frame(("a", 1, 3 * DAY))) == 1
    assert known(labels) == {"a": 1, "b": 1}
    with frames.connect() as con:
        assert frames.to_columns(labels.conflicts(con, 0, 10 * DAY))["prediction_id"].tolist() == ["a"]


def test_a_label_is_not_known_before_its_time(bucket: FolderBucket) -> None:
    labels = Labels(bucket, "delay")
    labels.add(frame(("a", 0, 1)))
    labels.add(frame(("a", 1, 3 * DAY), ("late", 1, 3 * DAY)))
    assert known(labels, 0, 3 * DAY) == {"a": 0}
    assert known(labels, 0, 3 * DAY + 1) == {"a": 1, "late": 1}


def test_two_labels_at_the_same_moment_are_decided_the_same_way_twice(bucket: FolderBucket) -> None:
    labels = Labels(bucket, "delay")
    labels.add(frame(("a", 0, 1)))
    labels.add(frame(("a", 1, 1)))
    assert known(labels) == {"a": 1}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"prediction_id": np.array(["a"]), "label": np.array([1])}, "labels-column-missing"),
        (frame(("a", float("nan"), 1)), "labels-null"),
        ({**frame(("a", 1, 1)), "prediction_id": np.array([None], dtype=object)}, "labels-null"),
        ({**frame(("a", 1, 1)), "known_at": np.array(["yesterday"], dtype=object)}, "labels-time"),
    ],
)
def test_bad_labels_are_refused_whole(bucket: FolderBucket, broken: dict[str, Any], code: str) -> None:
    labels = Labels(bucket, "delay")
    with pytest.raises(BadInputError) as caught:
        labels.add(broken)
    assert caught.value.code == code
    assert known(labels) == {}


def test_texts_and_booleans_are_labels_too(bucket: FolderBucket) -> None:
    assert Labels(bucket, "one").add(frame(("a", "late", 1))) == 1
    flags = Labels(bucket, "two")
    flags.add(frame(("a", True, 1)))
    flags.add(frame(("b", 0, 1)))
    assert known(flags) == {"a": 1, "b": 0}
