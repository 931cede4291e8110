"""Text columns that hold the same on every database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from tidegate.errors import BadInputError


class StoredText(TypeDecorator[str]):
    """Text that compares and sorts by code points, also where the database has a language; what cannot be stored is refused."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Postgres sorts by the language of its database unless it is told not to."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TEXT(collation="C"))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Checks a value on its way in."""
        if value is not None:
            check_text(value)
        return value


def check_text(value: str) -> None:
    """Refuses what Postgres cannot hold, on SQLite too, so that a store can move from one to the other.

    Raises:
        BadInputError: a NUL character, or half of a surrogate pair.
    """
    if "\0" in value or not (value.isascii() or _encodes(value)):
        raise BadInputError(
            "text-not-storable",
            f"this text cannot be stored: {value[:60]!r}",
            why="it has a NUL character or half of a surrogate pair, which no database takes",
            fix="remove it; bytes belong into an artifact",
        )


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
