"""Two forges on loopback that behave as their REST APIs are documented, as far as comments and statuses of one change go.

GitHub: https://docs.github.com/rest (issues/comments, commits/statuses, rate limits). GitLab: https://docs.gitlab.com/api (notes, commits).
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tidegate.ci import Surroundings

LONGEST = 65536
"""Characters of a comment that GitHub takes."""


@dataclass
class Fault:
    """An answer that comes in place of the true one, to the first request that fits."""

    method: str
    path: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "no"


class ForgeServer:
    """One repository with one change. ``tokens`` says who comments with which token."""

    def __init__(self) -> None:
        self.tokens = {"job-token": "github-actions[bot]", "pat": "ana", "project-token": "project_7_bot"}
        self.comments: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.page = 100
        server = self

        class Handler(_Handler):
            forge = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def add(self, author: str, body: str) -> int:
        """A comment of somebody."""
        self.comments.append({"id": 1000 + len(self.comments), "author": author, "body": body})
        return self.comments[-1]["id"]

    def place(self, forge: str = "github", token: str = "job-token", **changes: Any) -> Surroundings:
        """The surroundings of a job for its change."""
        fields: dict[str, Any] = {
            "system": forge, "forge": forge, "api": self.address if forge == "github" else f"{self.address}/api/v4",
            "project": "shop/delay" if forge == "github" else "7", "change": 3, "head": "a" * 40, "token": token,
            "link": "https://ci.example.org/jobs/9", "pipeline": "88" if forge == "gitlab" else "",
        }  # fmt: skip
        return Surroundings(**fields | changes)


class _Handler(BaseHTTPRequestHandler):
    forge: ForgeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silent."""

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        path = urlsplit(self.path).path.removeprefix("/api/v3")  # GitHub Enterprise has its API there
        self.forge.asked.append(f"{self.command} {path}")
        fault = next((item for item in self.forge.faults if item.method == self.command and item.path in path), None)
        if fault:
            self.forge.faults.remove(fault)
            self._answer(fault.status, {"message": fault.message}, fault.headers)
            return
        gitlab = path.startswith("/api/v4")
        token = self.headers.get("PRIVATE-TOKEN", "") if gitlab else self.headers.get("Authorization", "").removeprefix("Bearer ")
        author = self.forge.tokens.get(token)
        if author is None:
            self._answer(401, {"message": "401 Unauthorized" if gitlab else "Bad credentials"})
        elif path.endswith("/user"):
            if token == "job-token":
                self._answer(403, {"message": "Resource not accessible by integration"})
            else:
                self._answer(200, {"login": author, "username": author})
        else:
            (self._gitlab if gitlab else self._github)(path, body, author)

    do_GET = do_POST = do_PATCH = do_PUT = _handle

    def _github(self, path: str, body: dict[str, Any], author: str) -> None:
        if path == "/repos/shop/delay/issues/3/comments" and self.command == "GET":
            self._list(path, lambda item: {"id": item["id"], "user": {"login": item["author"]}, "body": item["body"]})
        elif path == "/repos/shop/delay/issues/3/comments" and self.command == "POST":
            if len(body["body"]) > LONGEST:
                self._answer(422, {"message": "Validation Failed"})
            else:
                self._answer(201, {"id": self.forge.add(author, body["body"])})
        elif (match := re.fullmatch(r"/repos/shop/delay/issues/comments/(\d+)", path)) and self.command == "PATCH":
            self._edit(int(match[1]), body["body"])
        elif re.fullmatch(r"/repos/shop/delay/statuses/[0-9a-f]{40}", path) and self.command == "POST":
            if body["state"] not in {"error", "failure", "pending", "success"} or len(body["description"]) > 140:
                self._answer(422, {"message": "Validation Failed"})
            else:
                self.forge.statuses.append(body)
                self._answer(201, body)
        else:
            self._answer(404, {"message": "Not Found"})

    def _gitlab(self, path: str, body: dict[str, Any], author: str) -> None:
        notes = "/api/v4/projects/7/merge_requests/3/notes"
        if path == notes and self.command == "GET":
            self._list(path, lambda item: {"id": item["id"], "author": {"username": item["author"]}, "body": item["body"]})
        elif path == notes and self.command == "POST":
            self._answer(201, {"id": self.forge.add(author, body["body"])})
        elif (match := re.fullmatch(notes + r"/(\d+)", path)) and self.command == "PUT":
            self._edit(int(match[1]), body["body"])
        elif re.fullmatch(r"/api/v4/projects/7/statuses/[0-9a-f]{40}", path) and self.command == "POST":
            if body["state"] not in {"pending", "running", "success", "failed", "canceled", "skipped"}:
                self._answer(400, {"message": {"state": ["does not have a valid value"]}})
            else:
                self.forge.statuses.append(body)
                self._answer(201, body)
        else:
            self._answer(404, {"message": "404 Not found"})

    def _list(self, path: str, shown: Any) -> None:
        query = parse_qs(urlsplit(self.path).query)
        size = min(int(query.get("per_page", ["30"])[0]), self.forge.page)
        page = int(query.get("page", ["1"])[0])
        found = self.forge.comments[(page - 1) * size : page * size]
        more = len(self.forge.comments) > page * size
        last = f'<{self.forge.address}{path}?per_page={size}&page={page}>; rel="first"'
        link = f'<{self.forge.address}{path}?per_page={size}&page={page + 1}>; rel="next", {last}'
        self._answer(200, [shown(item) for item in found], {"Link": link} if more else {})

    def _edit(self, number: int, text: str) -> None:
        found = next((item for item in self.forge.comments if item["id"] == number), None)
        if found is None:
            self._answer(404, {"message": "Not Found"})
        elif len(text) > LONGEST:
            self._answer(422, {"message": "Validation Failed"})
        else:
            found["body"] = text
            self._answer(200, {"id": number})
