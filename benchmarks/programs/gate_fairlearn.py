"""Fairlearn's MetricFrame with its bootstrap, one model: seconds of so many resamples. Arguments: file of .npz, resamples."""

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from fairlearn.metrics import MetricFrame
from sklearn import metrics


def main() -> None:
    """Five metrics by slice; decisions and probabilities are both handed in as sample parameters."""
    warnings.simplefilter("ignore")
    columns = np.load(sys.argv[1])
    y, chances, region = columns["y"], columns["new"], columns["region"]

    def of_chances(metric: Any) -> Any:
        def measure(labels: Any, decided: Any, chance: Any) -> Any:
            del decided
            return metric(labels, chance)

        return measure

    functions = {
        "accuracy": metrics.accuracy_score,
        "f1": metrics.f1_score,
        "roc_auc": of_chances(metrics.roc_auc_score),
        "log_loss": of_chances(metrics.log_loss),
        "brier": of_chances(metrics.brier_score_loss),
    }
    start = time.perf_counter()
    MetricFrame(
        metrics=functions,
        y_true=y,
        y_pred=(chances >= 0.5).astype(int),
        sensitive_features=region,
        sample_params={name: {"chance": chances} for name in ("roc_auc", "log_loss", "brier")},
        n_boot=int(sys.argv[2]),
        ci_quantiles=[0.025, 0.975],
        random_state=0,
    )
    print("FOUND", json.dumps(time.perf_counter() - start))


if __name__ == "__main__":
    main()
