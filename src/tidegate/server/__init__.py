"""The web pages and the HTTP API of a project, and MLflow's protocol over its store."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tidegate.errors import missing_extra
from tidegate.server.address import check_token, listen, loopback_address, token_of, url_of

if TYPE_CHECKING:
    from tidegate.server.app import create_app
    from tidegate.server.running import run_server

__all__ = ["check_token", "create_app", "listen", "loopback_address", "run_server", "token_of", "url_of"]

_LAZY = {"create_app": "app", "run_server": "running"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(name)
    try:
        return getattr(importlib.import_module(f"tidegate.server.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        module = str(error.name)
        if module.split(".", maxsplit=1)[0] in {"jinja2", "starlette", "uvicorn"}:
            raise missing_extra("server", module, "the web server") from None
        raise
