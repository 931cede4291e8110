"""The one definition of right."""

from __future__ import annotations

import numpy as np

from tidegate.gate.right import decided, right_rows


def test_decisions_of_probabilities_and_codes() -> None:
    assert decided(np.array([[0.2, 0.8], [0.5, 0.5]])).tolist() == [1, 0]
    assert decided(np.array([2.0, 0.0])).tolist() == [2, 0]


def test_right_is_what_the_task_says() -> None:
    labels = np.array([1.0, 0.0, 1.0])
    assert right_rows(np.array([0.3, 0.2, 0.9]), labels, "binary", 0.3).tolist() == [True, True, True]
    assert right_rows(np.array([0.3, 0.2, 0.9]), labels, "binary").tolist() == [False, True, True]
    assert right_rows(np.array([1.4, 0.0, 1.0]), labels, "regression", tolerance=0.4).tolist() == [True, True, True]
    assert right_rows(np.array([1.5, 0.0, 1.0]), labels, "regression", tolerance=0.4).tolist() == [False, True, True]
    assert right_rows(np.array([[0.1, 0.9], [0.9, 0.1]]), np.array([1.0, 1.0]), "multiclass").tolist() == [True, False]
    assert right_rows(np.array([[0.6, 0.4], [0.6, 0.4]]), np.array([[1.0, 0.0], [1.0, 1.0]]), "multilabel").tolist() == [
        True,
        False,
    ]
