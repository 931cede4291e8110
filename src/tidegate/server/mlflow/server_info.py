"""What a client asks about the server: ``/health``, ``/version``, ``server-info``."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tidegate.server.mlflow.protocol import both, encode
from tidegate.workspace import Workspace

SPOKEN = "3.18.0"
"""The version of MLflow whose protocol this is: clients that ask compare it with their own."""
_ABILITIES: dict[str, Any] = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": False,
    "multipart_downloads_enabled": False,
    "artifact_serving_enabled": True,
    "presigned_upload_run_id_supported": False,
    "presigned_upload_model_id_supported": False,
    "model_artifact_presigned_downloads_supported": False,
    "features_enabled": {},
    "tracking_auth": "",
    "artifacts_presigned_only": False,
}


def routes(_workspace: Workspace) -> list[Route]:
    """The routes about the server itself. ``/health`` is the application's, which has a page of that name."""

    async def version(_request: Request) -> Response:
        return PlainTextResponse(SPOKEN)

    async def abilities(_request: Request) -> Response:
        return Response(encode(_ABILITIES), media_type="application/json")

    return [Route("/version", version), *(Route(path, abilities) for path in both("server-info", "3.0"))]
