"""Code that is not ours (a model, a file format): whatever it raises becomes a reason for INVALID."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from tidegate.errors import BadInputError, TidegateError


@contextmanager
def foreign(code: str, what: str) -> Generator[None]:
    """Turns any failure inside into an error with this code; our own errors pass as they are.

    Raises:
        BadInputError: something inside failed.
    """
    try:
        yield
    except TidegateError:
        raise
    except Exception as error:
        raise BadInputError(code, what, why=f"{type(error).__name__}: {error}", fix="run it on these rows by hand") from error
