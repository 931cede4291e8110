"""The store's own calls, as a hostile or careless client makes them."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from server_client import Answer, Client
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from tidegate import digest as digests
from tidegate.errors import UnavailableError
from tidegate.records.ledger import LedgerEntry, Pointer, Promoted
from tidegate.records.receipt import Baseline
from tidegate.server import create_app, native
from tidegate.server.native import Replies, Room
from tidegate.store.remote.calls import encode
from tidegate.workspace import Workspace

STORE = "/api/v1/store"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace.open(tmp_path)
    yield workspace
    workspace.store.close()


@pytest.fixture
def asked(workspace: Workspace) -> Client:
    return Client(create_app(workspace))


def call(client: Client, name: str, idempotency: str = "", /, **fields: Any) -> Answer:
    return client.send("POST", f"{STORE}/{name}", encode(fields), content_type="application/msgpack", idempotency_key=idempotency)


def value(client: Client, method: str, key: str, body: bytes = b"", **headers: str) -> Answer:
    return client.send(method, f"{STORE}/bucket/value?key={quote(key)}", body, **headers)


def document(name: str) -> list[Any]:
    return ["alert", name, "delay", "open", 1, {}, 1]


def test_a_key_belongs_to_one_call(asked: Client, workspace: Workspace) -> None:
    for name in ("one", "two", "one"):
        assert call(asked, "documents/add", "the-key", document=document(name)).status == 200
    call(asked, "documents/remove", "the-key", kind="alert", key="one")
    assert [found.id for found in workspace.store.documents.list("alert")] == ["two"]
    for name in ("a", "b"):
        for body in (b"x", b"y"):
            value(asked, "PUT", f"free/{name}", body, if_none_match="*", idempotency_key="the-key")
        assert value(asked, "GET", f"free/{name}").text == "x"
    assert value(asked, "PUT", "free/a", b"y", if_none_match="*", idempotency_key="the-key").status == 412


def test_a_repetition_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_PATIENCE_SECONDS", 0.05)
    replies, go = Replies(), threading.Event()

    def slow() -> Response:
        go.wait(10)
        return Response(b"done")

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(replies.once, "key", slow)
        while not replies._replies:
            time.sleep(0.001)
        with pytest.raises(UnavailableError, match="still being done"):
            replies.once("key", slow)
        monkeypatch.setattr(native, "_REMEMBERED", 0)
        replies.once("other", lambda: Response(b"other"))
        with pytest.raises(UnavailableError, match="still being done"):  # however full the memory is
            replies.once("key", slow)
        go.set()
        assert first.result().body == b"done"


@pytest.mark.parametrize(
    "key",
    [
        "models/delay/ledger/00000001.json",
        "models/delay/versions/1/manifest.json",
        "models/delay/receipts/x.json",
        "models/current.json",
        "objects/sha256/aa/bb",
        "datasets/d/1.json",
        "monitoring/delay/windows/1.json",
        "format.json",
    ],
)
def test_what_is_written_once_stays(asked: Client, workspace: Workspace, key: str) -> None:
    bucket = workspace.store.bucket
    bucket.put_if_absent(key, b"first")
    before = bucket.find(key)
    assert before is not None
    refused = value(asked, "PUT", key, b"second", if_match=before.etag)
    assert (refused.status, refused.json["error"]["code"]) == (403, "written-once")
    assert value(asked, "DELETE", key).status == (204 if key.startswith("objects/") else 403)
    if not key.startswith("objects/"):
        assert bucket.find(key) == before


def test_the_pointer_moves_and_no_folder_becomes_a_file(asked: Client, workspace: Workspace) -> None:
    pointer = "models/delay/current.json"
    unmoved = digests.canonical(Pointer(model="delay", champion=Baseline(), head=0, head_digest=""))
    first = value(asked, "PUT", pointer, unmoved, if_none_match="*")
    assert value(asked, "PUT", pointer, unmoved, if_match="another").status == 412
    assert value(asked, "PUT", pointer, unmoved, if_match=first.headers["etag"]).status == 201
    assert value(asked, "DELETE", pointer).status == 204
    for key in ("models", "objects", "datasets", "monitoring", "selftest.json"):
        assert value(asked, "PUT", key, b"x", if_none_match="*").status == 403
        assert workspace.store.bucket.find(key) is None


@pytest.mark.parametrize("forged", ["made-up receipt", "ungated", "chain", "gap", "no entry"])
def test_no_forged_entry_comes_into_a_ledger(asked: Client, workspace: Workspace, forged: str) -> None:
    version, digest = 1, "a" * 64
    state = workspace.release.state("delay")
    entry = LedgerEntry(
        seq=3 if forged == "gap" else 1,
        at=1,
        clock="system",
        actor="eve",
        event=Promoted(version=version, digest=digest, receipt="b" * 64, previous=Baseline(), ungated=forged == "ungated"),
        before="c" * 64 if forged == "chain" else state.head_digest,
    )
    body = b"{}" if forged == "no entry" else digests.canonical(entry)
    answer = value(asked, "PUT", f"models/delay/ledger/{entry.seq:08d}.json", body, if_none_match="*")
    assert (answer.status, answer.json["error"]["code"]) == (403, "ledger-refused")
    assert workspace.release.history("delay") == []


def test_no_pointer_says_what_its_ledger_does_not(asked: Client, workspace: Workspace) -> None:
    forged = Pointer(model="delay", champion=Baseline(version=1, digest="a" * 64, move=1), head=1, head_digest="b" * 64)
    answer = value(asked, "PUT", "models/delay/current.json", digests.canonical(forged), if_none_match="*")
    assert (answer.status, answer.json["error"]["code"]) == (403, "ledger-refused")
    assert workspace.release.pointer("delay").champion.version == 0


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("runs/hear", {"run_id": "r", "at": 2**63}),
        ("runs/search", {"limit": 2**63}),
        ("experiments/create", {"name": "e", "at": 2**64 - 1}),
        ("catalog/put", {"entry": ["model", "m", 2**63, "k", "d", 1, {}]}),
        ("runs/get", {"run_id": "a\0b"}),
    ],
)
def test_numbers_and_texts_that_no_database_takes_are_the_callers_fault(asked: Client, name: str, fields: dict[str, Any]) -> None:
    call(asked, "runs/create", run={"id": "r", "experiment": "e0", "name": "n", "state": "RUNNING", "started_at": 1})
    answer = call(asked, name, **fields)
    assert (answer.status, answer.json["error"]["code"]) == (422, "text-not-storable")


@pytest.mark.parametrize("key", ["a" * 256, "a/" * 600 + "b", "a/" + "\u00e9" * 128])
def test_keys_that_no_place_takes(asked: Client, key: str) -> None:
    for method, headers in (("GET", {}), ("DELETE", {}), ("PUT", {"if_none_match": "*"})):
        answer = value(asked, method, key, b"x", **headers)
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad-key")
    assert asked.send("GET", f"{STORE}/bucket/file?key={quote(key)}").status == 400


def test_a_bug_is_told_to_the_terminal_alone(
    asked: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(workspace.store.documents), "list", lambda *_, **__: 1 // 0)
    answer = call(asked, "documents/list", kind="alert")
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal")
    assert "ZeroDivisionError" not in answer.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (TimeoutError(), 400, "bad-call"),
        (ClientDisconnect(), 400, "bad-call"),
        (OSError(errno.ENOSPC, "full"), 503, "disk-full"),
        (OSError(errno.EIO, "/a/path of the server"), 503, "bucket-unavailable"),
    ],
)
def test_bodies_that_do_not_come_or_cannot_be_kept(
    asked: Client, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    async def failing(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(native, "_received", failing)
    answer = value(asked, "PUT", "free/key", b"x", if_none_match="*")
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert "/a/path" not in answer.text
    assert list((workspace.store.root / "incoming").iterdir()) == []


def test_large_calls_share_one_room(asked: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(10)
    with room.taken() as first:
        first(8)
        with room.taken() as second, pytest.raises(UnavailableError):
            second(3)
    with room.taken() as again:
        again(10)
    monkeypatch.setattr(native, "_MAX_CALL", 100)
    assert json.loads(call(asked, "documents/add", document=document("x" * 200)).text)["error"]["code"] == "call-too-large"


def test_what_a_killed_server_had_received_goes(workspace: Workspace) -> None:
    folder = workspace.store.root / "incoming"
    for name, age in (("incoming-old", 100_000), ("incoming-young", 100)):
        (folder / name).mkdir(parents=True)
        (folder / name / "part").write_bytes(b"x")
        os.utime(folder / name, (time.time() - age, time.time() - age))
    create_app(workspace)
    assert [path.name for path in folder.iterdir()] == ["incoming-young"]


def test_many_calls_at_once_are_all_answered(asked: Client) -> None:
    async def flood() -> list[Answer]:
        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/msgpack")]
        body = msgspec.msgpack.encode({"kind": "alert"})
        return await asyncio.gather(*(asked._ask(f"{STORE}/documents/list", headers, "POST", body) for _ in range(100)))

    assert {answer.status for answer in asyncio.run(flood())} == {200}
