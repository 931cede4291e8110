"""MLflow's own scoring client, from an environment of its own, against a server process. ``tools/peers`` makes the environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = """
import json, sys
import numpy as np, pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.ping()
frame = pd.DataFrame({"wind": [12.5, np.nan, 3.0], "seats": [100, 200, 51], "carrier": ["UA", "AA", "??"]})
columns = frame.to_dict("list")
seen = {
    "version": client.get_version(),
    "frame": client.invoke(frame).get_predictions().to_dict("list"),
    "columns": client.invoke(json.dumps({"inputs": columns})).get_predictions().to_dict("list"),
    "records": client.invoke(frame.dropna().to_dict("records")).get_predictions().to_dict("list"),
    "params": client.invoke(frame, params={"event_time": "2013-06-01T05:00:00Z"}).get_predictions().shape,
    "json": json.loads(client.invoke(frame).to_json()),
}
try:
    client.invoke(frame.drop(columns="wind"))
except Exception as error:
    seen["refused"] = str(error)
print("seen:" + json.dumps(seen))
"""
ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("peer", ["mlflow3", "mlflow2"])
def test_mlflows_client_scores_here_as_with_its_own_server(shop, server, peer, tmp_path):
    python = ROOT / "build" / "peers" / peer / "bin" / "python"
    assert python.exists(), f"{python} is missing: tools/peers installs it"
    running = server()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [python, "-W", "ignore", script, str(running.port)],
        capture_output=True, text=True, cwd=tmp_path, check=False, timeout=200,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "seen:" in done.stdout, done.stderr[-3000:]
    seen = json.loads(done.stdout.rpartition("seen:")[2])
    frame = pd.DataFrame({"wind": [12.5, np.nan, 3.0], "seats": [100, 200, 51], "carrier": ["UA", "AA", "??"]})
    expected = shop.estimator.predict_proba(frame)[:, 1]
    np.testing.assert_allclose(seen["frame"]["probability"], expected, atol=1e-5)
    assert seen["frame"] == seen["columns"]
    np.testing.assert_allclose(seen["records"]["probability"], expected[[0, 2]], atol=1e-5)
    assert seen["params"] == [3, 2]
    assert len(seen["json"]["prediction_ids"]) == 3
    assert "missing-feature" in seen["refused"]
