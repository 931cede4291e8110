"""Which path asks what: of which model and version, by which protocol. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from tidegate.errors import NotFoundError, UsageError
from tidegate.serving.protocols.invocations import InvocationsProtocol
from tidegate.serving.protocols.kserve import KserveProtocol
from tidegate.serving.protocols.oip import OipProtocol
from tidegate.serving.protocols.port import HttpProtocol
from tidegate.serving.protocols.vertex import VertexProtocol

OIP: HttpProtocol = OipProtocol()
KSERVE: HttpProtocol = KserveProtocol()
INVOCATIONS: HttpProtocol = InvocationsProtocol()
VERTEX: HttpProtocol = VertexProtocol()

What = Literal[
    "infer", "metadata", "model ready", "rollout", "server", "live", "ready", "index", "load", "unload",
    "models v1", "model v1", "ping", "version", "health", "metrics",
]  # fmt: skip

_POST: frozenset[What] = frozenset({"infer", "index", "load", "unload"})
_KNOWN = "/v2, /v2/health/live, /v2/health/ready, /v2/models/NAME/infer, /v1/models/NAME:predict, /invocations, /ping, /health, /metrics"


class Asked(NamedTuple):
    """What a request asks. Model and version are empty where the path names none."""

    what: What
    model: str = ""
    version: str = ""
    protocol: HttpProtocol = OIP


def route(method: str, path: str, named: Mapping[str, Asked]) -> Asked:
    """What a path asks; a slash at its end says nothing. ``named`` are paths that the surroundings choose.

    Raises:
        NotFoundError: nothing is served there.
        UsageError: it takes another method.
    """
    asked = _find(path.strip("/").split("/")) if path not in named else named[path]
    if asked is None:
        raise NotFoundError("no-such-path", f"nothing is served at {path[:200]!r}", fix=f"served are {_KNOWN}")
    wanted = "POST" if asked.what in _POST else "GET"
    if method != wanted and (method, wanted) != ("HEAD", "GET"):
        raise UsageError("wrong-method", f"{path[:200]} takes {wanted}, not {method[:20]}", fix=f"send a {wanted} request")
    return asked


def _find(parts: list[str]) -> Asked | None:
    match parts:
        case ["v2", "models", model, "infer"]:
            return Asked("infer", model)
        case ["v2", *rest]:
            return _find_v2(rest)
        case ["v1", *rest]:
            return _find_v1(rest)
        case ["invocations"]:
            return Asked("infer", protocol=INVOCATIONS)
        case ["ping" | "version" | "health" | "metrics" as what]:
            return Asked(what)
        case _:
            return None


def _find_v2(parts: list[str]) -> Asked | None:
    match parts:
        case ["models", model, "versions", version, "infer"]:
            return Asked("infer", model, version)
        case ["models", model]:
            return Asked("metadata", model)
        case ["models", model, "versions", version]:
            return Asked("metadata", model, version)
        case ["models", model, "ready"]:
            return Asked("model ready", model)
        case ["models", model, "versions", version, "ready"]:
            return Asked("model ready", model, version)
        case ["models", model, "rollout"]:
            return Asked("rollout", model)
        case []:
            return Asked("server")
        case ["health", "live" | "ready" as what]:
            return Asked(what)
        case ["repository", "index"]:
            return Asked("index")
        case ["repository", "models", model, "load" | "unload" as what]:
            return Asked(what, model)
        case _:
            return None


def _find_v1(parts: list[str]) -> Asked | None:
    match parts:
        case ["models"]:
            return Asked("models v1", protocol=KSERVE)
        case ["models", model] | ["models", model, "versions", _]:
            version = parts[3] if len(parts) == 4 else ""
            last = version or model
            if not last.endswith(":predict"):
                return Asked("model v1", model, version, KSERVE)
            last = last.removesuffix(":predict")
            return Asked("infer", model, last, KSERVE) if version else Asked("infer", last, "", KSERVE)
        case _:
            return None
