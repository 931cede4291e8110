"""Names of things and references to versions: ``delay``, ``delay@12``, ``flights-eval@latest``."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import NamedTuple

from tidegate.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Reference(NamedTuple):
    """A name and what follows the ``@``: a number, ``latest``, ``champion``, or nothing."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name

    @property
    def number(self) -> int | None:
        """The version as a number, or None when it is a word."""
        return int(self.version) if self.version.isdigit() else None


def is_name(text: str) -> bool:
    """Whether ``text`` is fit for a path, a URL and a column."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def check_name(name: str, noun: str) -> str:
    """Returns ``name`` if it is fit for a path, a URL and a column.

    Raises:
        UsageError: it is empty, too long, or holds other characters than letters, digits, ``.``, ``_`` and ``-``.
    """
    if not is_name(name):
        raise UsageError(
            "bad-name",
            f"{name!r} cannot name {'an' if noun[:1] in 'aeiou' else 'a'} {noun}",
            why="a name has 1 to 100 letters, digits, dots, dashes or underscores and starts with a letter or digit",
            fix=f"choose a name like {re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.')[:100] or noun!r}",
        )
    return name


def parse_reference(text: str, noun: str) -> Reference:
    """Splits ``name@version``; the version may be a number (``12`` or ``v12``), a word, or absent.

    Raises:
        UsageError: the name or the version cannot be one.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - notebooks are not type-checked
        raise UsageError("bad-reference", f"a {type(text).__name__} names no {noun}", fix=f"write it as text, such as '{noun}@3'")
    name, _, version = text.partition("@")
    check_name(name, noun)
    if "@" in text and not re.fullmatch(r"v?\d{1,9}|[a-z]+", version):
        raise UsageError(
            "bad-reference",
            f"{text!r} names no version of {name}",
            why="after the @ stands a number or a word like latest",
            fix=f"write {name}@3 or {name}@latest",
        )
    return Reference(name, version.removeprefix("v") if version[:2].removeprefix("v").isdigit() else version)


def nearest(word: str, valid: list[str]) -> str:
    """``did you mean 'x'?`` when a valid word is close to ``word``, else the list of all valid ones."""
    close = get_close_matches(word[:200], valid, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"valid are: {', '.join(sorted(valid))}"
