"""BentoML with adaptive batching; which model is told by the environment variable MODEL. Started by ``bentoml serve``."""

from __future__ import annotations

import os
from typing import Annotated

import bentoml
import numpy as np
from serving_models import fitted


@bentoml.service(workers=1)
class Service:
    """One model, one worker."""

    def __init__(self) -> None:
        self.estimator, _, _ = fitted(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_latency_ms=1000)
    def predict(self, rows: Annotated[np.ndarray, bentoml.validators.DType("float64")]) -> np.ndarray:
        """Probabilities of the classes."""
        return self.estimator.predict_proba(rows)
