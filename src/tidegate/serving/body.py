"""A request's body: read within a time and a size, and unpacked within the same size."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from tidegate.errors import UnavailableError, UsageError
from tidegate.serving.admission import OverloadedError
from tidegate.serving.protocols.port import Headers

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]

BODY_SECONDS = 30.0
"""How long a client may take to send a body."""

_BESIDE_BYTES = 100_000
"""Larger ones are unpacked beside the event loop."""
_CHUNK = 1 << 20
_REFUSED = re.compile(rb";\s*q=0(\.0*)?\s*$")
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


MAX_ARRIVING_BYTES = 256 * 1024 * 1024
"""Bodies of all clients that have arrived in part; whoever would make it more is turned away."""


class Arriving:
    """How much of bodies that are still on their way lies in memory, of all clients together."""

    def __init__(self, max_bytes: int = MAX_ARRIVING_BYTES) -> None:
        self.bytes = 0
        self._max = max_bytes

    def add(self, size: int) -> None:
        """Takes note of a piece.

        Raises:
            OverloadedError: there is no room for it; it does not count then.
        """
        if self.bytes + size > self._max:
            why = f"{self.bytes} bytes of bodies are on their way already"
            raise OverloadedError("too many large bodies arrive at the same time", why=why, retry_after=1.0)
        self.bytes += size


class GoneError(Exception):
    """The client left before it had sent its request."""


async def read_body(receive: Receive, headers: Headers, max_bytes: int, arriving: Arriving) -> bytes:
    """A request's body, unpacked.

    Raises:
        GoneError: the client left.
        UsageError: it is too large, packed or unpacked, or packed in an unknown or broken way.
        UnavailableError: it did not arrive in time, or too many arrive.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > max_bytes:
        raise _too_large(max_bytes)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise GoneError
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if message.get("more_body"):
        body = await _rest(receive, body, max_bytes, arriving)
    packing = headers.get(b"content-encoding")
    if packing is None:
        return body
    kind = packing.strip().lower()
    if kind in {b"", b"identity"}:
        return body
    if kind not in {b"gzip", b"x-gzip", b"deflate"}:
        raise UsageError(
            "wrong-content-encoding",
            f"the content encoding {packing[:40].decode('latin-1')!r} is not served",
            fix="send gzip, deflate, or the body as it is",
        )
    if len(body) > _BESIDE_BYTES:
        return await asyncio.get_running_loop().run_in_executor(None, unpacked, body, max_bytes)
    return unpacked(body, max_bytes)


def unpacked(body: bytes, max_bytes: int) -> bytes:
    """A body in gzip or zlib (what HTTP calls deflate) unpacked. It never grows beyond ``max_bytes`` and one portion.

    Raises:
        UsageError: it is neither, ends too early, has something behind its end, or is larger unpacked.
    """
    reader = zlib.decompressobj(_ZLIB_OR_GZIP)
    parts: list[bytes] = []
    size, waiting = 0, body
    try:
        while not reader.eof:
            part = reader.decompress(waiting, _CHUNK)
            waiting = reader.unconsumed_tail
            size += len(part)
            if size > max_bytes:
                raise _too_large(max_bytes)
            if not part and not waiting and not reader.eof:
                raise _broken("it ends too early")
            parts.append(part)
    except zlib.error as error:
        raise _broken(str(error)) from None
    if reader.unused_data:
        raise _broken("something follows behind its end")
    return b"".join(parts)


def packed(body: bytes, headers: Headers) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """An answer packed as the client accepts it, and the headers that say so; as it is where packing saves nothing."""
    accepted = {
        part.partition(b";")[0].strip()
        for part in headers.get(b"accept-encoding", b"").lower().split(b",")
        if not _REFUSED.search(part)
    }
    kind = b"gzip" if b"gzip" in accepted else b"deflate" if b"deflate" in accepted else b""
    if not kind:
        return body, []
    maker = zlib.compressobj(1, wbits=(16 if kind == b"gzip" else 0) + zlib.MAX_WBITS)
    smaller = maker.compress(body) + maker.flush()
    if len(smaller) >= len(body):
        return body, []
    return smaller, [(b"content-encoding", kind), (b"vary", b"accept-encoding")]


async def _rest(receive: Receive, body: bytes, max_bytes: int, arriving: Arriving) -> bytes:
    arriving.add(len(body))
    parts = [body]
    size = len(body)
    more = True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneError
                piece = message.get("body", b"")
                arriving.add(len(piece))
                parts.append(piece)
                size += len(piece)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                more = message.get("more_body", False)
    except TimeoutError:
        raise UnavailableError(
            "slow-body", f"the body did not arrive within {BODY_SECONDS:.0f} seconds", fix="send it in one go"
        ) from None
    finally:
        arriving.bytes -= size
    return b"".join(parts)


def _broken(why: str) -> UsageError:
    return UsageError(
        "wrong-content-encoding", "the body cannot be unpacked", why=why, fix="check Content-Encoding, or send it as it is"
    )


def _too_large(max_bytes: int) -> UsageError:
    return UsageError(
        "body-too-large",
        f"the body has more than {max_bytes} bytes",
        fix="send several requests, or raise serving.max_body_bytes",
    )
