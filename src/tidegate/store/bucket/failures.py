"""What an object store's failures mean. obstore tells them as classes and texts; this is the one place that reads them."""

from __future__ import annotations

import re

from tidegate.errors import TidegateError, UnavailableError

_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_NO_CREDENTIALS = (  # without credentials obstore asks the machine it runs on for its role, at these paths
    "latest/api/token",
    "latest/meta-data",
    "computeMetadata",
    "metadata/identity",
    "Missing AccessKeyId",
    "Missing SecretAccessKey",
    "Account must be specified",
)
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_FINAL = {"400", "401", "403", "404", "405", "411", "413", "501"}


def is_missing_bucket(error: Exception) -> bool:
    """Whether the bucket itself, not a key in it, is what is not there."""
    return any(sign in str(error) for sign in _NO_BUCKET)


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later: a time-out, a broken connection, a 5xx."""
    found = _STATUS.search(str(error))
    return not (found and found[1] in _FINAL) and not any(sign in str(error) for sign in _NO_CREDENTIALS)


def translate(error: Exception, verb: str, place: str) -> TidegateError:
    """The error to raise when obstore failed to ``verb`` something at ``place``."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    answer = " ".join(found[1] for found in (status, code) if found)
    if is_missing_bucket(error):
        return UnavailableError(
            "bucket-missing",
            f"there is no bucket at {place}",
            why=f"the store answered {answer}",
            fix="make it first (tidegate never makes one), or correct the setting bucket",
        )
    if any(sign in text for sign in _NO_CREDENTIALS):
        return UnavailableError(
            "bucket-credentials",
            f"no credentials for {place}",
            why="the environment has none, and this machine has no role that the store knows",
            fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the variables of your cloud",
        )
    if (status and status[1] in {"401", "403"}) or type(error).__name__ in {"PermissionDeniedError", "UnauthenticatedError"}:
        return UnavailableError(
            "bucket-denied",
            f"the store does not let this account {verb} {place}",
            why=f"it answered {answer or 'access denied'}",
            fix="check the credentials in the environment and the bucket's policy",
        )
    return UnavailableError(
        "bucket-unavailable",
        f"cannot {verb} {place}",
        why=f"it answered {answer}" if answer else _first_line(text),
        fix="check the address and the network, then try again; what was stored is untouched",
    )


def _first_line(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= 300 else f"{line[:300]}..."
