"""A request's body: read within a time and a size, and unpacked within the same size."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self

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


MAX_DROPPED_BYTES = 64 * 1024 * 1024
"""Of a body that was refused already: it is read and dropped for a while, because closing at once would cut the answer off."""
SMALL_BYTES = 64 * 1024
"""Bodies up to here that come in one piece are not counted: whoever sends large ones does not keep them out."""
MAX_ARRIVING_BYTES = 256 * 1024 * 1024
"""Bodies of all clients that lie in memory, whole or in part, until they are answered; whoever would make it more is turned away."""


class Arriving:
    """How much of bodies lies in memory, of all clients together: on its way, waiting to be decoded, or for the model."""

    def __init__(self, max_bytes: int = MAX_ARRIVING_BYTES) -> None:
        self.bytes = 0
        self.max_bytes = max_bytes

    def hold(self) -> Held:
        """What one request has of it, for a ``with`` around all that is done for it."""
        return Held(self)


class Held:
    """One request's share of ``Arriving``; it is given back at the end of its ``with``."""

    __slots__ = ("_arriving", "_bytes")

    def __init__(self, arriving: Arriving) -> None:
        self._arriving = arriving
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._arriving.bytes -= self._bytes

    def add(self, size: int) -> None:
        """Takes note of a piece.

        Raises:
            OverloadedError: there is no room for it; it does not count then.
        """
        arriving = self._arriving
        if arriving.bytes + size > arriving.max_bytes:
            why = f"{arriving.bytes} bytes of bodies lie here already"
            raise OverloadedError("too many large bodies arrive at the same time", why=why, retry_after=1.0)
        arriving.bytes += size
        self._bytes += size


class Reading:
    """What a request's body is received by, and whether there is more of it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.more = True

    async def __call__(self) -> Message:
        message = await self._receive()
        self.more = bool(message.get("more_body"))
        return message

    async def drop(self) -> None:
        """Reads what is still to come and drops it, for a while."""
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(BODY_SECONDS):
                while self.more and dropped < MAX_DROPPED_BYTES:
                    dropped += len((await self()).get("body", b""))


class GoneError(Exception):
    """The client left before it had sent its request."""


async def read_body(receive: Receive, headers: Headers, max_bytes: int, held: Held) -> bytes:
    """A request's body, unpacked. What it takes in memory is counted in ``held``.

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
        body = await _rest(receive, body, max_bytes, held)
    elif len(body) > SMALL_BYTES:
        held.add(len(body))
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
        plain = await asyncio.get_running_loop().run_in_executor(None, unpacked, body, max_bytes)
    else:
        plain = unpacked(body, max_bytes)
    if len(plain) > SMALL_BYTES:
        held.add(len(plain))
    return plain


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


async def _rest(receive: Receive, body: bytes, max_bytes: int, held: Held) -> bytes:
    held.add(len(body))
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
                held.add(len(piece))
                parts.append(piece)
                size += len(piece)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                more = message.get("more_body", False)
    except TimeoutError:
        raise UnavailableError(
            "slow-body", f"the body did not arrive within {BODY_SECONDS:.0f} seconds", fix="send it in one go"
        ) from None
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
