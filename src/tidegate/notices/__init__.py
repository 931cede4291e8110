"""Telling the world: an outbox, signed webhooks to public addresses alone, and chats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lazy import exports

if TYPE_CHECKING:
    from tidegate.notices.line import Line, RefusedAddressError, allowing, is_public
    from tidegate.notices.outbox import Outbox
    from tidegate.notices.targets import Chat, DeliveryError, NoticeTarget, Webhook, notice_targets

__all__ = [
    "Chat",
    "DeliveryError",
    "Line",
    "NoticeTarget",
    "Outbox",
    "RefusedAddressError",
    "Webhook",
    "allowing",
    "is_public",
    "notice_targets",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "line": ["Line", "RefusedAddressError", "allowing", "is_public"],
        "outbox": ["Outbox"],
        "targets": ["Chat", "DeliveryError", "NoticeTarget", "Webhook", "notice_targets"],
    },
)
