"""Where artifacts are, and who asks for them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import UnavailableError, UsageError
from tidegate.models.oci import Credentials, find_credentials, is_artifact, parse_artifact

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("oci://registry.example.com/team/delay:3", "registry.example.com", "team/delay", "3", ""),
        (f"oci://localhost:5000/delay@{DIGEST}", "localhost:5000", "delay", "", DIGEST),
        (f"oci://[::1]:5000/a/b_c/d__e.f:v1.0@{DIGEST}", "[::1]:5000", "a/b_c/d__e.f", "v1.0", DIGEST),
        ("oci://docker.io/python:3.12-slim", "docker.io", "library/python", "3.12-slim", ""),
    ],
)
def test_references_are_taken_apart(text, host, repository, tag, digest):
    found = parse_artifact(text)
    assert (found.host, found.repository, found.tag, found.digest) == (host, repository, tag, digest)
    assert parse_artifact(str(found)) == found
    assert found.wanted == (digest or tag)


def test_this_machine_and_docker_hub_are_known():
    assert [
        parse_artifact(f"oci://{host}/a").loopback for host in ("127.0.0.1:5000", "localhost", "[::1]:1", "127.0.0.1.example.com")
    ] == [
        True,
        True,
        True,
        False,
    ]
    assert parse_artifact("oci://docker.io/a/b").server == "registry-1.docker.io"
    assert parse_artifact("oci://a.example/b").wanted == "latest"
    assert not is_artifact("delay@3")


@pytest.mark.parametrize(
    "text",
    [
        "delay@3",
        "oci://",
        "oci://host",
        "oci://host/",
        "oci://host/UPPER",
        "oci://host/a//b",
        "oci://host/../b",
        "oci://host/a:",
        "oci://host/a:b c",
        "oci://host/a@sha256:ab",
        "oci://host/a@md5:" + "a" * 32,
        "oci://user:secret@host/a",
        "oci://ho st/a",
        "oci://host/a?b=c",
        "https://host/a",
    ],
)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_artifact(text)
    assert caught.value.code == "bad-artifact-reference"


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_refused(text):
    try:
        found = parse_artifact("oci://" + text)
    except UsageError:
        return
    assert str(found).startswith("oci://")
    assert ".." not in found.repository.split("/")


@pytest.fixture
def config(tmp_path):
    def write(value) -> object:
        path = tmp_path / "config.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return write


def test_credentials_of_docker_login(config, tmp_path):
    auth = base64.b64encode(b"ana:pass:word").decode()
    written = config(
        {
            "auths": {
                "registry.example.com": {"auth": auth},
                "https://old.example.com": {"username": "bo", "password": "x"},
                "https://index.docker.io/v1/": {"identitytoken": "refreshing"},
                "empty.example.com": {},
            }
        }
    )
    assert find_credentials("registry.example.com", written) == Credentials("ana", "pass:word")
    assert find_credentials("old.example.com", written) == Credentials("bo", "x")
    hub = find_credentials("docker.io", written)
    assert hub is not None
    assert (hub.is_refresh_token, hub.password) == (True, "refreshing")
    assert find_credentials("empty.example.com", written) is None
    assert find_credentials("unknown.example.com", written) is None
    assert find_credentials("registry.example.com", tmp_path / "missing.json") is None


def test_credentials_are_not_shown():
    assert "secret" not in repr(Credentials("ana", "secret"))
    assert Credentials("ana", "secret").basic() == "Basic " + base64.b64encode(b"ana:secret").decode()


def test_credential_helpers_are_asked(config, tmp_path, monkeypatch):
    helper = tmp_path / "docker-credential-tests"
    helper.write_text(
        '#!/bin/sh\nread host\n[ "$host" = known.example.com ] || { echo "credentials not found"; exit 1; }\n'
        'echo "{\\"Username\\": \\"ana\\", \\"Secret\\": \\"from $host\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for written in (config({"credsStore": "tests"}), config({"credHelpers": {"known.example.com": "tests"}})):
        assert find_credentials("known.example.com", written) == Credentials("ana", "from known.example.com")
    assert find_credentials("other.example.com", config({"credsStore": "tests"})) is None


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[]",
        {"auths": {"a.example.com": {"auth": "%%%"}}},
        {"auths": ["a.example.com"]},
        {"credsStore": "../../bin/sh"},
        {"credsStore": "there-is-no-such"},
    ],
)
def test_a_configuration_that_cannot_be_used(value, config):
    with pytest.raises(UnavailableError) as caught:
        find_credentials("a.example.com", config(value))
    assert caught.value.code == "registry-credentials"
