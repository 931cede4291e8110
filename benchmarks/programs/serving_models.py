"""The models that every server of the benchmark serves: fitted anew wherever they are needed, from the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.kernel_ridge import KernelRidge


def rows(width: int, count: int = 1000) -> NDArray[Any]:
    """[count, width] rows."""
    return np.random.default_rng(0).normal(size=(count, width))


def fitted(name: str, seed: int = 0) -> tuple[Any, NDArray[Any], str]:
    """A fitted estimator, its rows and its task: ``forest`` (20 columns), ``boosted`` (10), or ``native`` and ``heavy``, which ONNX cannot hold."""
    table = rows(10 if name == "boosted" else 20, 4000 if name == "heavy" else 1000)
    noisy = table[:, 0] + np.random.default_rng(1).normal(size=len(table))
    if name in ("native", "heavy"):
        return KernelRidge(kernel="laplacian", alpha=1.0).fit(table, noisy), table, "regression"
    label = (noisy > 0).astype(int)
    if name == "boosted":
        return HistGradientBoostingClassifier(random_state=0).fit(table, label), table, "binary"
    return RandomForestClassifier(100, max_depth=6, n_jobs=1, random_state=seed).fit(table, label), table, "binary"
