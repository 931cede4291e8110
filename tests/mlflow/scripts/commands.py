"""The command line: ``mlflow experiments``, ``mlflow runs``, ``mlflow artifacts``."""

import csv
import io
import json
import pathlib
import subprocess
import sys
import tempfile

from mlflow import MlflowClient
from observing import NAME, attempt, see

client = MlflowClient()
place = pathlib.Path(tempfile.mkdtemp())
(place / "a.txt").write_text("hello")


def mlflow(*arguments):
    done = subprocess.run([sys.executable, "-m", "mlflow", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


experiment = client.create_experiment(NAME)
run_id = client.create_run(experiment, run_name="shown").info.run_id
client.log_param(run_id, "p", "1")
code, text = mlflow("experiments", "csv", "-x", experiment)
see(
    "experiments csv",
    [code, [{key: row[key] for key in ("status", "params.p") if key in row} for row in csv.DictReader(io.StringIO(text))]],
)
code, text = mlflow("runs", "list", "--experiment-id", experiment)
see("runs list", [code, "shown" in text, run_id in text])
code, text = mlflow("runs", "describe", "--run-id", run_id)
see("runs describe", [code, json.loads(text)["data"]["params"]])
see("artifacts log-artifact", mlflow("artifacts", "log-artifact", "-l", str(place / "a.txt"), "-r", run_id, "-a", "in")[0])
code, text = mlflow("artifacts", "list", "-r", run_id, "-a", "in")
see("artifacts list", [code, [[item["path"], item["is_dir"]] for item in json.loads(text)]])
code, text = mlflow("artifacts", "download", "-r", run_id, "-a", "in/a.txt", "-d", str(place / "back"))
see("artifacts download", [code, (place / "back" / "in" / "a.txt").exists() or (place / "back" / "a.txt").exists()])
see("runs delete", mlflow("runs", "delete", "--run-id", run_id)[0])
attempt("deleted", lambda: client.get_run(run_id).info.lifecycle_stage)
see("runs describe none", mlflow("runs", "describe", "--run-id", "0" * 32)[0] != 0)
