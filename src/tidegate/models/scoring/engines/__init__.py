"""Engines that call the model for portions of rows, one file each."""

from __future__ import annotations

from tidegate.models.scoring.engines.port import Engine, PackedModel
from tidegate.models.scoring.engines.registered import engine_names, find_engine

__all__ = ["Engine", "PackedModel", "engine_names", "find_engine"]
