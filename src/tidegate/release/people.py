"""Whether two names are one person's: nobody counts twice, and no author approves, by spelling a name otherwise."""

from __future__ import annotations

import unicodedata


def is_same_person(one: str, other: str) -> bool:
    """Whether two names are one person's however they are spelled. An address stands for its first part: ``ana@example.org`` is ``ana``."""
    first, second = _plain(one), _plain(other)
    return first == second or first == second.partition("@")[0] or first.partition("@")[0] == second


def _plain(name: str) -> str:
    """The name without what nobody sees: case, width, marks without a picture, and how much space there is."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    seen = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")
    return " ".join(seen.split())
