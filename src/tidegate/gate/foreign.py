"""What the gate reads and runs and cannot vouch for (a model, a file, stored bytes): whatever it raises becomes a reason for INVALID."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from tidegate.errors import BadInputError, IntegrityError, NotFoundError, TidegateError


@contextmanager
def foreign(code: str, what: str) -> Generator[None]:
    """Turns any failure inside into an error with this code; our own errors pass as they are.

    An object of the store that is gone or was changed is told with ``what``: its digest alone says to nobody whose it is.

    Raises:
        BadInputError: something inside failed.
    """
    try:
        yield
    except (IntegrityError, NotFoundError) as error:
        raise type(error)(error.code, f"{what}: {error.what}", why=error.why, fix=error.fix) from None
    except TidegateError:
        raise
    except Exception as error:
        raise BadInputError(code, what, why=f"{type(error).__name__}: {error}", fix="run it on these rows by hand") from error
