"""Who is told: webhooks, signed as Standard Webhooks says, and chats, e-mail and pagers by Apprise."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import logging
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from tidegate.clock import SECOND, Clock, from_us
from tidegate.digest import of_bytes, short
from tidegate.errors import UsageError, missing_extra
from tidegate.notices.line import Line, RefusedAddressError, allowing
from tidegate.records.notice import Notice
from tidegate.settings import Settings

_PREFIX = "whsec_"
_SHORTEST_SECRET = 24


class DeliveryError(Exception):
    """A target did not take a notice; the text says what it answered. ``wait`` is how long it asked to be left alone, in seconds."""

    def __init__(self, text: str, wait: int = 0) -> None:
        super().__init__(text)
        self.wait = wait


class NoticeTarget(Protocol):
    """One place that is told. Any number of threads may send at once."""

    id: str
    """The same for the same place, and without anything secret."""
    name: str
    """As people may see it."""

    def send(self, notice: Notice) -> None:
        """Tells it once.

        Raises:
            DeliveryError: it did not take the notice; whoever asks may try again later.
        """
        ...


def signature(secret: str, delivery: str, at: int, body: bytes) -> str:
    """The header ``webhook-signature``: HMAC-SHA256 of id, time (seconds) and body, joined by dots.

    Source: Standard Webhooks, "Signature scheme", github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
    """
    signed = hmac.new(signing_secret(secret), f"{delivery}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed.digest()).decode()}"


def signing_secret(text: str) -> bytes:
    """The bytes of a secret: ``whsec_`` and base 64.

    Raises:
        UsageError: it is none, or shorter than 24 bytes. It is not repeated.
    """
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(_PREFIX) or len(secret) < _SHORTEST_SECRET:
        raise UsageError(
            "bad-webhook-secret",
            "the setting webhook_secret is no secret of a webhook",
            why="it begins with whsec_, and 24 to 64 random bytes in base64 follow",
            fix="make one: python -c \"import base64, secrets; print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\"",
        )
    return secret


def notice_targets(settings: Settings, clock: Clock) -> list[NoticeTarget]:
    """Everybody whom the settings of a project name."""
    line = allowing(list(settings.webhook_networks))
    secret = settings.webhook_secret.get_secret_value()
    webhooks = [Webhook(url.get_secret_value(), secret, clock, line) for url in settings.webhooks]
    return [*webhooks, *(Chat(url.get_secret_value()) for url in settings.notify)]


class Webhook:
    """An address that gets a signed POST: ``{"type", "timestamp", "data"}``, where ``data`` holds title, text and what happened."""

    def __init__(self, url: str, secret: str, clock: Clock, line: Line) -> None:
        """``line`` says which addresses may be reached."""
        self.id = short(of_bytes(url.encode()))
        self.name = f"webhook at {_host(url)}"
        self._url = url
        self._secret = secret
        self._clock = clock
        self._line = line

    def send(self, notice: Notice) -> None:
        """See ``NoticeTarget``: whatever is not answered with 2xx was not taken; no redirect is followed."""
        at = self._clock.now() // SECOND
        told = {**notice.data, "title": notice.title, "text": notice.text, "urgent": notice.urgent}
        body = msgspec.json.encode({"type": notice.type, "timestamp": from_us(notice.at).isoformat(), "data": told})
        try:
            signed = signature(self._secret, notice.id, at, body)
            headers = {"webhook-id": notice.id, "webhook-timestamp": str(at), "webhook-signature": signed}
            status, text, again = self._line.post(self._url, body, headers | {"Content-Type": "application/json"})
        except UsageError as error:
            raise DeliveryError(f"{error.what}: {error.why}") from None
        except RefusedAddressError as error:
            raise DeliveryError(str(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DeliveryError(f"{type(error).__name__}: {error}") from None
        if not 200 <= status < 300:
            wait = int(again) if again.isascii() and again.isdigit() and len(again) < 6 else 0
            raise DeliveryError(f"it answered {status}: {text[:200]}", wait)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "no address"
    except ValueError:
        return "no address"


class Chat:
    """A chat, mailbox or pager, by an address of Apprise such as ``slack://...`` or ``mailto://...``. The owner of the settings chose it."""

    def __init__(self, url: str) -> None:
        self.id = short(of_bytes(url.encode()))
        self.name = f"{url.partition(':')[0]} by apprise"
        self._url = url

    def send(self, notice: Notice) -> None:
        """See ``NoticeTarget``."""
        chat = _apprise(self._url)
        try:
            taken = chat.notify(
                title=notice.title, body=notice.text or notice.title, notify_type="failure" if notice.urgent else "info"
            )
        except Exception as error:  # noqa: BLE001 - a hundred services, each with errors of its own
            raise DeliveryError(f"{type(error).__name__}") from None
        if not taken:
            raise DeliveryError(f"{self.name} did not take it")


def _apprise(url: str) -> Any:
    try:
        import apprise
    except ImportError:
        raise DeliveryError(missing_extra("notify", "apprise", "telling chats").fix) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its lines hold addresses, and those hold tokens
    chat = apprise.Apprise()
    if not chat.add(url):
        raise DeliveryError("apprise does not know such an address")
    return chat
