"""Which engines there are."""

from __future__ import annotations

from tidegate.errors import UsageError
from tidegate.models.scoring.engines.local import LocalEngine
from tidegate.models.scoring.engines.port import Engine
from tidegate.models.scoring.engines.ray import RayEngine
from tidegate.records.names import nearest

_ENGINES: dict[str, type[LocalEngine | RayEngine]] = {kind.name: kind for kind in (LocalEngine, RayEngine)}


def engine_names() -> list[str]:
    """Their names, the default first."""
    return list(_ENGINES)


def find_engine(name: str) -> Engine:
    """The engine with this name.

    Raises:
        UsageError: there is none.
    """
    if name not in _ENGINES:
        raise UsageError("unknown-engine", f"no engine is called {name!r}", fix=nearest(name, engine_names()))
    return _ENGINES[name]()
