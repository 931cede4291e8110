"""Scoring of whole files: rows stream through a version, and predictions come out as one file, or none."""

from __future__ import annotations

from tidegate.models.scoring.engines import Engine, engine_names
from tidegate.models.scoring.score import Options, Scoring

__all__ = ["Engine", "Options", "Scoring", "engine_names"]
