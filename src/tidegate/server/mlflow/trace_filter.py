"""The language in which MLflow's clients search traces: comparisons joined by AND, and what to sort by.

Source: ``SearchTraceUtils`` in ``mlflow/utils/search_utils.py`` of MLflow 3.18.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tidegate.server.mlflow.protocol import invalid

MOST_CLAUSES = 100
LONGEST = 100_000
TRACE_NAME = "mlflow.traceName"
PROMPTS = "mlflow.linkedPrompts"
SOURCE_RUN = "mlflow.sourceRun"

Value = str | float | tuple[str, ...] | None


class Clause(NamedTuple):
    """``space`` is attribute, tag, metadata, span, feedback, expectation or issue; ``operator`` is written large."""

    space: str
    key: str
    operator: str
    value: Value


class Order(NamedTuple):
    """One thing to sort by."""

    space: str
    key: str
    ascending: bool


_SPACES = {
    "tag": "tag",
    "tags": "tag",
    "metadata": "metadata",
    "request_metadata": "metadata",
    "attribute": "attribute",
    "attributes": "attribute",
    "trace": "attribute",
    "span": "span",
    "feedback": "feedback",
    "expectation": "expectation",
    "issue": "issue",
}
_ALIASES = {"timestamp": "timestamp_ms", "execution_time": "execution_time_ms", "end_time": "end_time_ms"}
_NUMERIC = {"timestamp_ms", "execution_time_ms", "end_time_ms"}
_TEXTUAL = {"request_id", "status", "client_request_id", "name", "run_id", "prompt", "text"}
_SORTABLE = {"experiment_id", "timestamp_ms", "execution_time_ms", "end_time_ms", "status", "request_id", "name", "run_id"}
_LISTABLE = {"name", "status", "request_id", "run_id", "client_request_id"}
_TEXT = {"=", "!=", "LIKE", "ILIKE", "RLIKE"}
_NULLS = {"IS NULL", "IS NOT NULL"}
_NUMBERS = {"=", "!=", "<", "<=", ">", ">="}
_OPERATORS = {
    "tag": _TEXT | _NULLS,
    "metadata": _TEXT | _NULLS,
    "span": _TEXT | {"IN", "NOT IN"},
    "feedback": _TEXT | _NULLS | _NUMBERS,
    "expectation": _TEXT | _NULLS | _NUMBERS,
    "issue": {"="},
}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
      | (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<word>(?:[\w\-/:@]|`[^`]*`)(?:[\w\-/:@.]|`[^`]*`|(?<=\.)"[^"]*")*)
      | (?P<sign>!=|<=|>=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str

    @property
    def word(self) -> str:
        return self.text.upper() if self.kind == "word" else ""


def parse_filter(text: str) -> list[Clause]:
    """The comparisons of a filter, all of which must hold.

    Raises:
        MlflowError: it cannot be understood.
    """
    if len(text) > LONGEST:
        raise invalid(f"The filter string is longer than {LONGEST} characters.")
    tokens = _tokens(text)
    clauses: list[Clause] = []
    place = 0
    while place < len(tokens):
        if clauses:
            if tokens[place].word != "AND":
                raise invalid(f"Invalid clause(s) in filter string: '{tokens[place].text}'")
            place += 1
        clause, place = _clause(tokens, place, text)
        clauses.append(clause)
        if len(clauses) > MOST_CLAUSES:
            raise invalid(f"The filter string has more than {MOST_CLAUSES} comparisons.")
    return clauses


def parse_order(text: str) -> Order:
    """One clause of ``order_by``, such as ``timestamp_ms DESC``.

    Raises:
        MlflowError: it cannot be understood.
    """
    parts = text.strip().split()
    ascending = True
    if len(parts) > 1 and parts[-1].upper() in {"ASC", "DESC"}:
        ascending = parts.pop().upper() == "ASC"
    if len(parts) != 1:
        raise invalid(f"Invalid order_by clause '{text}'. Could not be parsed.")
    space, key = _identifier(parts[0], sorting=True)
    if space not in {"attribute", "tag", "metadata"} or key in {"client_request_id", "prompt", "text"}:
        raise invalid(f"Invalid order_by entity `{space}` with key `{key}`")
    return Order(space, key, ascending)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place = 0
    end = len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place)
        if found is None or found.lastgroup is None:
            raise invalid(f"Invalid clause(s) in filter string: '{text[place : place + 80].strip()}'")
        tokens.append(_Token(found.lastgroup, found.group(found.lastgroup)))
        place = found.end()
    return tokens


def _clause(tokens: list[_Token], place: int, text: str) -> tuple[Clause, int]:
    rest = [*tokens[place : place + 4], *[_Token("end", "")] * 4]
    if rest[0].kind != "word":
        raise invalid(f"Invalid clause(s) in filter string: '{rest[0].text or text.strip()}'")
    space, key = _identifier(rest[0].text)
    operator, place = _operator(rest, place + 1, text)
    value: Value = None
    if operator not in _NULLS:
        value, place = _value(tokens, place, text)
    return _checked(Clause(space, key, operator, value)), place


def _operator(rest: list[_Token], place: int, text: str) -> tuple[str, int]:
    first, second, third = (token.word for token in rest[1:4])
    if rest[1].kind == "sign" and rest[1].text in _NUMBERS:
        return rest[1].text, place + 1
    if first in {"LIKE", "ILIKE", "RLIKE", "IN"}:
        return first, place + 1
    if first == "NOT" and second == "IN":
        return "NOT IN", place + 2
    if first == "IS" and second == "NULL":
        return "IS NULL", place + 2
    if first == "IS" and second == "NOT" and third == "NULL":
        return "IS NOT NULL", place + 3
    raise invalid(f"Invalid clause(s) in filter string: '{text.strip()[:200]}'")


def _value(tokens: list[_Token], place: int, text: str) -> tuple[Value, int]:
    token = tokens[place] if place < len(tokens) else _Token("end", "")
    if token.kind == "quoted":
        return _unquoted(token.text), place + 1
    if token.kind == "number":
        return float(token.text) if re.search(r"[.eE]", token.text) else int(token.text), place + 1
    if token.text == "(":
        values: list[str] = []
        place += 1
        while place < len(tokens) and tokens[place].kind == "quoted":
            values.append(_unquoted(tokens[place].text))
            place += 1
            if place < len(tokens) and tokens[place].text == ",":
                place += 1
        if values and place < len(tokens) and tokens[place].text == ")":
            return tuple(values), place + 1
    raise invalid(f"Expected a quoted string value or a list of them in '{text.strip()[:200]}'")


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def _identifier(text: str, *, sorting: bool = False) -> tuple[str, str]:
    """Space and key of ``tags.x``, ``trace.status``, ``name``, with MLflow's aliases replaced."""
    head, dot, tail = text.partition(".")
    head = head.strip("`")
    if not dot:
        space, key = "attribute", head
    elif head in _SPACES:
        space, key = _SPACES[head], tail
    else:
        raise invalid(f"Invalid entity type '{head}'. Valid values are {sorted(_SPACES)}")
    if space != "span" and len(key) > 1 and key[0] == key[-1] and key[0] in '`"':
        key = key[1:-1]
    if not key:
        raise invalid(f"Invalid identifier '{text}'. Columns should be specified as 'attribute.<key>', 'tag.<key>'.")
    if space != "attribute":
        return space, key
    key = _ALIASES.get(key, key)
    if key not in (_SORTABLE if sorting else _NUMERIC | _TEXTUAL):
        raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are '{sorted(_NUMERIC | _TEXTUAL)}'")
    if key == "name":
        return "tag", TRACE_NAME
    if key == "run_id":
        return "metadata", SOURCE_RUN
    if key == "prompt" and not sorting:
        return "tag", PROMPTS
    return ("span", "content") if key == "text" else (space, key)


def _checked(clause: Clause) -> Clause:
    """The clause, if its operator and value fit its key.

    Raises:
        MlflowError: they do not.
    """
    space, key, operator, value = clause
    known = _OPERATORS.get(space, set())
    if space == "attribute":
        known = _NUMBERS if key in _NUMERIC else _TEXT | {"IN", "NOT IN"}
    if space == "span" and key == "content":
        known = {"LIKE", "ILIKE"}
    if (space, key) in {("tag", TRACE_NAME), ("metadata", SOURCE_RUN)}:
        known = known | {"IN", "NOT IN"}
    if operator not in known:
        raise invalid(f"Invalid comparator '{operator}' not one of '{sorted(known)}'")
    if space == "span" and key not in {"name", "type", "status", "content"} and not key.startswith("attributes."):
        raise invalid(f"Invalid span attribute '{key}'. Supported attributes: name, status, type, attributes.<attribute_name>.")
    if space == "issue" and key != "id":
        raise invalid(f"Invalid issue attribute '{key}'. Supported attributes: id")
    if space == "tag" and key == PROMPTS and (operator != "=" or not isinstance(value, str) or value.count("/") != 1):
        raise invalid('Invalid prompts filter. Expected format: prompt = "name/version"')
    _check_value(space, key, operator, value)
    return clause


def _check_value(space: str, key: str, operator: str, value: Value) -> None:
    number = isinstance(value, int | float)
    if operator in _NULLS:
        return
    if isinstance(value, tuple):
        if operator not in {"IN", "NOT IN"} or (space == "attribute" and key not in _LISTABLE):
            raise invalid(f"'{key}' is not compared with a list of values by '{operator}'.")
        return
    if operator in {"IN", "NOT IN"}:
        raise invalid(f"'{operator}' needs a list of quoted values.")
    if space == "attribute" and number != (key in _NUMERIC):
        raise invalid(f"The value {value!r} does not fit the attribute '{key}'.")
    if space in {"feedback", "expectation"} and number != (operator in {"<", "<=", ">", ">="}):
        raise invalid(f"Expected a {'quoted string' if number else 'numeric'} value for {space} with '{operator}'.")
    if space in {"tag", "metadata", "span", "issue"} and number:
        raise invalid(f"Expected a quoted string value for {space} (e.g. 'my-value'). Got value {value}")
