"""Checks a table against a contract: one aggregate pass for all checks, and only after a failure a second query for rows.

What counts as broken errs on the side of refusal: NaN is a missing value and lies outside every bound, a check on a missing
column is broken, and a table without rows breaks the contract unless a ``rowCount`` rule allows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import msgspec

from tidegate import errors, frames
from tidegate.data.contract import Column, Contract, Quality, comparisons
from tidegate.data.table import is_text, reading, stage_table
from tidegate.errors import BadInputError
from tidegate.frames import Relation, literal, quote
from tidegate.records.names import nearest

SAMPLE_ROWS = 10
_TABLE = "checked_rows"
_ROWS_IN_TEXT = 3
_NEXT_LINE = "\n       "  # below the text of an error's second line

_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"})
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
_STORED_AS: dict[str, frozenset[str]] = {
    "string": frozenset({"VARCHAR", "ENUM", "UUID"}),
    "integer": _INTEGERS,
    "number": _INTEGERS | _FLOATS | {"DECIMAL"},
    "boolean": frozenset({"BOOLEAN"}),
    "timestamp": frozenset({"TIMESTAMP"}),
    "date": frozenset({"DATE"}),
    "time": frozenset({"TIME"}),
    "object": frozenset({"STRUCT", "MAP", "JSON"}),
    "array": frozenset({"LIST"}),
}
_READ_AS = {
    "integer": "HUGEINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "time": "TIME",
}
_OPERATORS: dict[str, Callable[[float, Any], bool]] = {
    "mustBe": lambda found, bound: found == bound,
    "mustNotBe": lambda found, bound: found != bound,
    "mustBeGreaterThan": lambda found, bound: found > bound,
    "mustBeGreaterOrEqualTo": lambda found, bound: found >= bound,
    "mustBeLessThan": lambda found, bound: found < bound,
    "mustBeLessOrEqualTo": lambda found, bound: found <= bound,
    "mustBeBetween": lambda found, bounds: bounds[0] < found < bounds[1],  # the standard: greater than and less than
    "mustNotBeBetween": lambda found, bounds: not bounds[0] < found < bounds[1],
}


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One broken check. ``rows`` holds up to 10 rows that broke it, each with its number (``row``, from 1) and all columns."""

    check: str
    column: str
    count: int
    """How many rows broke it; for a rule about a number, that number."""
    of: int
    """Rows in the table."""
    message: str
    blocks: bool = True
    rows: list[dict[str, Any]] = []


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found: rows of the table, number of checks that were made, and those that are broken."""

    contract: str
    rows: int
    checks: int
    violations: list[Violation]

    @property
    def ok(self) -> bool:
        """Whether nothing that blocks is broken."""
        return not any(violation.blocks for violation in self.violations)


class ContractError(BadInputError):
    """The data breaks its contract; ``violations`` holds every broken check with rows."""

    violations: list[Violation]

    @classmethod
    def of(cls, where: str, result: CheckResult, columns: Sequence[str]) -> ContractError:
        """The error for a result that is not ok. ``columns`` (the primary key) are shown beside a broken value."""
        blocking = [violation for violation in result.violations if violation.blocks]
        broken = "one check" if len(blocking) == 1 else f"{len(blocking)} checks"
        error = cls(
            "contract-broken",
            f"{where} breaks {broken} of the contract {result.contract}",
            why=_NEXT_LINE.join(line for violation in blocking for line in _told(violation, columns)),
            fix="mend the data where it is made, or change the contract if it asks too much",
        )
        error.violations = blocking
        return error

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.as_dict(), self.violations))


def _rebuild(texts: dict[str, str], violations: list[Violation]) -> ContractError:
    error = ContractError(texts["code"], texts["what"], why=texts["why"], fix=texts["fix"])
    error.violations = violations
    return error


class _Check(NamedTuple):
    """A check as SQL: ``amount`` is its number in the aggregate pass, ``broken`` picks the rows that break it."""

    name: str
    column: str
    amount: str
    says: str
    broken: str = ""
    repeated: str = ""
    """Columns that must not repeat, where rows are broken by each other."""
    rule: Quality | None = None


def check_file(path: Path, contract: Contract) -> CheckResult:
    """Checks a Parquet or CSV file without any store. CSV text is read as the contract declares it.

    Raises:
        NotFoundError: no such file.
        BadInputError: it is empty, no table, or cannot be read.
    """
    with frames.connect() as con:
        rows = stage_table(con, path, text_columns=contract.text_columns)
        return check_rows(rows, contract, text=is_text(path), where=str(path))


def check_rows(rows: Relation, contract: Contract, *, text: bool = False, where: str = "the table") -> CheckResult:
    """Checks a relation. ``text``: its types were guessed from text, so a value that reads as the type will do.

    Raises:
        BadInputError: the data cannot be read to its end, or an SQL rule of the contract cannot be run.
    """
    types = {name: _family(str(kind)) for name, kind in zip(rows.columns, rows.types, strict=True)}
    checks, unfit = _compile(contract, types, text=text)
    with reading(where):
        (found,) = _query(rows, f"SELECT {', '.join(['count(*)', *(check.amount for check in checks)])} FROM {_TABLE}")
    total = int(found[0])
    violations = [msgspec.structs.replace(violation, count=total, of=total) for violation in unfit]
    broken = [(check, found[1 + i]) for i, check in enumerate(checks) if not _holds(check, found[1 + i], total)]
    samples = _samples(rows, [check for check, _ in broken], where) if broken else {}
    violations += [_violation(check, amount, total, samples.get(i, [])) for i, (check, amount) in enumerate(broken)]
    if total == 0 and not any(rule.measure == "rowCount" for rule in contract.quality):
        violations.insert(0, Violation(check="rows", column="", count=0, of=0, message="the table has no rows"))
    sql_rules = [(rule, "") for rule in contract.quality if rule.type == "sql"]
    sql_rules += [(rule, column.name) for column in contract.columns for rule in column.quality if rule.type == "sql"]
    if sql_rules:
        readable = _as_declared(rows, contract, types) if text else rows
        for rule, column in sql_rules:
            violations += [_not_run(rule, column, total)] if unfit else _run_sql_rule(readable, rule, column, total)
    return CheckResult(
        contract=contract.title, rows=total, checks=len(checks) + len(sql_rules) + len(contract.columns), violations=violations
    )


def enforce(result: CheckResult, contract: Contract, *, where: str) -> None:
    """Does nothing if the result is ok.

    Raises:
        ContractError: a check that blocks is broken.
    """
    if not result.ok:
        raise ContractError.of(where, result, contract.primary_key)


# ---- compiling ----------------------------------------------------------------------------------------------------------


def _compile(contract: Contract, types: Mapping[str, str], *, text: bool) -> tuple[list[_Check], list[Violation]]:
    """The checks to run, and what is broken by the schema alone."""
    checks: list[_Check] = []
    broken: list[Violation] = []
    for column in contract.columns:
        if column.name not in types:
            message = f"the column {column.name!r} is missing; {nearest(column.name, list(types))}"
            broken.append(Violation(check="missing-column", column=column.name, count=0, of=0, message=message))
            continue
        kind = types[column.name]
        stored = _STORED_AS[column.logical_type] if column.logical_type else {kind}
        if kind in stored:
            checks += _column_checks(column, quote(column.name), kind)
        elif _readable(column, kind, text=text):
            checks += _read_checks(column, kind, text=text)
        else:
            message = f"the column {column.name!r} is {kind}, the contract says {column.logical_type}"
            broken.append(Violation(check="type", column=column.name, count=0, of=0, message=message))
    lost = {violation.column for violation in broken}
    checks += [check for check in _table_checks(contract) if not lost & set(_named_by(check))]
    return checks, broken


def _readable(column: Column, kind: str, *, text: bool) -> bool:
    """Whether values of another type may stand for the declared one: text that was guessed at, or whole doubles."""
    if column.logical_type in {"object", "array"}:
        return False
    return text or (column.logical_type == "integer" and kind in _FLOATS | {"DECIMAL"})


def _read_checks(column: Column, kind: str, *, text: bool) -> list[_Check]:
    name, logical = quote(column.name), str(column.logical_type)
    if logical == "string":
        return _column_checks(column, f"{name}::VARCHAR", "VARCHAR")
    if not text:
        wrong = (
            f"({name} IS NOT NULL AND NOT isnan({name}) AND {name} <> trunc({name}))"
            if kind in _FLOATS
            else f"({name} <> trunc({name}))"
        )
        return [_count("type", column.name, wrong, "are not whole numbers"), *_column_checks(column, name, kind)]
    value = f"try_cast({name}::VARCHAR AS {_READ_AS[logical]})"
    wrong = f"({name} IS NOT NULL AND {value} IS NULL)"
    read_as = "DOUBLE" if logical == "number" else _READ_AS[logical]
    return [_count("type", column.name, wrong, f"do not read as {logical}"), *_column_checks(column, value, read_as, text=name)]


def _column_checks(column: Column, value: str, kind: str, *, text: str = "") -> list[_Check]:
    """Checks of one column. ``text`` is the raw column where ``value`` reads it: what cannot be read is not also missing."""
    name, options = column.name, column.logical_type_options
    absent = f"({value} IS NULL OR isnan({value}))" if kind in _FLOATS else f"({value} IS NULL)"
    if text:
        absent = (
            f"({text} IS NULL OR (try_cast({text}::VARCHAR AS DOUBLE) IS NOT NULL AND isnan({value})))"
            if kind in _FLOATS
            else f"({text} IS NULL)"
        )
    checks: list[_Check] = []
    if column.required or column.primary_key:
        checks.append(_count("required", name, absent, "are missing"))
    if column.unique:
        checks.append(_repeats("unique", name, [value], "repeat a value"))
    bounds = [
        ("minimum", options.minimum, "<", "lie below"),
        ("maximum", options.maximum, ">", "lie above"),
        ("exclusiveMinimum", options.exclusive_minimum, "<=", "do not lie above"),
        ("exclusiveMaximum", options.exclusive_maximum, ">=", "do not lie below"),
    ]
    for label, bound, operator, says in bounds:
        if bound is not None:
            outside = f"({value} {operator} {_constant(bound, kind, name, label)}"
            outside += f" OR isnan({value}))" if kind in _FLOATS else ")"
            checks.append(_count(label, name, outside, f"{says} {bound}"))
    if options.multiple_of is not None:
        rest = f"(abs({value} / {options.multiple_of!r} - round({value} / {options.multiple_of!r})) > 1e-9)"
        checks.append(_count("multipleOf", name, rest, f"are no multiples of {options.multiple_of:g}"))
    if options.min_length is not None:
        checks.append(
            _count("minLength", name, f"(length({value}) < {options.min_length})", f"are shorter than {options.min_length}")
        )
    if options.max_length is not None:
        checks.append(
            _count("maxLength", name, f"(length({value}) > {options.max_length})", f"are longer than {options.max_length}")
        )
    if options.pattern is not None:
        checks.append(_count("pattern", name, _unlike(value, options.pattern), f"do not match {options.pattern}"))
    return checks + [_column_rule(rule, name, value, absent, kind) for rule in column.quality if rule.runs and rule.type != "sql"]


def _column_rule(rule: Quality, name: str, value: str, absent: str, kind: str) -> _Check:
    if rule.measure == "duplicateValues":
        return _repeats("duplicateValues", name, [value], "repeat a value", rule)
    if rule.measure == "nullValues":
        return _count("nullValues", name, absent, "are null", rule)
    arguments = rule.arguments
    if rule.measure == "missingValues":
        listed = [value for value in arguments.missing_values or [] if value is not None]
        among = f"{value}::VARCHAR IN ({', '.join(literal(str(item)) for item in listed)})" if listed else "false"
        null = absent if None in (arguments.missing_values or []) else "false"
        return _count("missingValues", name, f"({null} OR coalesce({among}, false))", "count as missing", rule)
    wrong: list[str] = [f"isnan({value})"] if kind in _FLOATS else []
    if arguments.valid_values is not None:
        valid = (
            ", ".join(_constant(item, kind, name, "validValues") for item in arguments.valid_values if item is not None) or "NULL"
        )
        wrong.append(f"({value} IS NOT NULL AND coalesce({value} NOT IN ({valid}), true))")
    if arguments.pattern is not None:
        wrong.append(_unlike(value, arguments.pattern))
    return _count("invalidValues", name, f"({' OR '.join(wrong)})", "are not valid", rule)


def _table_checks(contract: Contract) -> list[_Check]:
    checks: list[_Check] = []
    if key := contract.primary_key:
        checks.append(_repeats("primaryKey", ", ".join(key), [quote(name) for name in key], "repeat a primary key"))
    for rule in contract.quality:
        if rule.measure == "rowCount":
            checks.append(_Check("rowCount", "", "count(*)", "rows", rule=rule))
        elif rule.measure == "duplicateValues":
            names = rule.arguments.properties or []
            checks.append(_repeats("duplicateValues", ", ".join(names), [quote(name) for name in names], "repeat a value", rule))
    return checks


def _count(name: str, column: str, broken: str, says: str, rule: Quality | None = None) -> _Check:
    return _Check(name, column, f"count(*) FILTER (WHERE {broken})", says, broken=broken, rule=rule)


def _repeats(name: str, column: str, values: Sequence[str], says: str, rule: Quality | None = None) -> _Check:
    """Rows beyond the first of each value; rows with a null in it repeat nothing."""
    present = " AND ".join(f"{value} IS NOT NULL" for value in values)
    whole = values[0] if len(values) == 1 else f"({', '.join(values)})"
    amount = f"count(*) FILTER (WHERE {present}) - count(DISTINCT {whole}) FILTER (WHERE {present})"
    return _Check(name, column, amount, says, broken=present, repeated=", ".join(values), rule=rule)


def _named_by(check: _Check) -> list[str]:
    return check.column.split(", ")


def _unlike(value: str, pattern: str) -> str:
    # ECMA-262 patterns, as the standard has them, match anywhere in the text unless they are anchored.
    return f"NOT regexp_matches({value}::VARCHAR, {literal(pattern)})"


def _constant(value: Any, kind: str, column: str, label: str) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, (int, float, Decimal)) and math.isfinite(value):
        return repr(value)
    if isinstance(value, (str, date, datetime)) and kind not in _INTEGERS | _FLOATS | {"DECIMAL", "BOOLEAN"}:
        return f"{literal(str(value))}::{kind}"
    raise errors.UsageError(
        "contract-invalid",
        f"{label} of {column!r} is {value!r}, which cannot be compared with {kind}",
        why="it cannot be read as a data contract",
        fix="write a value of the column's type",
    )


def _family(kind: str) -> str:
    """DuckDB's type without its details: DECIMAL, ENUM, LIST, STRUCT."""
    return "LIST" if kind.endswith("]") else kind.partition("(")[0]


# ---- judging ------------------------------------------------------------------------------------------------------------


def _holds(check: _Check, amount: Any, total: int) -> bool:
    if check.rule is None:
        return amount == 0
    value = float(amount)
    if check.rule.unit == "percent" and check.rule.measure != "rowCount":
        if not total:
            return True  # no rows: told by a violation of its own
        value = 100.0 * value / total
    return _satisfies(check.rule, value)


def _satisfies(rule: Quality, value: float) -> bool:
    return all(_OPERATORS[name](value, bound) for name, bound in comparisons(rule).items())


def _violation(check: _Check, amount: Any, total: int, rows: list[dict[str, Any]]) -> Violation:
    rule = check.rule
    message = f"{int(amount):,} of {total:,} rows {check.says}"
    if check.name == "rowCount":
        message = f"the table has {total:,} rows"
    if rule is not None:
        message += f"; {_demands(rule)}"
    if check.column:
        message = f"{check.column}: {message}"
    return Violation(
        check=(rule.name if rule else "") or check.name,
        column=check.column,
        count=int(amount),
        of=total,
        message=message,
        blocks=rule is None or rule.blocks,
        rows=rows,
    )


def _demands(rule: Quality) -> str:
    unit = " percent" if rule.unit == "percent" else ""
    return ", ".join(f"{name} {bound}{unit}" for name, bound in comparisons(rule).items())


def _samples(rows: Relation, broken: Sequence[_Check], where: str) -> dict[int, list[dict[str, Any]]]:
    """Up to ten rows per broken check, by one query over numbered rows."""
    number = "row"
    while number in {name.lower() for name in rows.columns}:
        number += "_"
    parts: list[str] = []
    for i, check in enumerate(broken):
        if check.broken:
            repeated = f" QUALIFY count(*) OVER (PARTITION BY {check.repeated}) > 1" if check.repeated else ""
            parts.append(
                f"SELECT * FROM (SELECT {i} AS {quote('check ' + number)}, * FROM numbered WHERE {check.broken}{repeated} "
                f"ORDER BY {number} LIMIT {SAMPLE_ROWS})"
            )
    if not parts:
        return {}
    sql = f"WITH numbered AS (SELECT row_number() OVER () AS {number}, * FROM {_TABLE}) {' UNION ALL '.join(parts)}"
    with reading(where):
        found = _query(rows, sql)
    samples: dict[int, list[dict[str, Any]]] = {}
    for which, *values in found:
        samples.setdefault(which, []).append(dict(zip([number, *rows.columns], map(_plain, values), strict=True)))
    return {which: sorted(sample, key=lambda row: row[number]) for which, sample in samples.items()}


def _plain(value: Any) -> Any:
    """A value as JSON takes it: NaN and infinities, decimals and times become text."""
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def _run_sql_rule(rows: Relation, rule: Quality, column: str, total: int) -> list[Violation]:
    query = rule.query
    for name, stands_for in _placeholders(column):
        query = query.replace(f"${{{name}}}", stands_for).replace(f"{{{name}}}", stands_for)
    label = rule.name or "sql"
    try:
        statements = duckdb.extract_statements(query)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise _bad_query(label, query, "it is not exactly one SELECT")
        found = _query(rows, query)
    except duckdb.Error as error:
        raise _bad_query(label, query, str(error).split("\n", maxsplit=1)[0]) from None
    if len(found) != 1 or len(found[0]) != 1 or not isinstance(found[0][0], (bool, int, float, Decimal, type(None))):
        raise _bad_query(label, query, "it does not return one number")
    value = None if found[0][0] is None else float(found[0][0])
    if value is not None and _satisfies(rule, value):
        return []
    told = "null" if value is None else f"{value:g}"
    message = f"{column + ': ' if column else ''}the query returns {told}; {_demands(rule)}"
    return [
        Violation(
            check=label,
            column=column,
            count=int(value or 0) if value is None or math.isfinite(value) else 0,
            of=total,
            message=message,
            blocks=rule.blocks,
        )
    ]


def _not_run(rule: Quality, column: str, total: int) -> Violation:
    message = f"{column + ': ' if column else ''}the query was not run, because columns are missing or of another type"
    return Violation(check=rule.name or "sql", column=column, count=0, of=total, message=message, blocks=rule.blocks)


def _as_declared(rows: Relation, contract: Contract, types: Mapping[str, str]) -> Relation:
    """Rows read out of text with the types of the contract; what cannot be read is null (and told by its own check)."""
    wanted = {
        column.name: _READ_AS[column.logical_type]
        for column in contract.columns
        if column.logical_type in _READ_AS and types.get(column.name) not in _STORED_AS[column.logical_type]
    }
    return rows.project(
        ", ".join(
            f"try_cast({quote(name)}::VARCHAR AS {wanted[name]}) AS {quote(name)}" if name in wanted else quote(name)
            for name in rows.columns
        )
    )


def _placeholders(column: str) -> list[tuple[str, str]]:
    table = [("object", _TABLE), ("table", _TABLE)]
    return [*table, ("property", quote(column)), ("column", quote(column))] if column else table


def _query(rows: Relation, sql: str) -> list[Any]:
    """The rows of a SELECT over ``rows``, which it knows as ``checked_rows``."""
    found = rows.query(_TABLE, sql)
    assert found is not None
    return found.fetchall()


def _bad_query(label: str, query: str, why: str) -> BadInputError:
    return BadInputError(
        "contract-query-failed",
        f"the contract's rule {label!r} cannot be run: {' '.join(query.split())}",
        why=why,
        fix="a query is one SELECT of one number in DuckDB's SQL; {object} stands for the table, {property} for the column",
    )


def _told(violation: Violation, key: Sequence[str]) -> list[str]:
    """One broken check as text, with the first rows that broke it: their number, key and value."""
    shown = [*key, *(name for name in violation.column.split(", ") if name not in key)]
    lines = [f"[{violation.check}] {violation.message}"]
    for row in violation.rows[:_ROWS_IN_TEXT]:
        number = next(iter(row.values()))
        lines.append(f"  row {number}: " + ", ".join(f"{name}={row[name]!r}" for name in shown if name in row))
    hidden = violation.count - min(len(violation.rows), _ROWS_IN_TEXT)
    if violation.rows and hidden > 0:
        lines.append(f"  and {hidden:,} more")
    return lines
