"""Serving: a followed model behind HTTP. Needs the bucket alone, never the database.

Loaded on demand: who moves a rollout on needs no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lazy import exports

if TYPE_CHECKING:
    from tidegate.serving.server import Address, Offer, serve

__all__ = ["Address", "Offer", "serve"]

__getattr__, __dir__ = exports(__name__, {"server": ["Address", "Offer", "serve"]})
