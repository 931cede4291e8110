"""The web application of a project: its addresses, and what stands before them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from tidegate.errors import NotFoundError, TidegateError, missing_extra
from tidegate.release import may_break_glass
from tidegate.server import api
from tidegate.server.address import token_of
from tidegate.server.answers import API, Answers, Handler, as_json
from tidegate.server.approving import approval_route
from tidegate.server.guard import Guard
from tidegate.server.mlflow import is_protocol, mlflow_refusal, mlflow_routes
from tidegate.server.mlflow.protocol import THREADS, in_thread
from tidegate.server.native import native_routes
from tidegate.server.pages import data, decisions, health, models, monitoring, overview, releases, rollouts, runs
from tidegate.server.routing import Routing
from tidegate.workspace import Workspace

PAGES: dict[str, Handler] = {
    "/": overview.show_overview,
    "/search": overview.search,
    "/runs": runs.list_runs,
    "/runs/{run}": runs.show_run,
    "/runs/{run}/artifacts/{artifact:path}": runs.download_artifact,
    "/compare": runs.compare_runs,
    "/models": models.list_models,
    "/models/{model}": models.show_model,
    "/models/{model}/versions/{version}": models.show_version,
    "/models/{model}/diff/{before}/{after}": models.show_diff,
    "/models/{model}/receipts/{receipt}": models.show_receipt,
    "/models/{model}/receipts/{receipt}/report": models.report_page,
    "/releases": releases.show_releases,
    "/rollouts": rollouts.list_rollouts,
    "/rollouts/{model}/{number}": rollouts.show_rollout,
    "/monitoring": monitoring.list_monitored,
    "/monitoring/{model}": monitoring.show_monitoring,
    "/decisions": decisions.list_decisions,
    "/decisions/{decision}": decisions.show_decision,
    "/data": data.list_datasets,
    "/data/{dataset}": data.show_dataset,
    "/data/{dataset}/{number}": data.show_snapshot,
    "/health": health.show_health,
}

ENDPOINTS: dict[str, Handler] = {
    "/api/v1/overview": api.overview,
    "/api/v1/runs": api.runs,
    "/api/v1/runs/{run}": api.run,
    "/api/v1/runs/{run}/metrics/{metric:path}": api.metric,
    "/api/v1/models": api.models,
    "/api/v1/models/{model}": api.model,
    "/api/v1/models/{model}/ledger": api.ledger,
    "/api/v1/models/{model}/versions/{version}": api.version,
    "/api/v1/models/{model}/receipts/{receipt}": api.receipt,
    "/api/v1/models/{model}/windows": api.windows,
    "/api/v1/models/{model}/served": api.served,
    "/api/v1/rollouts": api.rollouts,
    "/api/v1/rollouts/{model}/{number}": api.rollout,
    "/api/v1/approvals": api.approvals,
    "/api/v1/notices": api.notices,
    "/api/v1/alerts": api.alerts,
    "/api/v1/decisions": api.decisions,
    "/api/v1/decisions/{decision}": api.decision,
    "/api/v1/data": api.datasets,
    "/api/v1/data/{dataset}": api.dataset,
    "/api/v1/data/{dataset}/{number}": api.snapshot,
    "/api/v1/health": api.health,
}

# The part of plotly that draws street maps adds a style of its own to the page, unless an element with its id is there.
_OWN_STYLE = re.compile(r'if\(!document\.getElementById\("([0-9a-f]{64})"\)\)')
_STATIC = Path(__file__).parent / "pages" / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def create_app(workspace: Workspace) -> ASGIApp:
    """The pages, their API and MLflow's protocol over a workspace as an ASGI application.

    Without the setting ``token`` only this machine may ask it; with it, who has the token.

    Raises:
        UnavailableError: the extra ``server`` is not installed completely.
    """
    plotly = _plotly()
    answers = Answers(workspace, own_styles=_OWN_STYLE.findall(plotly.read_text(encoding="utf-8")))
    files = {path.name: path for path in _STATIC.iterdir() if path.suffix in _KINDS} | {"plotly.js": plotly}

    async def static(request: Request) -> Response:
        path = files.get(request.path_params["file"])
        if path is None:
            return answers.error(request.url.path, _nothing_there(), 404)
        headers = {"cache-control": "max-age=3600" if path.name.startswith("plotly") else "no-cache"}
        return FileResponse(path, media_type=_KINDS[path.suffix], headers=headers)

    async def listing(_request: Request) -> Response:
        return as_json({"endpoints": list(ENDPOINTS)})

    def refuse(path: str, error: TidegateError, status: int) -> Response:
        if is_protocol(path):
            return mlflow_refusal(error, status, path)
        if status == 401 and not path.startswith(API):  # a page would name the project
            return PlainTextResponse(f"{error.what}\n{error.fix}\n", status)
        return answers.error(path, error, status)

    async def unanswered(request: Request, error: Exception) -> Response:
        return refuse(request.url.path, _nothing_there(), error.status_code if isinstance(error, HTTPException) else 500)

    async def health_word(request: Request) -> Response:
        """A page for browsers; for MLflow's clients, and for who watches over servers, one word that needs no token."""
        if "text/html" in request.headers.get("accept", ""):
            return await in_thread(answers.endpoint(health.show_health), request)
        return PlainTextResponse("OK")

    shown = {path: handler for path, handler in {**PAGES, **ENDPOINTS}.items() if path != "/health"}
    routes: list[BaseRoute] = [Route(path, answers.endpoint(handler)) for path, handler in shown.items()]
    routes += [Route("/health", health_word), Route("/api/v1", listing), Route("/static/{file}", static)]
    routes.append(approval_route(answers))
    routes += mlflow_routes(workspace)
    ungated = workspace.project.settings.allow_ungated
    routes += native_routes(workspace.store, allow_ungated=ungated, may_break_glass=_may_break_glass(workspace))
    handlers: dict[Any, Any] = {HTTPException: unanswered}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=_lifespan)
    app.router.redirect_slashes = False
    return Guard(Routing(app, routes), refuse, token=token_of(workspace.project))


def _may_break_glass(workspace: Workspace) -> Callable[[str, str], bool]:
    def may(model: str, actor: str) -> bool:
        policy = workspace.policies.get(model)
        return policy is not None and may_break_glass(actor, policy.release)

    return may


@asynccontextmanager
async def _lifespan(_app: Starlette) -> AsyncGenerator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def _nothing_there() -> TidegateError:
    return NotFoundError(
        "no-such-page",
        "nothing has that address",
        why="it was never there, or is spelled otherwise",
        fix="start from the overview",
    )


def _plotly() -> Path:
    """Plotly's script out of its installed package, which is not imported: that would take a second."""
    found = importlib.util.find_spec("plotly")
    if found is None or found.origin is None:
        raise missing_extra("server", "plotly", "the charts of the web pages")
    return Path(found.origin).parent / "package_data" / "plotly.min.js"
