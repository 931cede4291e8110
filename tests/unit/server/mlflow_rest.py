"""MLflow's REST API asked without a network, as its clients ask it: JSON both ways."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from server_client import Answer, Client

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


class Refused(Exception):
    """An answer that is no 200: its status, error code and message."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.code = answer.json["error_code"]
        self.message = answer.json["message"]
        assert set(answer.json) == {"error_code", "message"}
        super().__init__(f"{self.status} {self.code}: {self.message}")


class Rest:
    """Asks and returns the JSON of the answer."""

    def __init__(self, app: Any) -> None:
        self.client = Client(app)

    def get(self, path: str, /, **query: Any) -> Any:
        return self._json(self.client.send("GET", f"{API}{path}?{urlencode(query, doseq=True)}"))

    def post(self, path: str, /, **fields: Any) -> Any:
        return self.raw(path, json.dumps(fields).encode())

    def raw(self, path: str, body: bytes) -> Any:
        return self._json(self.client.send("POST", API + path, body, content_type="application/json"))

    def put(self, path: str, body: bytes) -> Answer:
        return self.client.send("PUT", f"{FILES}/{quote(path)}", body)

    def run(self, experiment: str = "0", **fields: Any) -> str:
        """The id of a new run."""
        return str(self.post("runs/create", experiment_id=experiment, **fields)["run"]["info"]["run_id"])

    def data(self, run_id: str) -> Any:
        return self.get("runs/get", run_id=run_id)["run"]["data"]

    def _json(self, answer: Answer) -> Any:
        if answer.status != 200:
            raise Refused(answer)
        return answer.json
