"""A project whose MLflow routes are asked without a network, as a client would: JSON in, JSON out."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import Any
from urllib.parse import quote, urlencode

from starlette.applications import Starlette

from tidegate.workspace import Workspace

NOUNS = ("experiments", "runs", "metrics", "inputs", "artifacts", "registry", "versions", "aliases", "logged_models")
MLMODEL = b"""
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}
signature:
  inputs: '[{"type": "double", "name": "wind", "required": true}, {"type": "string", "name": "carrier", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
"""
FILES = {"MLmodel": MLMODEL, "model.pkl": b"\x80\x04weights", "requirements.txt": b"mlflow==3.18.0\nscikit-learn==1.9.1\n"}


class Refused(AssertionError):
    """The server answered with an error."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.code = body["error_code"]
        self.message = body["message"]


class RegistryHouse:
    """One workspace behind its routes."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        routes = [route for noun in NOUNS for route in import_module(f"tidegate.server.mlflow.{noun}").routes(workspace)]
        self._app = Starlette(routes=routes)

    def ask(self, method: str, path: str, **fields: Any) -> Any:
        """The answer's JSON; an error is raised as ``Refused``."""
        query = urlencode(fields, doseq=True) if method == "GET" else ""
        body = b"" if method == "GET" else json.dumps(fields).encode()
        status, answer = asyncio.run(self._send(method, f"/api/2.0/mlflow/{path}", query, body))
        found = json.loads(answer)
        if status != 200:
            raise Refused(status, found)
        return found

    def upload(self, path: str, data: bytes) -> None:
        self._file("PUT", path, data)

    def download(self, path: str) -> bytes:
        return self._file("GET", path)

    def remove(self, path: str) -> None:
        self._file("DELETE", path)

    def _file(self, method: str, path: str, data: bytes = b"") -> bytes:
        status, answer = asyncio.run(self._send(method, f"/api/2.0/mlflow-artifacts/artifacts/{path}", "", data))
        if status != 200:
            raise Refused(status, json.loads(answer))
        return answer

    def listed(self, path: str) -> list[str]:
        status, answer = asyncio.run(self._send("GET", "/api/2.0/mlflow-artifacts/artifacts", urlencode({"path": path}), b""))
        assert status == 200, answer
        return [item["path"] for item in json.loads(answer).get("files", [])]

    def run(self) -> str:
        """A new run in the default experiment."""
        return self.ask("POST", "runs/create", experiment_id="0")["run"]["info"]["run_id"]

    def run_with_model(self, files: dict[str, bytes] | None = None, folder: str = "model") -> str:
        run_id = self.run()
        for path, data in (files or FILES).items():
            self.upload(f"0/{run_id}/artifacts/{folder}/{path}", data)
        return run_id

    def logged(self, name: str = "model", run_id: str = "", files: dict[str, bytes] | None = None, **more: Any) -> str:
        found = self.ask("POST", "logged-models", experiment_id="0", name=name, source_run_id=run_id, **more)
        info = found["model"]["info"]
        root = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        for path, data in (FILES if files is None else files).items():
            self.upload(f"{root}/{path}", data)
        return info["model_id"]

    def model(self, name: str = "delay", versions: int = 1, **more: Any) -> str:
        """A registered model with some versions, all of one run; returns the run."""
        self.ask("POST", "registered-models/create", name=name, **more)
        run_id = self.run_with_model()
        for _ in range(versions):
            self.version(name, run_id)
        return run_id

    def version(self, name: str, run_id: str, **more: Any) -> dict[str, Any]:
        asked = {"source": f"runs:/{run_id}/model", "run_id": run_id, **more}
        return self.ask("POST", "model-versions/create", name=name, **asked)["model_version"]

    def get(self, name: str = "delay") -> dict[str, Any]:
        return self.ask("GET", "registered-models/get", name=name)["registered_model"]

    def get_version(self, number: int, name: str = "delay") -> dict[str, Any]:
        return self.ask("GET", "model-versions/get", name=name, version=str(number))["model_version"]

    def events(self, name: str = "delay") -> list[Any]:
        return [entry.event for entry in self.workspace.release.history(name)]

    async def _send(self, method: str, path: str, query: str, body: bytes) -> tuple[int, bytes]:
        raw = quote(path, safe="/@%")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": path,
            "raw_path": raw.encode(), "query_string": query.encode(), "headers": [(b"host", b"127.0.0.1")],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7070), "root_path": "",
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        asked = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if asked.is_set():
                await asyncio.Event().wait()
            asked.set()
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        return sent[0]["status"], b"".join(item.get("body", b"") for item in sent if item["type"] == "http.response.body")
