"""Manifests and blobs against a real registry: open, with sign-in, behind TLS, and behind a proxy that breaks and lies."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import random

import pytest
from lying_registry import LyingRegistry, Reply

from registry_server import PASSWORD, USER, RegistryServer
from tidegate.errors import IntegrityError, NotFoundError, RefusedError, UnavailableError
from tidegate.models.oci import Connection, Credentials, Registry, parse_artifact
from tidegate.models.oci import registry as registry_module

KNOWN = Credentials(USER, PASSWORD)
MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def bytes_of(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@contextlib.contextmanager
def opened(host: str, repository: str = "team/delay", **options):
    connection = Connection(parse_artifact(f"oci://{host}/{repository}"), wait=lambda _: None, **options)
    try:
        yield Registry(connection)
    finally:
        connection.close()


@pytest.fixture(params=["password", "token"])
def guarded(request, tmp_path):
    server = RegistryServer(tmp_path, auth=request.param).start()
    yield server
    server.stop()


@pytest.fixture
def liar(registry_server):
    proxy = LyingRegistry(registry_server.host)
    yield proxy
    proxy.close()


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(registry_module, "CHUNK", 64 * 1024)


def manifest_of(registry: Registry, data: bytes) -> bytes:
    """A manifest that a registry takes: what it names is there."""
    registry.send_blob(sha256(data), data)
    described = {"mediaType": "application/octet-stream", "digest": sha256(data), "size": len(data)}
    return json.dumps({"schemaVersion": 2, "mediaType": MEDIA_TYPE, "config": described, "layers": [described]}).encode()


def test_what_was_sent_comes_back(registry_server, tmp_path):
    data, empty = bytes_of(1, 100_000), b""
    (tmp_path / "source").write_bytes(data)
    with opened(registry_server.host) as registry:
        moved = []
        assert not registry.has_blob(sha256(data))
        assert registry.send_blob(sha256(data), tmp_path / "source", progress=moved.append)
        assert not registry.send_blob(sha256(data), data, progress=moved.append), "it is there already"
        assert moved == [100_000, 100_000]
        registry.send_blob(sha256(empty), empty)
        for content in (data, empty):
            registry.fetch_blob(sha256(content), len(content), tmp_path / f"back-{len(content)}")
            assert (tmp_path / f"back-{len(content)}").read_bytes() == content
        manifest = manifest_of(registry, data)
        digest = registry.put_manifest(manifest, MEDIA_TYPE, "v1")
        assert digest == sha256(manifest)
        assert registry.get_manifest("v1") == registry.get_manifest(digest) == (manifest, digest, MEDIA_TYPE)
        with pytest.raises(NotFoundError) as caught:
            registry.get_manifest("v2")
        assert caught.value.code == "no-such-artifact"
        with pytest.raises(NotFoundError):
            registry.fetch_blob(sha256(b"never sent"), 10, tmp_path / "never")
        with pytest.raises(IntegrityError, match="not what was sent"):
            registry.send_blob(sha256(b"something"), b"something else")


def test_sign_in(guarded, tmp_path):
    data = bytes_of(2, 1000)
    with opened(guarded.host, credentials=KNOWN) as registry:
        registry.send_blob(sha256(data), data)
        registry.fetch_blob(sha256(data), 1000, tmp_path / "back")
    for credentials in (None, Credentials(USER, "wrong"), Credentials("<token>", "wrong")):
        with opened(guarded.host, credentials=credentials) as registry, pytest.raises(RefusedError) as caught:
            registry.has_blob(sha256(data))
        assert caught.value.code == "registry-denied"
        assert "wrong" not in str(caught.value)
        assert guarded.host in caught.value.fix


def test_a_refresh_token_signs_in(tmp_path):
    server = RegistryServer(tmp_path, auth="token").start()
    try:
        with opened(server.host, credentials=Credentials("<token>", "refreshing")) as registry:
            assert registry.send_blob(sha256(b"x"), b"x")
        assert server.tokens.asked[-1]["scope"] == ["repository:team/delay:pull,push"]
    finally:
        server.stop()


def test_tls_is_required_and_certificates_are_checked(tmp_path, monkeypatch):
    server = RegistryServer(tmp_path, tls=True).start()
    try:
        with (
            opened(server.host, plain_http=False) as registry,
            pytest.raises(UnavailableError, match="cannot be reached") as caught,
        ):
            registry.has_blob(sha256(b"x"))
        assert (caught.value.code, "SSL_CERT_FILE" in caught.value.fix) == ("registry-unreachable", True)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        with opened(server.host, plain_http=False) as registry:
            assert registry.send_blob(sha256(b"x"), b"x")
    finally:
        server.stop()


def test_nobody_listens():
    with opened("127.0.0.1:9") as registry, pytest.raises(UnavailableError) as caught:
        registry.has_blob(sha256(b"x"))
    assert caught.value.code == "registry-unreachable"


def patches(liar) -> list[int]:
    return [size for method, _, _, size in liar.seen if method == "PATCH"]


def test_large_blobs_go_in_chunks_and_lost_ones_go_again(liar, small_chunks, tmp_path):
    data = bytes_of(3, 300_000)
    (tmp_path / "source").write_bytes(data)
    liar.lose("PATCH", Reply(0))
    liar.lose("PATCH", Reply(503))
    moved = []
    with opened(liar.host) as registry:
        assert registry.send_blob(sha256(data), tmp_path / "source", progress=moved.append)
        registry.fetch_blob(sha256(data), len(data), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert sum(moved) == len(data)
    assert patches(liar) == [65536] * 6 + [300_000 - 4 * 65536], "two of seven were lost, the others are not sent again"


def test_an_upload_that_the_registry_lost_begins_anew(liar, small_chunks, tmp_path):
    data = bytes_of(9, 200_000)
    liar.once(
        "PATCH", "uploads", lambda _: Reply(0)
    )  # it arrived, its answer was lost: Docker's registry forgets the upload then
    moved = []
    with opened(liar.host) as registry:
        assert registry.send_blob(sha256(data), data, progress=moved.append)
        registry.fetch_blob(sha256(data), len(data), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert sum(moved) == len(data)
    assert patches(liar) == [65536] * 4 + [200_000 - 3 * 65536]


def test_an_upload_that_never_gets_on_ends(liar, small_chunks, tmp_path):
    (tmp_path / "source").write_bytes(bytes_of(4, 200_000))
    liar.always("PATCH", "uploads", lambda _: Reply(503))
    liar.always("GET", "uploads", lambda _: Reply(204, (("Range", "0-0"),)))
    with opened(liar.host) as registry, pytest.raises(UnavailableError, match="does not get on"):
        registry.send_blob(sha256(bytes_of(4, 200_000)), tmp_path / "source")
    assert len(patches(liar)) == 5


def test_a_download_goes_on_where_it_broke(liar, tmp_path):
    data = bytes_of(5, 500_000)
    moved = []
    with opened(liar.host) as registry:
        registry.send_blob(sha256(data), data)
        liar.once("GET", "blobs/sha256", lambda true: true._replace(body=true.body[:100_000], length=500_000))
        liar.once("GET", "blobs/sha256", lambda true: true._replace(body=true.body[:100_000], length=400_000))
        liar.once("GET", "blobs/sha256", lambda _: Reply(200, (), data))  # it forgets that a part was asked for
        registry.fetch_blob(sha256(data), len(data), tmp_path / "back", progress=moved.append)
    assert (tmp_path / "back").read_bytes() == data
    assert sum(moved) == len(data)
    ranges = [headers.get("Range", "") for method, path, headers, _ in liar.seen if method == "GET" and "blobs/sha256" in path]
    assert ranges == ["", "bytes=100000-", "bytes=200000-"]


def test_a_download_that_is_always_cut_off(liar, tmp_path):
    data = bytes_of(6, 50_000)
    with opened(liar.host) as registry:
        registry.send_blob(sha256(data), data)
        liar.always("GET", "blobs/sha256", lambda true: true._replace(body=b"", length=len(true.body)))
        with pytest.raises(UnavailableError, match="could not be read to its end") as caught:
            registry.fetch_blob(sha256(data), len(data), tmp_path / "back")
    assert "0 of 50000 bytes" in caught.value.why


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (lambda true: true._replace(body=b"y" + true.body[1:]), "hashes to"),
        (lambda true: true._replace(body=true.body + b"more", length=-1), "more than its"),
        (lambda true: true._replace(body=true.body * 100), "more than its"),
    ],
)
def test_a_registry_that_sends_other_bytes(liar, tmp_path, lie, why):
    data = bytes_of(7, 20_000)
    with opened(liar.host) as registry:
        registry.send_blob(sha256(data), data)
        liar.always("GET", "blobs/sha256", lie)
        with pytest.raises(IntegrityError) as caught:
            registry.fetch_blob(sha256(data), len(data), tmp_path / "back")
    assert caught.value.code == "artifact-changed"
    assert why in caught.value.why


def test_a_registry_that_lies_about_manifests(liar):
    with opened(liar.host) as registry:
        manifest = manifest_of(registry, b"content")
        digest = registry.put_manifest(manifest, MEDIA_TYPE, "lies")
        liar.once("GET", digest, lambda true: true._replace(body=true.body.replace(b"2", b"3", 1)))
        with pytest.raises(IntegrityError, match="is not what its digest names"):
            registry.get_manifest(digest)
        liar.once("GET", "manifests/lies", lambda true: true._replace(body=true.body + b" "))
        with pytest.raises(IntegrityError, match="is not what its digest names"):
            registry.get_manifest("lies")
        liar.once("GET", "manifests/lies", lambda _: Reply(200, (), b" " * 5_000_000))
        with pytest.raises(IntegrityError):
            registry.get_manifest("lies")
        liar.once("PUT", "manifests/lies", lambda _: Reply(201, (("Docker-Content-Digest", sha256(b"else")),)))
        with pytest.raises(IntegrityError):
            registry.put_manifest(manifest, MEDIA_TYPE, "lies")


def test_failures_that_pass_are_waited_for(liar):
    liar.once("HEAD", "blobs", lambda _: Reply(429, (("Retry-After", "1"),)))
    liar.once("HEAD", "blobs", lambda _: Reply(503))
    liar.once("HEAD", "blobs", lambda _: Reply(0))
    with opened(liar.host) as registry:
        assert not registry.has_blob(sha256(b"nothing"))
    assert len(liar.seen) == 4


def test_a_failure_that_stays_is_told_in_plain_letters(liar):
    told = json.dumps({"errors": [{"code": "UNKNOWN", "message": "on \x1b[31mfire\x1b[0m " + "x" * 1000}]}).encode()
    liar.always("GET", "manifests", lambda _: Reply(500, (), told))
    with opened(liar.host) as registry, pytest.raises(UnavailableError) as caught:
        registry.get_manifest("v1")
    assert caught.value.code == "registry-failed"
    assert "on  [31mfire" in caught.value.why
    assert len(caught.value.why) < 400
    assert "\x1b" not in caught.value.why


def test_redirects_are_followed_without_ones_credentials(liar, guarded, tmp_path):
    data = bytes_of(8, 1000)
    with opened(liar.host) as registry:
        registry.send_blob(sha256(data), data)
    liar.seen.clear()
    asked = LyingRegistry(guarded.host)
    try:
        with opened(asked.host, credentials=KNOWN) as registry:
            registry.send_blob(sha256(data), data)
            elsewhere = f"http://{liar.host}/v2/team/delay/blobs/{sha256(data)}"
            asked.once("GET", "blobs/sha256", lambda _: Reply(307, (("Location", elsewhere),)))
            registry.fetch_blob(sha256(data), len(data), tmp_path / "back")
    finally:
        asked.close()
    assert (tmp_path / "back").read_bytes() == data
    assert [("Authorization" in headers) for _, _, headers, _ in liar.seen] == [False]
    assert "Authorization" in asked.seen[-1][2]


@pytest.mark.parametrize("challenge", ['Bearer realm="http://{host}/token",service="x"', 'Basic realm="x"'])
def test_who_one_was_led_to_is_not_told_the_password(liar, challenge, tmp_path):
    other = LyingRegistry(liar.upstream)
    asked = (("WWW-Authenticate", challenge.format(host=other.host)),)
    other.always("GET", "", lambda _: Reply(401, asked))
    liar.always("GET", "blobs", lambda _: Reply(307, (("Location", f"http://{other.host}/v2/storage"),)))
    try:
        with opened(liar.host, credentials=KNOWN) as registry, pytest.raises(RefusedError) as caught:
            registry.fetch_blob(sha256(b"x"), 1, tmp_path / "back")
    finally:
        other.close()
    assert caught.value.code == "registry-denied"
    assert [("Authorization" in headers, path) for _, path, headers, _ in other.seen] == [(False, "/v2/storage")]


def test_numbers_that_are_none_are_passed_over(liar, small_chunks, tmp_path):
    data = bytes_of(11, 100_000)
    with opened(liar.host) as registry:
        for number in ("\u00b2", "9" * 5000, "-1", "nan"):
            liar.once(
                "POST", "uploads", lambda true, n=number: true._replace(headers=(*true.headers, ("OCI-Chunk-Min-Length", n)))
            )
            liar.once("HEAD", "blobs", lambda _, n=number: Reply(429, (("Retry-After", n),)))
            liar.once("GET", "blobs", lambda true, n=number: Reply(206, (("Content-Range", f"bytes {n}-9/9"),), true.body))
        registry.send_blob(sha256(data), data)
        with pytest.raises(UnavailableError):
            registry.fetch_blob(sha256(data), len(data), tmp_path / "back")


def test_what_is_packed_although_nobody_asked_is_not_unpacked(liar):
    bomb = gzip.compress(bytes(50_000_000))
    liar.always("GET", "manifests", lambda _: Reply(200, (("Content-Encoding", "gzip"),), bomb))
    liar.always("HEAD", "blobs", lambda _: Reply(403, (("Content-Encoding", "gzip"),), bomb))
    with opened(liar.host) as registry:
        assert registry.get_manifest("v1").data == bomb
        with pytest.raises(RefusedError):
            registry.has_blob(sha256(b"x"))


@pytest.mark.parametrize("location", ["http://example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "https://[x"])
def test_redirects_to_where_nobody_should_go(liar, location, tmp_path):
    liar.always("GET", "blobs", lambda _: Reply(302, (("Location", location),)))
    liar.always("POST", "uploads", lambda _: Reply(202, (("Location", location),)))
    with opened(liar.host) as registry:
        with pytest.raises(RefusedError) as caught:
            registry.fetch_blob(sha256(b"x"), 1, tmp_path / "back")
        assert caught.value.code == "registry-redirect"
        with pytest.raises(RefusedError):
            registry.send_blob(sha256(b"abcdef"), b"abcdef")


def test_a_circle_of_redirects_ends(liar, tmp_path):
    liar.always("GET", "blobs", lambda _: Reply(302, (("Location", f"http://{liar.host}/v2/team/delay/blobs/again"),)))
    with opened(liar.host) as registry, pytest.raises(RefusedError, match="in a circle"):
        registry.fetch_blob(sha256(b"x"), 1, tmp_path / "back")


def test_a_token_server_over_http_elsewhere_is_not_told_the_password(liar):
    challenge = 'Bearer realm="http://example.com/token",service="x"'
    liar.always("HEAD", "blobs", lambda _: Reply(401, (("WWW-Authenticate", challenge),)))
    with opened(liar.host, credentials=KNOWN) as registry, pytest.raises(RefusedError) as caught:
        registry.has_blob(sha256(b"x"))
    assert caught.value.code == "registry-redirect"
