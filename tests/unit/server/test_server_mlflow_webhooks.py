"""Webhooks: signed, sent in the background to public addresses alone, and secrets that stay secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from server_client import Answer, Client
from starlette.applications import Starlette

from tidegate.clock import Clock
from tidegate.notices import Line, RefusedAddressError, is_public
from tidegate.server.mlflow import webhooks
from tidegate.server.mlflow.deliveries import WAITING, Deliveries, Target, send
from tidegate.workspace import Workspace

URL = "/api/2.0/mlflow/webhooks"
EVENT = {"entity": "MODEL_VERSION", "action": "CREATED"}


class Receiver:
    """A real HTTP server on this machine that answers with the statuses it is given, then with 200."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 200)
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


pauses: list[float] = []
OPEN = Line(schemes=("http", "https"), allowed=lambda address: address.is_loopback, sleep=pauses.append)


class House:
    """A store with the routes of webhooks."""

    def __init__(self, folder: Path, line: Line) -> None:
        self.workspace = Workspace.open(folder)
        self.client = Client(Starlette(routes=webhooks.routes(self.workspace, line)))

    def ask(self, method: str, path: str = "", **fields: Any) -> Answer:
        return self.client.send(method, f"{URL}{path}", json.dumps(fields).encode(), content_type="application/json")

    def make(self, url: str, **fields: Any) -> str:
        answer = self.ask("POST", **({"name": "hook", "url": url, "events": [EVENT]} | fields))
        assert answer.status == 200, answer.text
        return str(answer.json["webhook"]["webhook_id"])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    pauses.clear()
    made = House(tmp_path, OPEN)
    yield made
    made.workspace.store.close()


def test_an_event_is_sent_signed_as_mlflow_signs_it(house: House, receiver: Receiver) -> None:
    house.make(receiver.url, secret="hidden")
    webhooks.emit(house.workspace, "model_version.created", {"name": "delay", "version": "3"})
    webhooks.drain(house.workspace)
    [(headers, body)] = receiver.got
    assert json.loads(body)["data"] == {"name": "delay", "version": "3"}
    assert (json.loads(body)["entity"], json.loads(body)["action"]) == ("model_version", "created")
    signed = f"{headers['x-mlflow-delivery-id']}.{headers['x-mlflow-timestamp']}.{body.decode()}".encode()
    expected = base64.b64encode(hmac.new(b"hidden", signed, hashlib.sha256).digest()).decode()
    assert headers["x-mlflow-signature"] == f"v1,{expected}"


def test_only_who_wants_an_event_and_is_active_gets_it(house: House, receiver: Receiver) -> None:
    house.make(receiver.url, status="DISABLED")
    house.make(receiver.url, events=[{"entity": "REGISTERED_MODEL", "action": "CREATED"}])
    webhooks.emit(house.workspace, "model_version.created", {})
    webhooks.drain(house.workspace)
    assert receiver.got == []
    webhooks.emit(house.workspace, "registered_model.created", {})
    webhooks.drain(house.workspace)
    assert len(receiver.got) == 1
    assert "x-mlflow-signature" not in receiver.got[0][0]


def test_what_may_pass_by_itself_is_tried_again_and_nothing_else(receiver: Receiver) -> None:
    pauses.clear()
    target = Target("1", receiver.url, "")
    receiver.statuses = [503, 429, 200]
    assert send(target, "a.b", {}, clock=Clock(), line=OPEN).status == 200
    assert len(receiver.got) == 3
    assert 1 <= pauses[0] < 2 <= pauses[1] < 3
    receiver.statuses = [400]
    assert send(target, "a.b", {}, clock=Clock(), line=OPEN).status == 400
    assert len(receiver.got) == 4
    receiver.statuses = [500] * 9
    assert send(target, "a.b", {}, clock=Clock(), line=OPEN).status == 500
    assert len(receiver.got) == 8


def test_a_redirect_is_an_answer(receiver: Receiver) -> None:
    receiver.statuses = [302]
    assert send(Target("1", receiver.url, ""), "a.b", {}, clock=Clock(), line=OPEN).status == 302
    assert len(receiver.got) == 1


def test_a_test_tells_what_came_of_it(house: House, receiver: Receiver) -> None:
    found = house.make(receiver.url)
    result = house.ask("POST", f"/{found}/test").json["result"]
    assert result == {"success": True, "response_status": 200, "response_body": "ok"}
    assert json.loads(receiver.got[0][1])["data"]["name"] == "example_model"
    receiver.statuses = [500]
    assert house.ask("POST", f"/{found}/test").json["result"]["success"] is False
    assert len(receiver.got) == 2


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "192.0.2.1"],
)  # fmt: skip
def test_no_private_address_is_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_public_addresses_are_public() -> None:
    assert all(is_public(ipaddress.ip_address(address)) for address in ("8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"))


@pytest.mark.parametrize(
    "url",
    ["http://8.8.8.8/", "https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://2130706433/", "https://0x7f.1/",
     "ftp://8.8.8.8/", "https://", "nonsense", "", "https://8.8.8.8/ x", "https://8.8.8.8/\r\nx", "https://u:p@8.8.8.8/",
     "https://8.8.8.8:99999/", "https://[::1", "https://nothing.invalid/", "file:///etc/passwd"],
)  # fmt: skip
def test_urls_that_reach_inside_or_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        Line().check(url)


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **options: Any) -> Any:
        looked.append(host)
        return real("127.0.0.1" if host == "hook.example" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = receiver.url.replace("127.0.0.1", "hook.example")
    assert send(Target("1", url, ""), "a.b", {}, clock=Clock(), line=OPEN).status == 200
    assert looked.count("hook.example") == 1
    assert receiver.got[0][0]["host"].startswith("hook.example:")
    refused = send(Target("1", url.replace("http:", "https:"), ""), "a.b", {}, clock=Clock(), line=Line())
    assert refused.status == 0
    assert "non-public" in refused.body
    assert len(receiver.got) == 1


def test_the_secret_is_in_no_answer_and_in_no_database(house: House, receiver: Receiver) -> None:
    found = house.make(receiver.url, secret="very hidden")
    changed = house.ask("PATCH", f"/{found}", name="other", secret="more hidden")
    answers = [
        changed.text,
        house.ask("GET", f"/{found}").text,
        house.ask("GET").text,
        house.ask("PATCH", f"/{found}", secret=7).text,
    ]
    assert all("hidden" not in text for text in answers)
    root = house.workspace.store.root
    kept = root / "secrets" / f"webhook-{found}"
    assert kept.read_text() == "more hidden"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert b"hidden" not in (root / "metadata.db").read_bytes()
    assert house.ask("DELETE", f"/{found}").status == 200
    assert not kept.exists()


def test_webhooks_are_changed_listed_and_deleted(house: House, receiver: Receiver) -> None:
    made = [house.make(receiver.url, name=f"hook-{number}", description="d") for number in range(5)]
    page = house.ask("GET", "?max_results=3").json
    assert len(page["webhooks"]) == 3
    rest = house.ask("GET", f"?max_results=3&page_token={page['next_page_token']}").json
    assert len(rest["webhooks"]) == 2
    assert "next_page_token" not in rest
    changed = house.ask("PATCH", f"/{made[0]}", description="", status="DISABLED").json["webhook"]
    assert (changed["status"], changed.get("description", "")) == ("DISABLED", "")
    assert house.ask("DELETE", f"/{made[0]}").status == 200
    assert house.ask("GET", f"/{made[0]}").status == 404
    assert house.ask("DELETE", f"/{made[0]}").status == 404


@pytest.mark.parametrize(
    "fields",
    [{"name": "-x"}, {"name": "x" * 64}, {"name": ""}, {"url": "http://10.0.0.1/"}, {"url": ""}, {"events": []}, {"events": None},
     {"events": [{"entity": "FOO", "action": "CREATED"}]}, {"events": [{"entity": "MODEL_VERSION", "action": "DELETED"}]},
     {"events": [7]}, {"events": "x"}, {"status": "FOO"}, {"secret": ["x"]}],
)  # fmt: skip
def test_what_is_no_webhook_is_refused(house: House, receiver: Receiver, fields: dict[str, Any]) -> None:
    answer = house.ask("POST", **({"name": "hook", "url": receiver.url, "events": [EVENT]} | fields))
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert house.ask("GET").json == {}


def test_no_more_events_wait_than_there_is_room_for(caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    def targets(_event: str) -> list[Target]:
        go.wait(30)
        return []

    deliveries = Deliveries(targets, Clock(), OPEN)
    with caplog.at_level(logging.WARNING, "tidegate.server"):
        taken = sum(deliveries.add("a.b", {}) for _ in range(WAITING + 50))
    assert WAITING <= taken < WAITING + 50
    assert "dropped" in caplog.text
    go.set()
    deliveries.wait()


def test_a_webhook_that_breaks_does_not_stop_the_next(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def targets(event: str) -> list[Target]:
        seen.append(event)
        raise ZeroDivisionError

    deliveries = Deliveries(targets, Clock(), OPEN)
    with caplog.at_level(logging.ERROR, "tidegate.server"):
        for number in range(9):
            deliveries.add(f"a.{number}", {})
        deliveries.wait()
    assert len(seen) == 9
    assert "ZeroDivisionError" in caplog.text
