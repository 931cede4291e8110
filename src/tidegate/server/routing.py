"""Addresses to answers. Most of MLflow's addresses are fixed texts: those are looked up, the rest is matched one by one."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send


class Routing:
    """ASGI: looks fixed paths up before it asks ``app``, which knows all routes and answers what nothing matches."""

    def __init__(self, app: Starlette, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._fixed: dict[tuple[str, str], ASGIApp] = {}
        for route in routes:
            if isinstance(route, Route) and "{" not in route.path:
                for method in route.methods or set():
                    self._fixed.setdefault((method, route.path), route.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            fixed = self._fixed.get((scope["method"], scope["path"]))
            if fixed is not None:
                await fixed(scope, receive, send)
                return
        await self._app(scope, receive, send)
