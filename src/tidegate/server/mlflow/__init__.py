"""MLflow's REST API over Tidegate's store: one file per noun of the protocol. Clients 2.x and 3.x use it unmodified."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute

from tidegate.errors import TidegateError
from tidegate.server.mlflow import (
    aliases,
    artifacts,
    assessments,
    evaluation_datasets,
    experiments,
    inputs,
    logged_models,
    metrics,
    registry,
    runs,
    server_info,
    spans,
    traces,
    traces_v2,
    versions,
    webhooks,
)
from tidegate.server.mlflow.protocol import MlflowError, refusal
from tidegate.workspace import Workspace

_PREFIXES = ("/api/2.0/", "/api/3.0/", "/ajax-api/")
_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    429: "REQUEST_LIMIT_EXCEEDED",
}


def mlflow_routes(workspace: Workspace) -> list[BaseRoute]:
    """Every route of the protocol, those of all nouns."""
    return [
        *server_info.routes(workspace),
        *experiments.routes(workspace),
        *runs.routes(workspace),
        *inputs.routes(workspace),
        *metrics.routes(workspace),
        *artifacts.routes(workspace),
        *registry.routes(workspace),
        *versions.routes(workspace),
        *aliases.routes(workspace),
        *logged_models.routes(workspace),
        *traces.routes(workspace),
        *traces_v2.routes(workspace),
        *assessments.routes(workspace),
        *spans.routes(workspace),
        *webhooks.routes(workspace),
        *evaluation_datasets.routes(workspace),
    ]


def is_protocol(path: str) -> bool:
    """Whether a path is one of MLflow's, so that its errors have MLflow's shape."""
    return path.startswith(_PREFIXES)


def mlflow_refusal(error: TidegateError, status: int, path: str) -> Response:
    """An error of the server itself, such as an address that is none, in MLflow's shape."""
    if error.code == "no-such-page":  # also when it takes other methods: clients then try another address
        return refusal(MlflowError("ENDPOINT_NOT_FOUND", f"This server has no endpoint {path} for that method."))
    sentence = ". ".join(part for part in (error.what, error.why, error.fix) if part)
    return refusal(MlflowError(_CODES.get(status, "BAD_REQUEST"), sentence, status=status))
