"""What goes wrong with a database, in our own errors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import exc

from tidegate.errors import BadInputError, TidegateError, UnavailableError

BUSY_SECONDS = 30
"""How long a writer waits for another one."""

_ROLLED_BACK = {"40001", "40P01"}  # serialization failure, deadlock: the server has undone everything
_GONE = {"57P01", "57P02", "57P03"}  # shutting down, crashed, starting
_LOGIN = ("authentication failed", "pg_hba.conf", "role ", "no password supplied")


def sqlstate(error: exc.DBAPIError) -> str:
    """The five characters by which Postgres names an error; empty for SQLite and for a connection that failed."""
    return getattr(error.orig, "sqlstate", None) or ""


def was_undone(error: exc.DBAPIError) -> bool:
    """Whether the server itself undid the transaction, so that it may simply be done again."""
    return sqlstate(error) in _ROLLED_BACK


def is_gone(error: exc.DBAPIError) -> bool:
    """Whether there is no connection to the server: it cannot be reached, or broke off."""
    state = sqlstate(error)
    if error.connection_invalidated or state in _GONE or state.startswith("08"):
        return True
    return isinstance(error, exc.OperationalError) and _is_postgres(error) and not state and not _is_login(str(error.orig))


def _is_postgres(error: exc.DBAPIError) -> bool:
    return hasattr(error.orig, "sqlstate")


def _is_login(reason: str) -> bool:
    return any(part in reason for part in _LOGIN)


@contextmanager
def translated(place: str) -> Generator[None]:
    """Raises errors of the database at ``place`` (a URL without its password) as ours. A broken constraint stays what it is."""
    try:
        yield
    except exc.IntegrityError:
        raise
    except exc.DBAPIError as error:
        raise (_of_postgres(error, place) if _is_postgres(error) else _of_sqlite(error, place)) from None
    except exc.TimeoutError:
        raise _busy(place, "all connections are in use") from None
    except OverflowError as error:  # SQLite's driver; Postgres answers with a DataError
        raise BadInputError(
            "text-not-storable", "SQLite cannot store this value", why=str(error), fix="whole numbers have 64 bits"
        ) from None
    except exc.StatementError as error:
        if isinstance(error.orig, TidegateError):  # a value was refused on its way in
            raise error.orig from None
        raise


def _of_sqlite(error: exc.DBAPIError, place: str) -> TidegateError:
    reason = str(error.orig)
    if not isinstance(error, exc.OperationalError):
        return UnavailableError(
            "database-damaged", f"the metadata database cannot be read: {place}", why=reason, fix="restore it from a backup"
        )
    if "locked" in reason:
        return UnavailableError(
            "store-locked",
            f"the metadata database stayed locked for {BUSY_SECONDS} seconds: {place}",
            why="another process is writing to it, or hangs while it does",
            fix="find it with: fuser FILE; stop it and try again",
        )
    if "full" in reason:
        return _full(place)
    return UnavailableError(
        "database-unavailable",
        f"the metadata database cannot be used: {place}",
        why=reason,
        fix="check its folder, owner and mode",
    )


def _of_postgres(error: exc.DBAPIError, place: str) -> TidegateError:
    state, reason = sqlstate(error), str(error.orig).strip().split("\n")[0]
    if is_gone(error):
        return UnavailableError(
            "database-unreachable",
            f"the metadata database does not answer: {place}",
            why=reason,
            fix="start it, or check host and port; what was acknowledged is safe, and what was not may be sent again",
        )
    if state.startswith("28") or (not state and _is_login(reason)):
        return UnavailableError(
            "database-login",
            f"the metadata database does not let this user in: {place}",
            why=reason,
            fix="check user, password and pg_hba.conf",
        )
    if state in {"40001", "40P01", "55P03", "57014", "53300"}:
        return _busy(place, reason)
    if state == "53100":
        return _full(place)
    if state == "54000" or isinstance(error, exc.DataError):
        return BadInputError(
            "text-not-storable", "Postgres cannot store this value", why=reason, fix="make it shorter or simpler"
        )
    return UnavailableError(
        "database-unavailable",
        f"the metadata database cannot be used: {place}",
        why=reason,
        fix="check the rights of its user and the log of the server",
    )


def _busy(place: str, why: str) -> UnavailableError:
    return UnavailableError(
        "database-busy",
        f"the metadata database has no time now: {place}",
        why=why,
        fix="try again; what was refused changed nothing",
    )


def _full(place: str) -> UnavailableError:
    return UnavailableError(
        "disk-full", f"the disk is full: {place}", why="nothing was changed", fix="free some space and try again"
    )
