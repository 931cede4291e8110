"""The registry of metrics."""

from __future__ import annotations

import pytest

from tidegate.errors import UsageError
from tidegate.gate.metrics import CATALOGUE, metric_names, parse_metric


def test_names_and_thresholds() -> None:
    assert parse_metric("recall@0.3", "binary").threshold == 0.3
    assert parse_metric("recall", "binary").threshold == 0.5
    assert parse_metric("f1@.25", "binary").threshold == 0.25
    assert parse_metric("accuracy", "multiclass").sign == 1
    assert parse_metric("rmse", "regression").sign == -1


def test_every_metric_belongs_to_a_task_and_tells_what_it_is() -> None:
    for name, entry in CATALOGUE.items():
        assert entry.metric.name == name
        assert entry.metric.about
        assert entry.tasks
        assert all(name in metric_names(task) for task in entry.tasks)


@pytest.mark.parametrize(
    "name", ["recall@", "recall@0", "recall@-1", "recall@1e-1", "recall@x", "accuracy@0.5@0.5", "Recall", ""]
)
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        parse_metric(name, "binary")


def test_multiclass_accuracy_takes_no_threshold() -> None:
    with pytest.raises(UsageError, match="takes no threshold"):
        parse_metric("accuracy@0.5", "multiclass")
