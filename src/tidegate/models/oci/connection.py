"""HTTP to one registry: sign-in when it is asked for, patience with failures that pass, redirects that leak nothing.

Source: OCI Distribution Specification 1.1; the token flow of the Docker Registry HTTP API V2, "Token Authentication".
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from tidegate.errors import IntegrityError, NotFoundError, RefusedError, TidegateError, UnavailableError
from tidegate.models.oci.credentials import Credentials
from tidegate.models.oci.reference import LOOPBACK, ArtifactReference

TRIES = 5
_REDIRECTS = 5
_MOVED = {301, 302, 303, 307, 308}
_PASSING = {408, 429, 500, 502, 503, 504}
_TOLD = 64 * 1024
NUMBER = re.compile(r"[0-9]{1,15}")
"""A number in a header, as far as one is believed."""
_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')


class Answer(NamedTuple):
    """What a registry answered. ``told`` is what a refusal, or anything but a GET, says; the rest is in ``body``, unread."""

    status: int
    headers: Mapping[str, str]
    told: bytes
    body: BaseHTTPResponse
    url: str
    """Who answered: after a redirect it may be somebody else than was asked."""


class Connection:
    """Asks one registry about one repository. Not for several threads."""

    def __init__(
        self,
        place: ArtifactReference,
        *,
        credentials: Credentials | None = None,
        plain_http: bool | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """``plain_http`` None: http on this machine, https everywhere else. ``wait`` sleeps for so many seconds."""
        self.place = place
        self.wait = wait
        self._plain = place.loopback if plain_http is None else plain_http
        self._root = f"{'http' if self._plain else 'https'}://{place.server}/v2/"
        self._credentials = credentials
        self._authorization = ""
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=60), retries=False)

    def url(self, path: str) -> str:
        """The address of something in the repository, such as ``manifests/latest``."""
        return f"{self._root}{self.place.repository}/{path}"

    def located(self, location: str, base: str) -> str:
        """An address that the registry told, held against where it may lead.

        Raises:
            RefusedError: it leads from https to http, or from this machine to elsewhere over http, or is no address.
        """
        try:
            url = urljoin(base, location)
            parts = urlsplit(url)
        except ValueError:
            url, parts = "", urlsplit("")
        same = parts.netloc == urlsplit(self._root).netloc
        if parts.scheme == "https" or (parts.scheme == "http" and self._plain and (same or parts.hostname in LOOPBACK)):
            return url
        raise RefusedError(
            "registry-redirect",
            f"the registry {self.place.host} leads to {_plain_text(f'{parts.scheme}://{parts.hostname}')}",
            why="that is not https, so that what is sent and received could be read and changed on the way",
            fix="ask whoever runs the registry to mend its address (REGISTRY_HTTP_HOST, or the proxy before it)",
        )

    def ask(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = TRIES,
    ) -> Answer:
        """Sends a request, again after a failure that may pass; signs in if that is asked for, and follows redirects of reading.

        Raises:
            UnavailableError: the registry cannot be reached, or its failure did not pass.
            RefusedError: it leads where nobody should follow.
        """
        for attempt in range(tries):
            last = attempt == tries - 1
            try:
                answer = self._signed_in(method, url, body, headers or {})
            except HTTPError as error:
                if last:
                    raise self.unreachable(error) from None
                self.wait(0.5 * 2.0**attempt)
                continue
            if answer.status not in _PASSING or last:
                return answer
            asked = answer.headers.get("Retry-After", "")
            self.wait(min(float(asked), 60.0) if NUMBER.fullmatch(asked) else 0.5 * 2.0**attempt)
        raise AssertionError("unreachable")

    def unreachable(self, error: Exception) -> UnavailableError:
        """The error for a registry that cannot be reached."""
        reason = getattr(error, "reason", error)
        hint = "check its name, and that it runs"
        if isinstance(reason, ssl.SSLError) or "SSL" in str(reason):
            hint = "check its certificate (SSL_CERT_FILE names your own authority); a registry without TLS needs --plain-http"
        why = _plain_text(str(reason)).rpartition("): ")[2]  # without the name of urllib3's class
        return UnavailableError("registry-unreachable", f"the registry {self.place.host} cannot be reached", why=why, fix=hint)

    def refused(self, answer: Answer, what: str) -> TidegateError:
        """An answer that is a refusal, as an error. ``what`` was asked for."""
        told = f"it answered {answer.status}{_reasons(answer.told)}"
        if answer.status in {401, 403}:
            return RefusedError(
                "registry-denied",
                f"the registry {self.place.host} does not let you {what}",
                why=told + (" (without credentials)" if self._credentials is None else f" (as {self._credentials.user!r})"),
                fix=f"docker login {self.place.host}, or set TIDEGATE_REGISTRY_USER and TIDEGATE_REGISTRY_PASSWORD",
            )
        if answer.status == 404:
            return NotFoundError(
                "no-such-artifact",
                f"there is no {self.place}",
                why=f"the registry did not {what}: {told}",
                fix="check the repository, and the tag or digest; tidegate model push makes the version's number the tag",
            )
        if answer.status == 400 and "DIGEST_INVALID" in told:
            return IntegrityError(
                "artifact-changed", f"what arrived at {self.place.host} is not what was sent", why=told, fix="try again"
            )
        return UnavailableError(
            "registry-failed", f"the registry {self.place.host} did not {what}", why=told, fix="try again, or ask whoever runs it"
        )

    def close(self) -> None:
        """Closes what is open."""
        self._pool.clear()

    def _signed_in(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        answer = self._followed(method, url, body, headers)
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status != 401 or not challenge or not self._is_own(answer.url):  # nobody else is told who one is
            return answer
        authorization = self._sign_in(challenge, writes=method not in {"GET", "HEAD"})
        if not authorization or authorization == self._authorization:
            return answer
        self._authorization = authorization
        return self._followed(method, url, body, headers)

    def _followed(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        for _redirect in range(_REDIRECTS + 1):
            sent = {"User-Agent": "tidegate", "Accept-Encoding": "identity", **headers}
            if self._authorization and self._is_own(url):
                sent["Authorization"] = self._authorization
            answer = _read(
                method, url, self._pool.request(method, url, body=body, headers=sent, redirect=False, preload_content=False)
            )
            if answer.status not in _MOVED or method not in {"GET", "HEAD"}:
                return answer
            url = self.located(answer.headers.get("Location", ""), url)
        raise RefusedError(
            "registry-redirect",
            f"the registry {self.place.host} leads in a circle",
            why=f"more than {_REDIRECTS} redirects",
            fix="ask whoever runs it",
        )

    def _is_own(self, url: str) -> bool:
        """Whether an address is the registry's own."""
        asked, own = urlsplit(url), urlsplit(self._root)
        return (asked.scheme, asked.netloc) == (own.scheme, own.netloc)

    def _sign_in(self, challenge: str, *, writes: bool) -> str:
        """The Authorization header that answers a challenge; empty if there is nothing to say."""
        kind, _, rest = challenge.partition(" ")
        asked = dict(_PARAMETER.findall(rest))
        if kind.lower() == "basic":
            return self._credentials.basic() if self._credentials and not self._credentials.is_refresh_token else ""
        if kind.lower() != "bearer" or not asked.get("realm"):
            return ""
        realm = self.located(asked["realm"], self._root)
        scope = asked.get("scope") or f"repository:{self.place.repository}:{'pull,push' if writes else 'pull'}"
        wanted = {"service": asked.get("service", ""), "scope": scope}
        answer = self._ask_for_token(realm, wanted)
        if answer.status != 200:
            raise self.refused(answer, "sign in")
        try:
            told: Any = json.loads(answer.told)
            return f"Bearer {told.get('token') or told['access_token']}"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UnavailableError(
                "registry-failed", f"{urlsplit(realm).hostname} gave no token", why="its answer cannot be read", fix="try again"
            ) from None

    def _ask_for_token(self, realm: str, wanted: dict[str, str]) -> Answer:
        headers = {"User-Agent": "tidegate"}
        if self._credentials and self._credentials.is_refresh_token:
            form = wanted | {
                "grant_type": "refresh_token",
                "refresh_token": self._credentials.password,
                "client_id": "tidegate",
            }
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            method, url, body = "POST", realm, urlencode(form).encode()
        else:
            method, url, body = "GET", f"{realm}{'&' if '?' in realm else '?'}{urlencode(wanted)}", None
            headers |= {"Authorization": self._credentials.basic()} if self._credentials else {}
        return _read("", url, self._pool.request(method, url, body=body, headers=headers, redirect=False, preload_content=False))


def _read(method: str, url: str, answer: BaseHTTPResponse) -> Answer:
    """Takes in what is short; the body of a GET that succeeded is left to be streamed."""
    if method == "GET" and answer.status in {200, 206}:
        return Answer(answer.status, answer.headers, b"", answer, url)
    told = answer.read(_TOLD, decode_content=False)  # it was asked for as it is: what is packed all the same could be a bomb
    if len(told) == _TOLD:
        answer.close()  # whatever else it has to say
    return Answer(answer.status, answer.headers, told, answer, url)


def _reasons(told: bytes) -> str:
    """The reasons in a refusal, as the specification writes them."""
    try:
        errors: Any = json.loads(told)["errors"]
        return ": " + "; ".join(f"{one.get('code', '')} {_plain_text(str(one.get('message', '')))}" for one in errors[:3])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""


def _plain_text(text: str) -> str:
    """What somebody else says, fit for a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]
