"""The filter language for runs: ``metrics.loss < 0.3 and (params.depth = '6' or tags.team like 'ops%')``.

Grammar (MLflow's comparisons, with OR and parentheses)::

    any      = all { "or" all }
    all      = term { "and" term }
    term     = "(" any ")" | field comparison value
    field    = ("metrics" | "params" | "tags") "." name  |  attribute
    comparison = "=" | "!=" | "<" | "<=" | ">" | ">=" | "like"

A name with other characters than letters, digits, ``_``, ``-``, ``/`` and ``.`` stands in backticks or double quotes.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from tidegate.errors import UsageError
from tidegate.records.names import nearest

ATTRIBUTES = ["id", "experiment", "name", "state", "author", "started_at", "ended_at"]
_SPACES = ["metrics", "params", "tags"]
_TOKEN = re.compile(
    r"""\s*(?:(?P<op><=|>=|!=|=|<|>)|(?P<paren>[()])|(?P<number>-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\w.]))"""
    r"""|(?P<text>'(?:[^']|'')*')|(?P<word>[A-Za-z_][\w./-]*(?:[`"][^`"]+[`"])?))"""
)


class Comparison(NamedTuple):
    """``space`` is metrics, params, tags or attributes."""

    space: str
    name: str
    operator: str
    value: str | float


class Combination(NamedTuple):
    """All or any of the terms."""

    kind: Literal["and", "or"]
    terms: list[Comparison | Combination]


class _Token(NamedTuple):
    kind: str
    text: str


def parse_filter(text: str) -> Comparison | Combination | None:
    """The filter as a tree, or None for an empty text.

    Raises:
        UsageError: it cannot be parsed; the error says where.
    """
    if not text.strip():
        return None
    return _Parser(_tokens(text), text).whole()


def parse_field(text: str) -> tuple[str, str]:
    """``metrics.loss`` to ``("metrics", "loss")``, ``started_at`` to ``("attributes", "started_at")``."""
    space, dot, name = text.partition(".")
    if dot and space in _SPACES:
        return space, name.strip('`"')
    attribute = name if dot and space == "attributes" else text
    if attribute not in ATTRIBUTES:
        raise UsageError(
            "bad-filter",
            f"{text!r} is nothing that runs can be filtered by",
            why="fields are metrics.NAME, params.NAME, tags.NAME or an attribute",
            fix=nearest(text, [*ATTRIBUTES, "metrics.loss", "params.depth", "tags.team"]),
        )
    return "attributes", attribute


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise _unparsable(text, text[position:].strip())
        kind = str(match.lastgroup)
        tokens.append(_Token(kind, match.group(kind)))
        position = match.end()
    return tokens


def _unparsable(text: str, rest: str) -> UsageError:
    return UsageError(
        "bad-filter",
        f"the filter {text!r} cannot be read at {rest or 'its end'!r}",
        why="a filter is made of comparisons joined by and, or, and parentheses; texts stand in single quotes",
        fix="write it like: metrics.loss < 0.3 and params.depth = '6'",
    )


_DEEPEST = 50


class _Parser:
    def __init__(self, tokens: list[_Token], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._depth = 0

    def whole(self) -> Comparison | Combination:
        tree = self._combination("or")
        if self._tokens:
            raise _unparsable(self._text, self._tokens[0].text)
        return tree

    def _combination(self, kind: Literal["and", "or"]) -> Comparison | Combination:
        terms = [self._combination("and") if kind == "or" else self._term()]
        while self._tokens and self._tokens[0].kind == "word" and self._tokens[0].text.lower() == kind:
            self._tokens.pop(0)
            terms.append(self._combination("and") if kind == "or" else self._term())
        return terms[0] if len(terms) == 1 else Combination(kind, terms)

    def _term(self) -> Comparison | Combination:
        token = self._next("word", "paren")
        if token.text == "(":
            self._depth += 1
            if self._depth > _DEEPEST:
                raise _unparsable(self._text[:100], "(" * 3)
            tree = self._combination("or")
            self._depth -= 1
            if self._next("paren").text != ")":
                raise _unparsable(self._text, ")")
            return tree
        if token.kind != "word":
            raise _unparsable(self._text, token.text)
        space, name = parse_field(token.text)
        operator = self._next("op", "word").text.lower()
        if operator not in {"=", "!=", "<", "<=", ">", ">=", "like"}:
            raise _unparsable(self._text, operator)
        value = self._next("number", "text")
        if (space == "metrics") != (value.kind == "number") and name not in {"started_at", "ended_at"}:
            raise UsageError(
                "bad-filter",
                f"{token.text} cannot be compared with {value.text}",
                why="metrics and times are numbers; everything else is text in single quotes",
                fix=f"write {token.text} {operator} {'0.3' if space == 'metrics' else repr(value.text)}",
            )
        return Comparison(
            space, name, operator, float(value.text) if value.kind == "number" else value.text[1:-1].replace("''", "'")
        )

    def _next(self, *kinds: str) -> _Token:
        if not self._tokens or self._tokens[0].kind not in kinds:
            raise _unparsable(self._text, self._tokens[0].text if self._tokens else "")
        return self._tokens.pop(0)
