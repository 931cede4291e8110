"""The port of the protocols over HTTP. One file here per protocol; which path speaks which stands in ``serving.routes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from tidegate.errors import TidegateError, UsageError
from tidegate.frames import Columns
from tidegate.records.model import ModelVersion, Signature
from tidegate.serving.protocols.request import Request

Headers = Mapping[bytes, bytes]
"""A request's headers by lower-case name, as ASGI has them."""

JSON = (b"content-type", b"application/json")

_LONGEST = 400


class Encoded(NamedTuple):
    """An answer's body, and its headers but for the length."""

    body: bytes
    headers: list[tuple[bytes, bytes]]


class HttpProtocol(Protocol):
    """How predict requests and their answers look. Pure and without state: bytes in, columns out, and back; from any thread."""

    @property
    def slow_types(self) -> frozenset[bytes]:
        """Content types that take long to decode, and are decoded beside the event loop."""
        ...

    def decode(self, body: bytes, headers: Headers, signature: Signature, max_rows: int) -> Request:
        """A predict request from its body.

        Raises:
            UsageError: the body is no request of this protocol.
            BadInputError: its rows do not fit the signature, or are too many.
        """
        ...

    def encode(self, version: ModelVersion, request: Request, outputs: Columns, ids: list[str]) -> Encoded:
        """The answer of ``version``; ``ids`` has a prediction id for each row."""
        ...

    def refusal(self, error: TidegateError, status: int) -> bytes:
        """An error as JSON."""
        ...


def told(error: TidegateError) -> str:
    """An error's texts in one, with its code at the end. Each is cut where it is long: gRPC's clients drop an error of 16 KB."""
    parts = [part if len(part) <= _LONGEST else f"{part[:_LONGEST]}..." for part in (error.what, error.why, error.fix) if part]
    return f"{'. '.join(parts)} [{error.code}]"


def content_type(headers: Headers) -> bytes:
    """The content type in lower case, without parameters; empty if none is given."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


def wrong_content_type(given: bytes, served: str) -> UsageError:
    """The error for a body of another kind."""
    return UsageError(
        "wrong-content-type", f"the content type {given[:80].decode('latin-1')!r} is not served", fix=f"send {served}"
    )
