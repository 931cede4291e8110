"""Where an artifact is: ``oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]``."""

from __future__ import annotations

import re
from typing import NamedTuple

from tidegate.errors import UsageError

SCHEME = "oci://"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

# The grammars of the OCI distribution specification 1.1, "Pulling manifests", and of its reference implementation.
_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HUB = "docker.io"


class ArtifactReference(NamedTuple):
    """A place in a registry. ``digest`` (``sha256:...``) names bytes; ``tag`` whatever it was last moved to."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return SCHEME + self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        """``host:port/repository``."""
        return f"{self.host}/{self.repository}"

    @property
    def pinned(self) -> str:
        """The reference by its digest alone: the same bytes for ever."""
        return f"{SCHEME}{self.name}@{self.digest}"

    @property
    def wanted(self) -> str:
        """What is asked for: the digest if there is one, else the tag."""
        return self.digest or self.tag or "latest"

    @property
    def loopback(self) -> bool:
        """Whether the registry runs on this machine."""
        return host_name(self.host) in LOOPBACK

    @property
    def server(self) -> str:
        """The host that is asked: Docker Hub has another one than its name."""
        return "registry-1.docker.io" if self.host == _HUB else self.host


def host_name(host: str) -> str:
    """A host without its port and without the brackets of an IPv6 address."""
    return host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]


def is_artifact(text: str) -> bool:
    """Whether a text is meant as the reference of an artifact."""
    return text.startswith(SCHEME)


def parse_artifact(text: str) -> ArtifactReference:
    """Takes a reference apart.

    Raises:
        UsageError: it is none.
    """
    rest, _, digest = text.removeprefix(SCHEME).partition("@")
    host, _, path = rest.partition("/")
    repository, _, tag = path.partition(":")
    if host == _HUB and "/" not in repository:
        repository = f"library/{repository}"
    wrong = [
        what
        for what, held in (
            (f"it does not begin with {SCHEME}", is_artifact(text)),
            (f"{host!r} is no host", _HOST.fullmatch(host)),
            (f"{repository!r} is no repository: lower case, digits, and . _ - between them", _REPOSITORY.fullmatch(repository)),
            (f"{tag!r} is no tag", _TAG.fullmatch(tag) if ":" in path else True),
            (
                f"{digest[:80]!r} is no digest: sha256: and 64 hexadecimal digits",
                _DIGEST.fullmatch(digest) if "@" in text else True,
            ),
        )
        if not held
    ]
    if wrong:
        raise UsageError(
            "bad-artifact-reference",
            f"{text[:300]!r} names no artifact in a registry",
            why=wrong[0],
            fix="write it like oci://registry.example.com/team/delay:3 or oci://registry.example.com/team/delay@sha256:...",
        )
    return ArtifactReference(host, repository, tag, digest)
