from __future__ import annotations

import gzip
import json
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_shop import JSON, call, tensors

from tidegate.errors import TidegateError, UsageError
from tidegate.serving.body import packed, unpacked

INFER = "/v2/models/delay/infer"
GOOD = json.dumps({"inputs": tensors()}).encode()


@given(st.binary(max_size=500), st.sampled_from([gzip.compress, zlib.compress]))
def test_what_was_packed_comes_back(body, pack):
    assert unpacked(pack(body), 500) == body


@given(st.binary(max_size=200))
def test_broken_bytes_get_an_expected_error(body):
    with pytest.raises(TidegateError):
        unpacked(body, 100)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_is_refused_before_it_is_large(pack):
    bomb = pack(b"\0" * 200_000_000)
    assert len(bomb) < 250_000
    tracemalloc.start()
    with pytest.raises(UsageError, match="body-too-large"):
        unpacked(bomb, 1_000_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5_000_000


@pytest.mark.parametrize("kind", [b"gzip", b"x-gzip", b"deflate"])
def test_packed_requests_are_served(shop, kind):
    app = shop.app(max_body_bytes=5_000)[0]
    pack = zlib.compress if kind == b"deflate" else gzip.compress
    headers = [*JSON, (b"content-encoding", kind)]
    assert call(app, INFER, pack(GOOD), headers=headers)[0] == 200
    for body, status in (
        (GOOD, 415),
        (pack(GOOD)[:-9], 415),
        (pack(GOOD) + b"more", 415),
        (pack(b" " * 6_000), 413),
    ):
        assert call(app, INFER, body, headers=headers)[0] == status
    assert call(app, INFER, GOOD, headers=[*JSON, (b"content-encoding", b"br")])[0] == 415
    assert call(app, INFER, GOOD, headers=[*JSON, (b"content-encoding", b"identity")])[0] == 200


@pytest.mark.parametrize(
    ("accepted", "kind"),
    [
        (b"gzip", b"gzip"),
        (b"br, deflate", b"deflate"),
        (b"gzip;q=0, deflate;q=0.5", b"deflate"),
        (b"gzip;q=0", None),
        (b"br", None),
    ],
)
def test_an_answer_is_packed_as_it_is_accepted(accepted, kind):
    body = b'{"a": 1}' * 1000
    smaller, headers = packed(body, {b"accept-encoding": accepted})
    assert dict(headers).get(b"content-encoding") == kind
    if kind:
        assert zlib.decompress(smaller, 47) == body
    else:
        assert smaller == body


def test_what_does_not_get_smaller_stays_as_it_is():
    body = random.Random(3).randbytes(9_000)
    assert packed(body, {b"accept-encoding": b"gzip"}) == (body, [])
