"""A real HTTP proxy before the S3 server, which misbehaves as it is told: drops headers, fails, loses answers."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class S3Proxy:
    """Forwards to ``port``. Its attributes may be changed while it runs.

    ``drop`` names headers (lower case) of requests that are not passed on; ``fail`` and ``lose`` count requests (of
    ``methods``) still to be answered 503 unforwarded, or to be forwarded and then cut off without an answer; ``cut`` counts
    answers whose body breaks off in the middle, ``stall`` those that never come and keep the line for ``stall_s``. ``seen`` lists (method, path).
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.drop: set[str] = set()
        self.fail = self.lose = self.cut = self.stall = 0
        self.stall_s = 3.0
        self.methods = {"GET", "HEAD", "PUT", "POST", "DELETE"}
        self.seen: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def takes(self, fault: str, method: str) -> bool:
        """Whether this request gets the fault; uses it up."""
        with self._lock:
            left = getattr(self, fault)
            if left and method in self.methods:
                setattr(self, fault, left - 1)
                return True
            return False


def _handler(proxy: S3Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            proxy.seen.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if proxy.takes("fail", self.command):
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in proxy.drop}
            if self.command in {"PUT", "POST"}:
                headers["x-amz-acl"] = "public-read-write"  # what came unsigned must be readable unsigned
            upstream = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            data = answer.read()
            upstream.close()
            if proxy.takes("stall", self.command):
                time.sleep(proxy.stall_s)
                self.close_connection = True
                return
            if proxy.takes("lose", self.command):
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "content-length", "connection", "date", "server"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            if data and proxy.takes("cut", self.command):
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                return
            self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

        def log_message(self, *_: object) -> None:
            pass

    return Handler
