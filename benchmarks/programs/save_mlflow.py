"""Writes a model as MLflow's folder. Arguments: model, folder."""

from __future__ import annotations

import sys

import mlflow.sklearn
from serving_models import fitted

estimator, _, _ = fitted(sys.argv[1])
mlflow.sklearn.save_model(estimator, sys.argv[2], serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba")
