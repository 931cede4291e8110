"""Bytes that no client library would send, on a socket to a server process. Each gets an answer or a closed door; the server lives."""

from __future__ import annotations

import json
import re
import socket

from serving_shop import SETTLED, tensors

GOOD = json.dumps({"inputs": tensors()}).encode()
PARTS = {"wind": b"\0" * 8, "seats": (100).to_bytes(8, "little"), "carrier": b"\2\0\0\0UA"}


def binary(sizes=None, **changes):
    """Header and body of a request whose tensors are all binary; ``sizes`` are what it claims."""
    types = {"wind": "FP64", "seats": "INT64", "carrier": "BYTES"}
    inputs = [
        {
            "name": name,
            "shape": [1],
            "datatype": types[name],
            "parameters": {"binary_data_size": (sizes or {}).get(name, len(part))},
        }
        | changes.get(name, {})
        for name, part in PARTS.items()
    ]
    return json.dumps({"inputs": inputs}).encode()


def post(body, path="/v2/models/delay/infer", **headers):
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def framed(head, rest, length=None):
    return post(head + rest, inference_header_content_length=len(head) if length is None else length)


ALL = b"".join(PARTS.values())
CASES = {
    "good": (framed(binary(), ALL), 200, ""),
    "truncated": (framed(binary(), ALL[:-3]), 400, "bad-tensor-bytes"),
    "more than it says": (framed(binary(), ALL + b"x"), 400, "bad-tensor-bytes"),
    "size too large": (framed(binary({"wind": 10**15}), ALL), 400, "bad-tensor-bytes"),
    "size negative": (framed(binary({"wind": -8}), ALL), 400, "bad-tensor-bytes"),
    "size a text": (framed(binary({"wind": "8"}), ALL), 400, "bad-tensor-bytes"),
    "sizes shifted": (framed(binary({"wind": 7, "seats": 9}), ALL), 400, "bad-tensor-bytes"),
    "shape too large": (framed(binary(wind={"shape": [2**62]}), ALL), 400, "bad-tensor-bytes"),
    "shape overflows": (framed(binary(wind={"shape": [2**70]}), ALL), 422, "wrong-shape"),
    "shape of many digits": (framed(binary(wind={"shape": [int("9" * 4000)]}), ALL), 422, "wrong-shape"),
    "size of many digits": (framed(binary({"wind": int("9" * 4000)}), ALL), 400, "bad-tensor-bytes"),
    "shape of two": (framed(binary(wind={"shape": [2]}), ALL), 400, "bad-tensor-bytes"),
    "wrong type": (framed(binary(wind={"datatype": "BYTES"}), ALL), 422, "wrong-type"),
    "a float for an integer": (framed(binary(seats={"datatype": "FP64"}), ALL), 422, "wrong-type"),
    "narrower than it says": (framed(binary(wind={"datatype": "FP32"}), ALL), 400, "bad-tensor-bytes"),
    "text that is too long": (framed(binary(), ALL[:16] + b"\xff\0\0\0UA"), 400, "bad-tensor-bytes"),
    "text that is no UTF-8": (framed(binary(), ALL[:20] + b"\xff\xfe"), 422, "wrong-type"),
    "data and bytes": (framed(binary(wind={"data": [1.0]}), ALL), 400, "bad-tensor-bytes"),
    "no data at all": (post(json.dumps({"inputs": [*[{**each, "data": [0]} for each in tensors()][:2], {"name": "carrier", "shape": [1], "datatype": "BYTES"}]}).encode()), 400, "bad-request"),
    "header length too large": (framed(binary(), ALL, 10**9), 400, "bad-tensor-bytes"),
    "header length negative": (framed(binary(), ALL, -1), 400, "bad-tensor-bytes"),
    "header length a text": (framed(binary(), ALL, "many"), 400, "bad-tensor-bytes"),
    "header length short": (framed(binary(), ALL, 20), 400, "bad-json"),
    "bytes without a header length": (post(binary() + ALL), 400, "bad-json"),
    "deep JSON": (post(b'{"inputs": [{"data": ' + b"[" * 200_000), 400, "bad-json"),
    "deep JSON for MLflow": (post(b'{"inputs": ' + b"[" * 200_000, "/invocations"), 400, "bad-json"),
    "wrong content type": (post(GOOD, content_type="text/xml"), 415, "wrong-content-type"),
    "no gzip": (post(GOOD, content_encoding="gzip"), 415, "wrong-content-encoding"),
    "packed unknown": (post(GOOD, content_encoding="zstd"), 415, "wrong-content-encoding"),
    "no body": (post(b""), 400, "bad-json"),
    "not found": (post(GOOD, "/../../etc/passwd"), 404, "no-such-path"),
    "shared memory": (
        post(json.dumps({"inputs": [
            {"name": name, "shape": [1], "datatype": "FP64", "parameters": {"shared_memory_region": "x"}} for name in PARTS
        ]}).encode()), 400, "bad-request"),
}  # fmt: skip


CHUNKED = b"POST /v2/models/delay/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = {
    "headers": (b"GET /v2 HTTP/1.1\r\n", b"x-y: " + b"z" * 1000 + b"\r\n"),
    "one header": (b"GET /v2 HTTP/1.1\r\nx-y: ", b"z" * 1000),
    "an address": (b"GET /v2?", b"z" * 1000),
    "a chunk's extension": (CHUNKED + b"1;", b"z" * 1000),
    "trailers": (CHUNKED + b"1\r\n{\r\n0\r\n", b"x-y: " + b"z" * 1000 + b"\r\n"),
}


def answers(received):
    """Status and body of each whole answer in what came back."""
    found = []
    while b"\r\n\r\n" in received:
        head, _, rest = received.partition(b"\r\n\r\n")
        size = int(re.search(rb"content-length: (\d+)", head.lower())[1])
        if len(rest) < size:
            break
        found.append((int(head.split()[1]), rest[:size]))
        received = rest[size:]
    return found


def talk(port, *pieces, count=1):
    with socket.create_connection(("127.0.0.1", port), timeout=SETTLED) as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while len(answers(received)) < count and (more := connection.recv(65536)):
            received += more
        return answers(received)


def test_hostile_bodies_get_an_answer_each(shop, server):
    running = server()
    for name, (request, status, code) in CASES.items():
        (found, body), *_ = talk(running.port, request)
        assert (name, found) == (name, status), body
        assert f"[{code}]".encode() in body or status == 200, (name, body)
    assert running.infer()[0] == 200
    code, errors = running.stop()
    assert (code, errors) == (0, "")


def test_pipelined_requests_are_answered_in_order(shop, server):
    running = server()
    bad = post(b"{", x_request_id="2")
    found = talk(running.port, post(GOOD) + bad + post(GOOD) + bad, count=4)
    assert [status for status, _ in found] == [200, 400, 200, 400]
    by_halves = post(GOOD)
    found = talk(running.port, by_halves[:60], by_halves[60:], count=1)
    assert found[0][0] == 200
    # What is no HTTP does not cost the request before it its answer.
    assert [status for status, _ in talk(running.port, post(GOOD) + b"NO HTTP\r\n\r\n" * 3, count=2)] == [200]
    # Java's client asks every server for h2c with its first request, and keeps the connection.
    wish = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAEAAEAAAAIAAAAB"}
    asked = post(GOOD, **wish)
    assert [status for status, _ in talk(running.port, asked + post(GOOD) + asked, count=3)] == [200, 200, 200]
    assert [status for status, _ in talk(running.port, asked[:-50], asked[-50:], asked, count=2)] == [200, 200]
    websocket = b"GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    assert [status for status, _ in talk(running.port, websocket * 2, count=2)] == [200, 200]
    assert running.stop() == (0, "")


def test_what_is_no_http_or_has_no_end_is_closed(shop, server):
    running = server()
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\ncontent-length: -5\r\n\r\n",
        CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-length: 5\r\n\r\n") + b"0\r\n\r\n",  # of two lengths a proxy may see the other
        b"POST /v2 HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        CHUNKED.replace(b"chunked", b"xchunked") + b"0\r\n\r\n",
        CHUNKED.replace(b"chunked", b"\r\n chunked") + b"0\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nx-request-id: a\r\n b\r\n\r\n",
        b"GET /v2 HTTP/1.1\nhost: x\n\n",
        b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", running.port), timeout=SETTLED) as connection:
            connection.sendall(sent)
            received = connection.recv(1000)
            assert received == b"" or b" 400 " in received.split(b"\r\n")[0], sent
    for name, (start, more) in ENDLESS.items():
        with socket.create_connection(("127.0.0.1", running.port), timeout=SETTLED) as connection:
            connection.sendall(start)
            sent = 0
            try:
                while sent < 20_000_000:
                    sent += connection.send(more * 50)
            except ConnectionError:
                pass
            assert sent < 20_000_000, name  # what the sockets' buffers hold, and no more
    assert talk(running.port, post(GOOD, x_long="y" * 30_000))[0][0] == 200
    assert running.infer()[0] == 200
