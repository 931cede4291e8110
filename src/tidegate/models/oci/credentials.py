"""Who one is to a registry: what the settings say, else what ``docker login`` (podman, skopeo, oras) left behind.

Source: the format of ``config.json`` of the Docker CLI (auths, credHelpers, credsStore) and the protocol of its credential helpers.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.errors import UnavailableError

_HUB_KEY = "https://index.docker.io/v1/"
_HELPER = re.compile(r"[A-Za-z0-9._-]+")
_SECONDS = 30


class Credentials(NamedTuple):
    """A name and a password; or, with the name ``<token>``, a refresh token that a token server takes."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.user!r}, ...)"

    @property
    def is_refresh_token(self) -> bool:
        """Whether the password is a refresh token."""
        return self.user == "<token>"

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find_credentials(host: str, config: Path) -> Credentials | None:
    """What a Docker configuration file knows about a host; None if it is not there or says nothing.

    A credential helper that it names is run, as Docker does.

    Raises:
        UnavailableError: the file cannot be read, or its helper fails.
    """
    try:
        read: Any = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unusable(f"{config} cannot be read: {error}") from None
    if not isinstance(read, dict):
        raise _unusable(f"{config} holds no object")
    names = [host, f"https://{host}"] + ([_HUB_KEY] if host == "docker.io" else [])
    helpers: Any = read.get("credHelpers") or {}
    auths: Any = read.get("auths") or {}
    try:
        for name in names:
            if name in helpers:
                return _ask_helper(str(helpers[name]), name)
            if auths.get(name):
                return _of_entry(auths[name])
        if read.get("credsStore"):
            return _ask_helper(str(read["credsStore"]), names[-1])
    except (AttributeError, TypeError, binascii.Error, UnicodeDecodeError) as error:
        raise _unusable(f"{config} is not as docker login writes it: {error}") from None
    return None


def _of_entry(entry: Any) -> Credentials | None:
    if entry.get("identitytoken"):
        return Credentials("<token>", entry["identitytoken"])
    if entry.get("auth"):
        user, _, password = base64.b64decode(entry["auth"], validate=True).decode().rstrip("\0").partition(":")
        return Credentials(user, password)
    return Credentials(entry["username"], entry.get("password", "")) if entry.get("username") else None


def _ask_helper(helper: str, name: str) -> Credentials | None:
    program = f"docker-credential-{helper}"
    if not _HELPER.fullmatch(helper):
        raise _unusable(f"{helper!r} is no name of a credential helper")
    try:
        done = subprocess.run(  # noqa: S603 - it is what the user's own configuration names, found as Docker finds it
            [program, "get"], input=name.encode(), capture_output=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(f"{program} cannot be run: {error}") from None
    if done.returncode:
        if b"not found" in done.stdout + done.stderr:
            return None
        raise _unusable(f"{program} failed with {done.returncode}")
    try:
        told: Any = json.loads(done.stdout)
        return Credentials(told["Username"], told["Secret"])
    except (ValueError, KeyError, TypeError):
        raise _unusable(f"{program} said nothing that can be read") from None


def _unusable(why: str) -> UnavailableError:
    return UnavailableError(
        "registry-credentials",
        "the credentials for the registry cannot be read",
        why=why,
        fix="docker login again, or set TIDEGATE_REGISTRY_USER and TIDEGATE_REGISTRY_PASSWORD",
    )
