"""The line to the world: one HTTP request to a public address, and to no other.

A name is resolved once, every address that it has must be allowed, and the connection goes to one of those addresses, so that
a name which changes its meaning between look-up and connection reaches nothing inside. Redirects are answers, not followed. No proxy
of the environment is asked.

Source: ``mlflow/webhooks/ssrf.py`` of MLflow 3.18.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT = 10.0
MAX_ANSWER = 64 * 1024
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""What of IPv6 is the internet's (RFC 4291, 2.4): outside lie addresses that older tables of private ones do not name."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RefusedAddressError(Exception):
    """A webhook's address may not be reached."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, also if an IPv4 address is hidden in an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour
        if hidden is None and address in _NAT64:
            hidden = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if hidden is None and address not in _UNICAST:
            return False
        address = hidden or address
    return address.is_global and not address.is_multicast


class Line(NamedTuple):
    """How webhooks reach the world. Tests put another one in: the address of a test is never public."""

    schemes: tuple[str, ...] = ("https",)
    allowed: Callable[[Address], bool] = is_public
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context
    sleep: Callable[[float], None] = time.sleep

    def check(self, url: str) -> tuple[str, int, str, list[str]]:
        """Host, port, path and addresses of a webhook's URL.

        Raises:
            RefusedAddressError: the URL cannot be used, or one of its addresses is not allowed; the text says which.
        """
        if any(letter <= " " or letter > "~" for letter in url):
            raise RefusedAddressError("Webhook URL must be printable ASCII without spaces")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise RefusedAddressError(f"Invalid webhook URL {url!r}: {error}") from None
        if parts.scheme not in self.schemes:
            allowed = ", ".join(self.schemes)
            raise RefusedAddressError(f"Invalid webhook URL scheme: {parts.scheme!r}. Allowed schemes are: {allowed}.")
        if not host:
            raise RefusedAddressError(f"Webhook URL must include a hostname: {url!r}")
        if parts.username is not None or parts.password is not None:
            raise RefusedAddressError("Webhook URL must not include a user or a password: answers would show them")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = port or (443 if parts.scheme == "https" else 80)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise RefusedAddressError(f"Cannot resolve Webhook URL hostname {host!r}: {error}") from None
        addresses = list(dict.fromkeys(str(item[4][0]).partition("%")[0] for item in found))
        for address in addresses:
            found_address = ipaddress.ip_address(address)
            if not self.allowed(found_address):
                raise RefusedAddressError(
                    f"Webhook URL must not resolve to a non-public IP address. {host!r} resolves to {address}."
                )
            if parts.scheme == "http" and not found_address.is_loopback:
                raise RefusedAddressError(f"Webhook URL must be https: {host!r} is not on this machine.")
        return host, port, path, addresses

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        """Sends one request; returns the answer's status, text, and header ``Retry-After``.

        Raises:
            RefusedAddressError: see ``check``.
            OSError: the address cannot be reached.
            http.client.HTTPException: the answer is no HTTP.
        """
        host, port, path, addresses = self.check(url)
        raw = socket.create_connection((addresses[0], port), timeout=TIMEOUT)
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        # The timeout above is between two bytes; this one ends an answer that comes byte by byte.
        deadline = threading.Timer(TIMEOUT, _hang_up, [connection])
        deadline.daemon = True
        deadline.start()
        try:
            secure = url.startswith("https:")
            connection.sock = self.context().wrap_socket(raw, server_hostname=host) if secure else raw
            connection.request("POST", path, body, {"Host": _host(host, port, secure=secure), **headers})
            answer = connection.getresponse()
            text = answer.read(MAX_ANSWER).decode("utf-8", "replace")
            return answer.status, text, answer.headers.get("retry-after", "")
        finally:
            deadline.cancel()
            connection.close()
            raw.close()


def _hang_up(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):  # it has just ended by itself
        connection.sock.shutdown(socket.SHUT_RDWR)


def _host(host: str, port: int, *, secure: bool) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == (443 if secure else 80) else f"{name}:{port}"


def allowing(networks: list[Network]) -> Line:
    """A line that also reaches these networks of one's own. Plain HTTP goes to this machine alone, where that is allowed."""

    def allowed(address: Address) -> bool:
        return is_public(address) or any(address.version == network.version and address in network for network in networks)

    loopback = any(network.is_loopback for network in networks)
    return Line(schemes=("https", "http") if loopback else ("https",), allowed=allowed)
