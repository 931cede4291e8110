"""The plain paired bootstrap with NumPy and scikit-learn: seconds of each resample. Arguments: file of .npz, resamples."""

import json
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn import metrics


def main() -> None:
    """Draws rows, computes five metrics of both models on all of them and on each slice, several times."""
    columns = np.load(sys.argv[1])
    y, models, region = columns["y"], (columns["new"], columns["old"]), columns["region"]
    chance = np.random.default_rng(0)
    slices = int(region.max()) + 1
    seconds = []
    for _ in range(int(sys.argv[2])):
        start = time.perf_counter()
        rows = chance.integers(0, len(y), len(y))
        order = rows[np.argsort(region[rows], kind="stable")]
        ends = np.concatenate([[0], np.cumsum(np.bincount(region[rows], minlength=slices))])
        parts = [rows, *(order[a:b] for a, b in pairwise(ends))]
        differences = []
        for part in parts:
            one, two = (_five(y[part], model[part]) for model in models)
            differences.append(one - two)
        seconds.append(time.perf_counter() - start)
    print("FOUND", json.dumps(seconds))


def _five(labels: Any, chances: Any) -> Any:
    decided = chances >= 0.5
    return np.array(
        [
            metrics.accuracy_score(labels, decided),
            metrics.f1_score(labels, decided),
            metrics.roc_auc_score(labels, chances),
            metrics.log_loss(labels, chances),
            metrics.brier_score_loss(labels, chances),
        ]
    )


if __name__ == "__main__":
    main()
