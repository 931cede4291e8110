"""Every error that Tidegate raises on purpose.

    TidegateError            exit 1, HTTP 500
    |-- UsageError           exit 2, HTTP 400   the request is wrong: a flag, a name, a policy key
    |-- BadInputError        exit 1, HTTP 422   the data is wrong: NaN, a missing column, a broken contract
    |-- NotFoundError        exit 1, HTTP 404   nothing has that name
    |-- ConflictError        exit 1, HTTP 409   somebody else was first, or it exists with other content
    |-- RefusedError         exit 1, HTTP 403   a rule forbids it: no PASS receipt, frozen, quarantined
    |   `-- ApprovalMissing  exit 6, HTTP 403   the evidence is there, a person's consent is not
    |-- IntegrityError       exit 1, HTTP 500   bytes are not what was recorded
    `-- UnavailableError     exit 1, HTTP 503   the surroundings fail: disk full, port taken, extra not installed

An error carries four short texts: ``code`` (stable, documented in docs/reference/errors.md), ``what`` happened,
``why``, and ``fix``: what to do now. The CLI prints them as four lines, HTTP returns them as JSON.
"""

from __future__ import annotations

import re
from typing import ClassVar

_USER_PASSWORD = re.compile(r"(://[^:/@\s]*):\S*@")
_WEB_USER = re.compile(r"(https?://)[^:/@\s]+@")
_QUERY_SECRET = re.compile(r"(?i)([?&][^=&\s]*(?:pass|secret|token|key|sig|credential)[^=&\s]*=)[^&#\s]*")


class TidegateError(Exception):
    """An expected failure, told as code, what, why and fix."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, code: str, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return "\n".join(f"{label}: {text}" for label, text in self._lines() if text)

    def _lines(self) -> list[tuple[str, str]]:
        return [("error", f"{self.what} [{self.code}]"), ("why", self.why), ("fix", self.fix)]

    def as_dict(self) -> dict[str, str]:
        """The same four texts as HTTP and ``--json`` return them."""
        return {"code": self.code, "what": self.what, "why": self.why, "fix": self.fix}

    def __reduce__(self) -> tuple[object, ...]:
        # An exception with keyword arguments does not survive pickling across processes by itself.
        return (_rebuild, (type(self), self.as_dict()))


def _rebuild(kind: type[TidegateError], texts: dict[str, str]) -> TidegateError:
    return kind(texts["code"], texts["what"], why=texts["why"], fix=texts["fix"])


class UsageError(TidegateError):
    """The request itself is wrong: a flag, a name, a policy key."""

    exit_code = 2
    http_status = 400


class BadInputError(TidegateError):
    """The data given cannot be used."""

    http_status = 422


class NotFoundError(TidegateError):
    """Nothing has that name."""

    http_status = 404


class ConflictError(TidegateError):
    """Somebody else was first, or the thing exists with other content."""

    http_status = 409


class RefusedError(TidegateError):
    """A rule of the project forbids it."""

    http_status = 403


class ApprovalMissing(RefusedError):
    """The evidence is there; the consent of a person is not."""

    exit_code = 6


class IntegrityError(TidegateError):
    """Bytes on disk or in the bucket are not what was recorded."""


class UnavailableError(TidegateError):
    """The surroundings fail: disk full, port taken, store locked, extra not installed."""

    http_status = 503


def missing_extra(extra: str, module: str, purpose: str) -> UnavailableError:
    """The error for an optional dependency that is not installed."""
    return UnavailableError(
        "extra-missing",
        f"{purpose} needs the package {module!r}, which is not installed",
        why=f"it belongs to the optional extra [{extra}], so that the core stays small",
        fix=f'pip install "tidegate[{extra}]"',
    )


def without_passwords(text: str) -> str:
    """A text without the passwords of the addresses in it: ``scheme://user:***@host/place?password=***``."""
    without_users = _WEB_USER.sub(r"\1***@", text)
    return _QUERY_SECRET.sub(r"\1***", _USER_PASSWORD.sub(r"\1:***@", without_users))
