"""Serving: a followed model behind HTTP. Needs the bucket alone, never the database."""

from __future__ import annotations

from tidegate.serving.server import serve

__all__ = ["serve"]
