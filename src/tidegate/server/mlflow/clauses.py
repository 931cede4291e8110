"""MLflow's filters over records in memory: ``name LIKE 'a%' AND tags.team = 'ops' AND experiment_id IN ('1', '2')``.

Source: ``mlflow/utils/search_utils.py`` of MLflow 3.18. Runs have the store's own language, see ``tidegate.store.filter``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tidegate.server.mlflow.protocol import invalid

_TOKEN = re.compile(
    r"""\s*(?:(?P<op><=|>=|!=|<>|=|<|>)|(?P<paren>[(),])|(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")"""
    r"""|(?P<number>-?\d+(?:\.\d+)?)(?![\w.])|(?P<word>(?:[A-Za-z_]\w*\.)?(?:`[^`]+`|"[^"]+"|[\w./-]+)))"""
)


def like(text: str, pattern: str) -> bool:
    """SQL's LIKE: ``%`` is any text, ``_`` any character. In time of at most length times length, whatever the pattern."""
    at = in_pattern = 0
    last, resumed = -1, 0
    while at < len(text):
        if in_pattern < len(pattern) and pattern[in_pattern] == "%":
            last, resumed = in_pattern, at
            in_pattern += 1
        elif in_pattern < len(pattern) and pattern[in_pattern] in {"_", text[at]}:
            at += 1
            in_pattern += 1
        elif last >= 0:
            resumed += 1
            at, in_pattern = resumed, last + 1
        else:
            return False
    return not pattern[in_pattern:].strip("%")


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "IN": lambda left, right: left in right,
    "NOT IN": lambda left, right: left not in right,
    "LIKE": like,
    "ILIKE": lambda left, right: like(left.lower(), right.lower()),
}
_MOST = 1000


class Clause(NamedTuple):
    """``space`` is ``tags`` or ``attributes``; operators are upper case; ``value`` is None after IS NULL."""

    space: str
    key: str
    operator: str
    value: str | float | list[str] | None


class _Token(NamedTuple):
    kind: str
    text: str


def parse_clauses(text: str, attributes: Sequence[str]) -> list[Clause]:
    """The clauses of a filter, which all must hold.

    Raises:
        MlflowError: it cannot be read, or names an attribute that is none of ``attributes``.
    """
    tokens = _tokens(text)
    found: list[Clause] = []
    while tokens:
        if found and (tokens.pop(0).text.upper() != "AND" or not tokens):
            raise _unreadable(text)
        found.append(_clause(tokens, text, attributes))
        if len(found) > _MOST:
            raise _unreadable(text)
    return found


def parse_order(items: Sequence[str], attributes: Sequence[str]) -> list[tuple[str, bool]]:
    """The attributes to sort by, and whether each ascends.

    Raises:
        MlflowError: one of them is none of ``attributes``, or the direction is neither ASC nor DESC.
    """
    found: list[tuple[str, bool]] = []
    for item in items:
        words = item.split()
        direction = words[1].upper() if len(words) == 2 else "ASC"
        if not 1 <= len(words) <= 2 or direction not in {"ASC", "DESC"}:
            raise invalid(f"Invalid order_by clause '{item[:200]}'.")
        space, key = _field(words[0], attributes)
        if space != "attributes":
            raise invalid(f"Invalid order_by entity: {space}")
        found.append((key, direction == "ASC"))
    return found


def holds(clause: Clause, attributes: Mapping[str, str | int], tags: Mapping[str, str]) -> bool:
    """Whether a clause is true of a record with these attributes and tags. A tag that is absent satisfies only IS NULL."""
    value: Any = tags.get(clause.key) if clause.space == "tags" else attributes.get(clause.key)
    if clause.operator in {"IS NULL", "IS NOT NULL"}:
        return (value is None) is (clause.operator == "IS NULL")
    return value is not None and _COMPARED[clause.operator](value, clause.value)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text)
        kind = str(match.lastgroup)
        found.append(_Token(kind, match.group(kind)))
        at = match.end()
    return found


def _clause(tokens: list[_Token], text: str, attributes: Sequence[str]) -> Clause:
    space, key = _field(_next(tokens, text, "word").text, attributes)
    operator = _next(tokens, text, "op", "word").text.upper()
    if operator in {"NOT", "IS"}:
        operator += f" {_next(tokens, text, 'word').text.upper()}"
        if operator == "IS NOT":
            operator += f" {_next(tokens, text, 'word').text.upper()}"
    operator = "!=" if operator == "<>" else operator
    if operator in {"IS NULL", "IS NOT NULL"}:
        return Clause(space, key, operator, None)
    if operator not in _COMPARED:
        raise invalid(f"Invalid comparator '{operator[:50]}' in filter string: {text[:200]}")
    if operator in {"IN", "NOT IN"}:
        return Clause(space, key, operator, _texts(tokens, text))
    value = _next(tokens, text, "text", "number")
    return Clause(space, key, operator, _unquoted(value.text) if value.kind == "text" else float(value.text))


def _texts(tokens: list[_Token], text: str) -> list[str]:
    found: list[str] = []
    if _next(tokens, text, "paren").text != "(":
        raise _unreadable(text)
    while True:
        found.append(_unquoted(_next(tokens, text, "text").text))
        mark = _next(tokens, text, "paren").text
        if mark == ")":
            return found
        if mark != ",":
            raise _unreadable(text)


def _field(text: str, attributes: Sequence[str]) -> tuple[str, str]:
    head, dot, tail = text.partition(".")
    if dot and head in {"tag", "tags"}:
        return "tags", tail.strip('`"')
    if dot and head not in {"attribute", "attributes"}:
        raise invalid(f"Invalid entity type '{head[:50]}'. Valid entity types are ('attribute', 'attributes', 'tag', 'tags')")
    key = (tail if dot else text).strip('`"')
    if key not in attributes:
        raise invalid(f"Invalid attribute key '{key[:50]}' specified. Valid keys are '{set(attributes)}'")
    return "attributes", key


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def _next(tokens: list[_Token], text: str, *kinds: str) -> _Token:
    if not tokens or tokens[0].kind not in kinds:
        raise _unreadable(text)
    return tokens.pop(0)


def _unreadable(text: str) -> Exception:
    return invalid(f"Invalid clause(s) in filter string: {text[:200]}")
