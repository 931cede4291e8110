"""Asks at a fixed rate, whatever becomes of the answers. Arguments: port, path, file of the body, requests a second, seconds, timeout.

Prints JSON: how many answers were good (200 in time), late, refused (503 with Retry-After), and how many never came; and in ``lasted``
the seconds to the last of the good ones: what waits when the asking ends is answered after it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from pathlib import Path
from time import perf_counter

_PATIENCE = 15.0


class Client(asyncio.Protocol):
    """One connection with one request on its way."""

    def __init__(self, counts: dict[str, int], free: deque[Client], timeout: float) -> None:
        self.counts, self.free, self.timeout = counts, free, timeout
        self.began = 0.0
        self.answered = 0.0
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to ask."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Counts a connection that was closed on a request as one without an answer: it stays where it is."""
        if self in self.free:
            self.free.remove(self)

    def ask(self, message: bytes) -> None:
        """Sends one request."""
        self.began = perf_counter()
        self.transport.write(message)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Counts a whole answer."""
        self.data += data
        head, gap, body = self.data.partition(b"\r\n\r\n")
        if not gap or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            return
        taken, status = perf_counter() - self.began, int(head[9:12])
        hinted = status == 503 and b"retry-after" in head.lower()
        kind = "good" if status == 200 and taken <= self.timeout else "late" if status == 200 else "refused" if hinted else "odd"
        self.counts[kind] += 1
        if kind == "good":
            self.answered = self.began + taken
        self.began, self.data = 0.0, b""
        self.free.append(self)


async def main(port: int, path: str, body: bytes, rate: float, seconds: float, within: float) -> dict[str, float]:
    """Asks and counts."""
    counts = {"asked": 0, "good": 0, "late": 0, "refused": 0, "odd": 0, "unanswered": 0}
    free: deque[Client] = deque()
    clients: list[Client] = []
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-envoy-expected-rq-timeout-ms: {within * 1e3:.0f}\r\n"
    message = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    loop = asyncio.get_running_loop()
    start = perf_counter()
    while (now := perf_counter() - start) < seconds:
        while counts["asked"] < now * rate:
            counts["asked"] += 1
            if not free:
                _, client = await loop.create_connection(lambda: Client(counts, free, within), "127.0.0.1", port)
                clients.append(client)
                free.append(client)
            free.pop().ask(message)
        await asyncio.sleep(0.001)
    while any(client.began for client in clients) and perf_counter() - start < seconds + _PATIENCE:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    counts["unanswered"] = sum(client.began > 0 for client in clients)
    return counts | {"lasted": max(client.answered for client in clients) - start}


if __name__ == "__main__":
    given = sys.argv[1:]
    print(json.dumps(asyncio.run(main(int(given[0]), given[1], Path(given[2]).read_bytes(), *map(float, given[3:6])))))
