"""The filter language: MLflow's comparisons with OR, NOT, parentheses, regular expressions and any aggregate of a metric.

``metrics.loss < 0.3 and (params.depth = '6' or tags.team like 'ops%') and not max(metrics.loss) > 5``

Grammar, in the order of how closely it binds; words may be written in any case::

    any        = all { "or" all }
    all        = term { "and" term }
    term       = "not" term | "(" any ")" | field comparison
    field      = [space "."] name  |  ("last" | "min" | "max" | "best" | "count") "(" "metrics." name ")"
    comparison = ("=" | "!=" | "<" | "<=" | ">" | ">=") value
               | ["not"] ("like" | "ilike" | "rlike") text  |  ["not"] "in" "(" text { "," text } ")"
               | "is" ["not"] "null"

- A space is ``metrics``, ``params``, ``tags``, ``attributes`` or ``datasets``; MLflow's other names of them are known too.
  What stands alone is an attribute.
- A name with other characters than letters, digits, ``_``, ``.``, ``-``, ``/`` and ``:`` stands in backticks or double quotes,
  a text in single or double quotes. Inside, the quote is written twice.
- Texts know ``= != like ilike rlike in``; numbers and times know ``= != < <= > >=``. Times are microseconds (MLflow's
  ``start_time`` and ``end_time``: milliseconds) or ISO texts. ``like`` minds the case, ``ilike`` does not (of ASCII letters);
  ``%`` is any text and ``_`` any character. ``rlike`` finds an RE2 expression anywhere in the text.
- A comparison of what a run does not have is false, ``!=`` and ``not in`` too, as in MLflow; only ``is null`` is true then.
  ``not`` turns true and false around. NaN is neither less nor greater nor equal: it fits ``!=`` alone.
- A run has several datasets: a comparison is true if it is true of one of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from tidegate.clock import parse_time
from tidegate.errors import UsageError
from tidegate.records.names import nearest
from tidegate.store.regex import check_pattern, matching

LONGEST = 200_000
MOST_COMPARISONS = 200
MOST_VALUES = 10_000
LONGEST_PATTERN = 10_000
_DEEPEST = 50

AGGREGATES = ("last", "min", "max", "best", "count")
Value: TypeAlias = "str | float | tuple[str, ...] | None"


class Comparison(NamedTuple):
    """``space`` is metrics, params, tags, attributes or datasets; ``operator`` is written small, such as ``not in``.

    The value is a number, a text, a tuple of texts for ``in``, None for ``is null``. ``aggregate`` concerns metrics alone.
    """

    space: str
    name: str
    operator: str
    value: Value
    aggregate: str = "last"


class Combination(NamedTuple):
    """All or any of the terms; ``not`` has one term."""

    kind: Literal["and", "or", "not"]
    terms: list[Comparison | Combination]


class Sort(NamedTuple):
    """One clause of an order."""

    space: str
    name: str
    descending: bool = False
    aggregate: str = "last"


class Attribute(NamedTuple):
    """What an attribute is called in the tree, and how its values are written.

    A ``scale`` of 1000 means that what is written in milliseconds is kept in microseconds.
    """

    name: str
    kind: Literal["text", "number", "time"] = "text"
    scale: int = 1


class Grammar(NamedTuple):
    """What can be filtered by: the names of the spaces, each to the one used in the tree, and the attributes."""

    spaces: Mapping[str, str]
    attributes: Mapping[str, Attribute]
    datasets: Sequence[str] = ("name", "digest", "context")


SPACES = {
    **dict.fromkeys(("metrics", "metric"), "metrics"),
    **dict.fromkeys(("params", "param", "parameters", "parameter"), "params"),
    **dict.fromkeys(("tags", "tag"), "tags"),
    **dict.fromkeys(("attributes", "attribute", "attr", "run"), "attributes"),
    **dict.fromkeys(("datasets", "dataset"), "datasets"),
}
RUNS = Grammar(
    SPACES,
    {
        "id": Attribute("id"),
        "experiment": Attribute("experiment"),
        "experiment_id": Attribute("experiment_id", "number"),
        "name": Attribute("name"),
        "state": Attribute("state"),
        "author": Attribute("author"),
        "started_at": Attribute("started_at", "time"),
        "ended_at": Attribute("ended_at", "time"),
        "heard_at": Attribute("heard_at", "time"),
        "lifecycle_stage": Attribute("lifecycle_stage"),
        # What MLflow calls them.
        "run_id": Attribute("id"),
        **dict.fromkeys(("run_name", "run name", "Run name", "Run Name"), Attribute("name")),
        "status": Attribute("state"),
        "user_id": Attribute("author"),
        **dict.fromkeys(("start_time", "created", "Created"), Attribute("started_at", "time", 1000)),
        "end_time": Attribute("ended_at", "time", 1000),
    },
)
"""What runs are searched by."""

Tree: TypeAlias = Comparison | Combination
Lookup: TypeAlias = Callable[[str, str], Any]


def parse_filter(text: str, grammar: Grammar = RUNS) -> Tree | None:
    """The filter as a tree of its grammar's own names, or None for an empty text.

    Raises:
        UsageError: it cannot be read, or is larger than anybody could mean; the error says where.
    """
    if not text.strip():
        return None
    return _Parser(text, grammar, "filter").whole()


def parse_order(order: str | Sequence[str], grammar: Grammar = RUNS) -> list[Sort]:
    """An order such as ``metrics.loss desc, params.depth``, as one text or a list of clauses.

    Raises:
        UsageError: it cannot be read, or names a field twice.
    """
    text = order if isinstance(order, str) else ", ".join(order)
    if not text.strip():
        return []
    sorts = _Parser(text, grammar, "order").order()
    fields = [(item.space, item.name, item.aggregate) for item in sorts]
    if len(set(fields)) < len(fields):
        raise UsageError("bad-filter", f"the order {_cut(text)!r} names a field twice", fix="name every field once")
    return sorts


def matches(tree: Tree | None, lookup: Lookup) -> bool:
    """Whether one thing fits a filter, in Python alone.

    ``lookup(space, name)`` gives its value: None where it has none, a list where it has several. Another aggregate of a metric
    than the last value is asked for as the space ``min(metrics)``.
    """
    if tree is None:
        return True
    if isinstance(tree, Combination):
        if tree.kind == "not":
            return not matches(tree.terms[0], lookup)
        return (all if tree.kind == "and" else any)(matches(term, lookup) for term in tree.terms)
    found = lookup(tree.space if tree.aggregate == "last" else f"{tree.aggregate}({tree.space})", tree.name)
    values: list[Any] = list(found) if isinstance(found, list | tuple | set | frozenset) else [] if found is None else [found]  # pyright: ignore[reportUnknownArgumentType] - values are anything
    if tree.operator == "is null":
        return not values
    if tree.operator == "is not null":
        return bool(values)
    return any(_fits(value, tree.operator, tree.value) for value in values)


def _fits(found: Any, operator: str, value: Any) -> bool:
    negated = operator.startswith("not ")
    match operator.removeprefix("not "):
        case "in":
            result = found in value
        case "like" | "ilike" as kind:
            result = _like(str(found), value, ignore_case=kind == "ilike")
        case "rlike":
            result = bool(matching(value, [str(found)]))
        case "=":
            result = found == value
        case "!=":
            result = found != value
        case "<":
            result = found < value
        case "<=":
            result = found <= value
        case ">":
            result = found > value
        case _:
            result = found >= value
    return result != negated


def _like(text: str, pattern: str, *, ignore_case: bool) -> bool:
    """Greedy matching between wildcards: linear for each part, where a regular expression may explode."""
    if ignore_case:
        text, pattern = _ascii_lower(text), _ascii_lower(pattern)
    first, *rest = pattern.split("%")
    if not rest:
        return len(text) == len(first) and _at(text, first, 0)
    *middle, last = rest
    if not _at(text, first, 0) or len(text) < len(first) + len(last) or not _at(text, last, len(text) - len(last)):
        return False
    position, end = len(first), len(text) - len(last)
    for part in middle:
        position = next((start for start in range(position, end - len(part) + 1) if _at(text, part, start)), -1)
        if position < 0:
            return False
        position += len(part)
    return True


def _at(text: str, part: str, start: int) -> bool:
    if "_" not in part:
        return text.startswith(part, start)
    found = text[start : start + len(part)]
    return len(found) == len(part) and all(wanted in ("_", given) for wanted, given in zip(part, found, strict=True))


def _ascii_lower(text: str) -> str:
    return "".join(chr(ord(char) + 32) if "A" <= char <= "Z" else char for char in text)


_TOKEN = re.compile(
    r"""\s*(?:(?P<op><=|>=|!=|<>|==|=|<|>)|(?P<mark>[(),])"""
    r"""|(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"""
    r"""|(?P<text>'(?:[^']|'')*')"""
    r"""|(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)"""
    r"""|(?P<word>[^\W\d][\w./:-]*(?:"(?:[^"]|"")+"|`(?:[^`]|``)+`)?))"""
)
_WORDS_OF_TEXT = {"like", "ilike", "rlike", "in"}


class _Token(NamedTuple):
    kind: str
    text: str
    at: int

    @property
    def small(self) -> str:
        return self.text.lower()


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Parser:
    """Recursive descent over one text."""

    def __init__(self, text: str, grammar: Grammar, noun: str) -> None:
        self._text = text
        self._grammar = grammar
        self._noun = noun
        self._depth = 0
        self._comparisons = 0
        if len(text) > LONGEST:
            raise self._too_large(f"it has {len(text)} characters, {LONGEST} are allowed")
        self._tokens = self._read()
        self._next_token = 0

    def whole(self) -> Tree:
        tree = self._any()
        if self._peek().kind != "end":
            raise self._unreadable(self._peek())
        return tree

    def order(self) -> list[Sort]:
        sorts: list[Sort] = []
        while True:
            token = self._peek()
            space, name, aggregate, _ = self._field()
            if space == "datasets":
                raise self._unreadable(token, "a run has several datasets, which have no order")
            descending = self._peek().kind == "word" and self._peek().small in {"asc", "desc"} and self._take().small == "desc"
            sorts.append(Sort(space, name, descending, aggregate))
            if self._peek().kind == "end":
                return sorts
            if self._peek().text != ",":
                raise self._unreadable(self._peek(), "after a field come ASC or DESC, a comma, or the end")
            self._take()

    def _any(self) -> Tree:
        terms = [self._all()]
        while self._word("or"):
            terms.append(self._all())
        return terms[0] if len(terms) == 1 else Combination("or", terms)

    def _all(self) -> Tree:
        terms = [self._term()]
        while self._word("and"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else Combination("and", terms)

    def _term(self) -> Tree:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._too_large(f"its parentheses are more than {_DEEPEST} deep")
        if self._word("not"):
            tree: Tree = Combination("not", [self._term()])
        elif self._peek().text == "(" and self._peek().kind == "mark":
            self._take()
            tree = self._any()
            self._expect(")")
        else:
            tree = self._comparison()
        self._depth -= 1
        return tree

    def _comparison(self) -> Tree:
        self._comparisons += 1
        if self._comparisons > MOST_COMPARISONS:
            raise self._too_large(f"it has more than {MOST_COMPARISONS} comparisons")
        space, name, aggregate, attribute = self._field()
        token = self._take()
        if token.kind not in {"op", "word"}:
            raise self._unreadable(token, "after a field comes a comparison")
        if token.small == "is":
            negated = self._word("not")
            if not self._word("null"):
                raise self._unreadable(self._peek(), "after IS comes NULL or NOT NULL")
            return Comparison(space, name, "is not null" if negated else "is null", None, aggregate)
        operator = {"<>": "!=", "==": "="}.get(token.small, token.small)
        if operator == "not":
            operator = f"not {self._take().small}"
        numeric = space == "metrics" or attribute.kind != "text"
        kind = operator.removeprefix("not ")
        if token.kind == "word" and kind not in _WORDS_OF_TEXT:
            raise self._unreadable(
                token, f"the comparisons are = != < <= > >= LIKE ILIKE RLIKE IN and IS NULL{_did_you_mean(kind)}"
            )
        if numeric != (operator in {"<", "<=", ">", ">="}) and operator not in {"=", "!="}:
            known = "= != < <= > >=" if numeric else "= != LIKE ILIKE RLIKE IN"
            raise self._unreadable(token, f"{'numbers and times' if numeric else 'texts'} are compared by {known}, IS NULL")
        if kind == "in":
            return Comparison(space, name, operator, self._values(), aggregate)
        if numeric:
            return self._number(space, name, operator, aggregate, attribute)
        value = self._text_value(f"{space}.{name}" if space != "attributes" else name)
        if kind == "rlike":
            check_pattern(value)
        if kind.endswith("like") and len(value) > LONGEST_PATTERN:
            raise self._too_large(f"a pattern has {len(value)} characters, {LONGEST_PATTERN} are allowed")
        return Comparison(space, name, operator, value, aggregate)

    def _number(self, space: str, name: str, operator: str, aggregate: str, attribute: Attribute) -> Tree:
        token = self._take()
        time = attribute.kind == "time"
        if time and token.kind in {"text", "quoted"}:
            return Comparison(space, name, operator, parse_time(_unquoted(token.text)), aggregate)
        if token.kind != "number":
            example = "0.3" if space == "metrics" else "'2026-11-01'" if time else "1"
            raise self._mismatch(name if space != "metrics" else f"metrics.{name}", token, f"{operator} {example}")
        number = int(token.text) if re.fullmatch(r"[+-]?\d{1,18}", token.text) else float(token.text)
        if attribute.scale == 1:
            return Comparison(space, name, operator, number, aggregate)
        return _scaled(name, operator, number, attribute.scale)

    def _text_value(self, field: str) -> str:
        token = self._take()
        if token.kind not in {"text", "quoted"}:
            raise self._mismatch(field, token, f"= '{token.text}'" if token.kind in {"number", "word"} else "= 'text'")
        return _unquoted(token.text)

    def _values(self) -> tuple[str, ...]:
        self._expect("(")
        values = [self._text_value("IN")]
        while self._peek().text == ",":
            self._take()
            values.append(self._text_value("IN"))
        self._expect(")")
        if len(values) > MOST_VALUES:
            raise self._too_large(f"a list has {len(values)} values, {MOST_VALUES} are allowed")
        return tuple(values)

    def _field(self) -> tuple[str, str, str, Attribute]:
        token = self._take()
        if token.kind == "word" and token.small in AGGREGATES and self._peek().text == "(":
            self._take()
            inner = self._take()
            space, name, attribute = self._named(inner)
            if space != "metrics":
                raise self._unreadable(inner, f"{token.small}() is taken of a metric, such as {token.small}(metrics.loss)")
            self._expect(")")
            return space, name, token.small, attribute
        return *self._named(token)[:2], "last", self._named(token)[2]

    def _named(self, token: _Token) -> tuple[str, str, Attribute]:
        if token.kind not in {"word", "quoted"}:
            raise self._unreadable(token, "here a field should stand")
        head, dot, rest = ("", "", token.text) if token.kind == "quoted" else token.text.partition(".")
        space = self._grammar.spaces.get(head, "") if dot else ""
        written = rest if space else token.text
        name = _unquoted(written) if len(written) > 1 and written[0] in '"`' else written
        if space == "datasets" and name not in self._grammar.datasets:
            raise self._unreadable(
                token, f"datasets have {', '.join(self._grammar.datasets)}; {nearest(name, list(self._grammar.datasets))}"
            )
        if space and space != "attributes" and name:
            return space, name, Attribute(name)
        attribute = self._grammar.attributes.get(name)
        if attribute is None:
            spaces = sorted(set(self._grammar.spaces.values()) - {"attributes", "datasets"})
            written = [f"{item}.{name.rpartition('.')[2][:60]}" for item in spaces]
            hint = nearest(name[:100], [*self._grammar.attributes, *written])
            raise UsageError(
                "bad-filter",
                f"{_cut(token.text)!r} (character {token.at + 1}) is nothing that can be filtered by",
                why=f"fields are {', '.join([*[f'{item}.NAME' for item in spaces], 'or an attribute'])}",
                fix=f"write {' or '.join(written)}" if not space and any(repr(item) in hint for item in written) else hint,
            )
        return "attributes", attribute.name, attribute

    def _read(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        end = len(self._text.rstrip())
        while position < end:
            match = _TOKEN.match(self._text, position)
            if match is None:
                start = position + len(self._text[position:]) - len(self._text[position:].lstrip())
                raise self._unreadable(_Token("", self._text[start : start + 30], start))
            kind = str(match.lastgroup)
            tokens.append(_Token(kind, match.group(kind), match.start(kind)))
            position = match.end()
        tokens.append(_Token("end", "", end))
        return tokens

    def _peek(self) -> _Token:
        return self._tokens[self._next_token]

    def _take(self) -> _Token:
        token = self._tokens[self._next_token]
        self._next_token = min(self._next_token + 1, len(self._tokens) - 1)
        return token

    def _word(self, word: str) -> bool:
        found = self._peek().kind == "word" and self._peek().small == word
        if found:
            self._take()
        return found

    def _expect(self, mark: str) -> None:
        token = self._take()
        if token.text != mark or token.kind != "mark":
            raise self._unreadable(token, f"here {mark!r} should stand")

    def _unreadable(self, token: _Token, why: str = "") -> UsageError:
        place = f"at {_cut(token.text)!r} (character {token.at + 1})" if token.text else "at its end"
        return UsageError(
            "bad-filter",
            f"the {self._noun} {_cut(self._text)!r} cannot be read {place}",
            why=why or "it is made of comparisons joined by and, or, not and parentheses; texts stand in single quotes",
            fix=f"write it like: {'metrics.loss < 0.3 and params.depth = ' + repr('6') if self._noun == 'filter' else 'metrics.loss desc, started_at'}",
        )

    def _mismatch(self, field: str, token: _Token, example: str) -> UsageError:
        return UsageError(
            "bad-filter",
            f"{_cut(field)} cannot be compared with {_cut(token.text) or 'nothing'} (character {token.at + 1})",
            why="metrics and times are compared with numbers; everything else with texts in quotes",
            fix=f"write {_cut(field)} {_cut(example)}",
        )

    def _too_large(self, why: str) -> UsageError:
        return UsageError(
            "bad-filter", f"the {self._noun} {_cut(self._text)!r} is too large", why=why, fix="ask for less at once"
        )


def _did_you_mean(word: str) -> str:
    hint = nearest(word[:20], ["like", "ilike", "rlike", "in", "is"])
    return f"; {hint}" if hint.startswith("did you mean") else ""


def _scaled(name: str, operator: str, number: float, scale: int) -> Tree:
    """A comparison of a value that is kept ``scale`` times as fine as it is written, as comparisons of the kept value."""
    if not math.isfinite(number):
        return Comparison("attributes", name, operator, number)
    floor = math.floor(number)
    whole = floor == number
    first, behind = floor * scale, (floor + 1) * scale
    match operator:
        case "=" if whole:
            return Combination("and", [Comparison("attributes", name, ">=", first), Comparison("attributes", name, "<", behind)])
        case "!=" if whole:
            return Combination("or", [Comparison("attributes", name, "<", first), Comparison("attributes", name, ">=", behind)])
        case "=" | "!=":
            return Comparison("attributes", name, operator, number * scale)
        case "<" | ">=":
            return Comparison("attributes", name, operator, first if whole else behind)
        case "<=":
            return Comparison("attributes", name, "<", behind)
        case _:
            return Comparison("attributes", name, ">=", behind)
