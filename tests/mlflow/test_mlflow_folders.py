"""Folders that ``tidegate model export`` wrote, loaded by real MLflow, in the environment that ``tools/peers`` made for it."""

import json
import site
import subprocess
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from tidegate.models import Candidate, PythonModel
from tidegate.models.mlflow_folder import export_mlflow
from tidegate.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "build" / "peers" / "mlflow3" / "bin" / "python"
SCRIPT = """
import sys, json, warnings
sys.path += json.loads(sys.argv[1])  # Tidegate and what it needs, behind MLflow's own
warnings.simplefilter("ignore")
import pandas as pd
import mlflow.onnx, mlflow.pyfunc
rows = pd.DataFrame(json.loads(sys.argv[4]))
told = {"plain": mlflow.pyfunc.load_model(sys.argv[2]).predict(rows[["wind"]])["probability"].tolist()}
try:
    mlflow.pyfunc.load_model(sys.argv[3])
except Exception as error:
    told["refused"] = str(error)
code = mlflow.pyfunc.load_model(sys.argv[3], model_config={"allow_code": True})
told["code"] = code.predict(rows[["wind"]])["prediction"].tolist()
told["graph"] = [entry.name for entry in mlflow.onnx.load_model(sys.argv[2]).graph.input]
print(json.dumps(told))
"""


@pytest.mark.timeout(600)
def test_real_mlflow_loads_what_was_exported(tmp_path, monkeypatch):
    (tmp_path / "doubling.py").write_text("def predict(rows, by):\n    return rows['wind'] * by\n")
    monkeypatch.syspath_prepend(tmp_path)
    rows = pd.DataFrame({"wind": np.linspace(0, 40, 50)})
    fitted = LogisticRegression().fit(rows, rows["wind"] > 20)
    workspace = Workspace.open(tmp_path)
    plain = workspace.register(Candidate("late", fitted, rows, "binary"))
    code = workspace.register(Candidate("twice", PythonModel(import_module("doubling").predict, {"by": 2}), rows, "regression"))
    for version in (plain, code):
        export_mlflow(workspace.store.bucket, version, tmp_path / version.name)
    workspace.store.close()
    places = [str(ROOT / "src"), *site.getsitepackages()]
    command = [
        PYTHON,
        "-c",
        SCRIPT,
        json.dumps(places),
        tmp_path / "late",
        tmp_path / "twice",
        json.dumps(rows[:3].to_dict("list")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(told["plain"], fitted.predict_proba(rows[:3])[:, 1], atol=1e-5)
    np.testing.assert_allclose(told["code"], rows["wind"][:3] * 2)
    assert "loads-code" in told["refused"]
    assert told["graph"]
