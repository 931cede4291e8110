from __future__ import annotations

from monitoring_world import template, world

__all__ = ["template", "world"]
