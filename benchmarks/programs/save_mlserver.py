"""Writes a model as MLServer's folder. Arguments: model, folder, port."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
from serving_models import fitted

name, folder, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
folder.mkdir(parents=True)
joblib.dump(fitted(name)[0], folder / "model.joblib")
ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
settings = ports | {"parallel_workers": 0, "host": "127.0.0.1"}
model = {"name": name, "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"}}
(folder / "settings.json").write_text(json.dumps(settings))
(folder / "model-settings.json").write_text(json.dumps(model))
