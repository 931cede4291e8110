"""Contracts: the declared schema and checks of a dataset, a subset of the Open Data Contract Standard 3.1 (YAML).

Source: https://bitol-io.github.io/open-data-contract-standard (sections Schema and Data Quality). What the subset holds is in
docs/reference/contracts.md. Keys of the standard that declare no check (owners, prices, servers, ...) are accepted and left
alone; a key that the standard does not know is refused with the nearest one that it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import yaml

from tidegate import digest
from tidegate.errors import NotFoundError, UsageError
from tidegate.records.names import nearest

LogicalType: TypeAlias = Literal["string", "integer", "number", "boolean", "timestamp", "date", "time", "object", "array"]
Metric: TypeAlias = Literal["rowCount", "nullValues", "missingValues", "invalidValues", "duplicateValues"]

OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)


class _Known(msgspec.Struct, frozen=True, rename="camel"):
    """A part of the document. Its fields are read; ``PASSIVE`` keys of the standard may stand there as well."""


class Options(_Known, frozen=True):
    """``logicalTypeOptions``: bounds are inclusive unless their name says otherwise."""

    minimum: Any = None
    maximum: Any = None
    exclusive_minimum: Any = None
    exclusive_maximum: Any = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None


class Arguments(_Known, frozen=True):
    """``arguments`` of a metric."""

    valid_values: list[Any] | None = None
    missing_values: list[Any] | None = None
    pattern: str | None = None
    properties: list[str] | None = None


class Quality(_Known, frozen=True):
    """One quality rule: a metric or an SQL query whose number must satisfy every operator that is given."""

    type: Literal["library", "sql", "text", "custom"] = "library"
    metric: Metric | None = None
    rule: Metric | None = None
    query: str = ""
    arguments: Arguments = Arguments()
    unit: Literal["rows", "percent"] = "rows"
    severity: str = "error"
    name: str = ""
    must_be: float | bool | None = None
    must_not_be: float | bool | None = None
    must_be_greater_than: float | None = None
    must_be_greater_or_equal_to: float | None = None
    must_be_less_than: float | None = None
    must_be_less_or_equal_to: float | None = None
    must_be_between: tuple[float, float] | None = None
    must_not_be_between: tuple[float, float] | None = None

    @property
    def measure(self) -> str:
        """The metric's name, or ``sql``."""
        return self.metric or self.rule or self.type

    @property
    def blocks(self) -> bool:
        """Whether a broken rule refuses the data; ``severity: warning`` and ``severity: info`` only tell."""
        return self.severity.lower() not in {"warning", "warn", "info"}

    @property
    def runs(self) -> bool:
        """``text`` rules are for people, ``custom`` rules for other engines; neither is run here."""
        return self.type in {"library", "sql"}


class CustomProperty(_Known, frozen=True):
    """A named value of our own: ``availability`` is the one that is read."""

    property: str
    value: Any


class Column(_Known, frozen=True):
    """One property of the table."""

    name: str
    logical_type: LogicalType | None = None
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    logical_type_options: Options = Options()
    quality: list[Quality] = []
    custom_properties: list[CustomProperty] = []

    @property
    def later(self) -> bool:
        """Whether the value is not known yet at prediction time."""
        return any(item.property == "availability" and item.value == "later" for item in self.custom_properties)


class _Table(_Known, frozen=True):
    name: str
    properties: list[Column] = []
    quality: list[Quality] = []


class _Document(_Known, frozen=True):
    kind: Literal["DataContract"]
    schema: list[_Table]
    api_version: str = "v3.1.0"
    name: str = ""
    version: str = ""


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """A contract of one table, with the text that it was read from."""

    name: str
    version: str
    columns: list[Column]
    quality: list[Quality]
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return digest.of_bytes(self.text.encode())

    @property
    def primary_key(self) -> list[str]:
        """The columns that together name a row."""
        return [column.name for column in self.columns if column.primary_key]

    @property
    def later_columns(self) -> frozenset[str]:
        """Columns that are not known at prediction time (``customProperties: availability: later``)."""
        return frozenset(column.name for column in self.columns if column.later)

    @property
    def text_columns(self) -> list[str]:
        """Columns declared as strings: a CSV file's ``007`` in them is a text."""
        return [column.name for column in self.columns if column.logical_type == "string"]

    @property
    def title(self) -> str:
        """Name and version as people read them."""
        return f"{self.name} {self.version}".strip()


_ELEMENT = frozenset(
    {
        "id",
        "physicalName",
        "physicalType",
        "businessName",
        "description",
        "authoritativeDefinitions",
        "tags",
        "customProperties",
        "deprecated",
        "relationships",
    }
)
_PASSIVE: dict[type[_Known], frozenset[str]] = {
    _Document: frozenset(
        {
            "id",
            "status",
            "tenant",
            "tags",
            "domain",
            "dataProduct",
            "authoritativeDefinitions",
            "description",
            "servers",
            "support",
            "price",
            "team",
            "roles",
            "slaProperties",
            "slaDefaultElement",
            "customProperties",
            "contractCreatedTs",
        }
    ),
    _Table: _ELEMENT | {"logicalType", "dataGranularityDescription"},
    Column: _ELEMENT
    | {
        "classification",
        "criticalDataElement",
        "encryptedName",
        "examples",
        "partitioned",
        "partitionKeyPosition",
        "primaryKeyPosition",
        "transformDescription",
        "transformLogic",
        "transformSourceObjects",
        "items",
        "properties",
    },
    Options: frozenset({"format", "timezone", "defaultTimezone"}),
    Quality: frozenset(
        {
            "id",
            "description",
            "engine",
            "implementation",
            "dimension",
            "method",
            "businessImpact",
            "customProperties",
            "tags",
            "authoritativeDefinitions",
            "scheduler",
            "schedule",
        }
    ),
    Arguments: frozenset(),
    CustomProperty: frozenset({"id", "description"}),
}
_PARTS: dict[tuple[type[_Known], str], type[_Known]] = {
    (_Document, "schema"): _Table,
    (_Table, "properties"): Column,
    (_Table, "quality"): Quality,
    (Column, "quality"): Quality,
    (Column, "logicalTypeOptions"): Options,
    (Column, "customProperties"): CustomProperty,
    (Quality, "arguments"): Arguments,
}
_AVAILABILITY = ["known", "later"]


def load_contract(path: Path) -> Contract:
    """Reads a contract file.

    Raises:
        NotFoundError: no such file.
        UsageError: it is no contract; the text says where and what would be valid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError("contract-not-found", f"no contract {path}", fix="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "contract-unreadable", f"{path} cannot be read", why=str(error), fix="a contract is YAML text in UTF-8"
        ) from None
    return parse_contract(text, where=str(path))


def parse_contract(text: str, *, where: str = "the contract") -> Contract:
    """Reads a contract from YAML text; ``where`` names it in errors.

    Raises:
        UsageError: it is no contract; the text says where and what would be valid.
    """
    try:
        loaded: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(
            "contract-unreadable", f"{where} is no YAML", why=" ".join(str(error).split()), fix="correct the line that is named"
        ) from None
    if not isinstance(loaded, Mapping):
        raise _invalid(where, "it is no mapping", "a contract starts with kind: DataContract")
    document_text: Mapping[str, Any] = _texts(loaded)
    _refuse_unknown_keys(_Document, document_text, where, "")
    try:
        document = msgspec.convert(document_text, _Document, strict=True)
    except msgspec.ValidationError as error:
        raise _invalid(where, str(error).replace("`", "'"), "see docs/reference/contracts.md") from None
    _refuse_other_standards(document, where)
    table = document.schema[0]
    _refuse_senseless_rules(table, where)
    return Contract(
        name=document.name or table.name, version=document.version, columns=table.properties, quality=table.quality, text=text
    )


def _texts(loaded: Mapping[str, Any]) -> dict[str, Any]:
    """YAML reads ``version: 1.0`` as a number; here it is a text."""
    return {key: str(value) if key in {"version", "apiVersion"} else value for key, value in loaded.items()}


def _refuse_unknown_keys(part: type[_Known], value: Any, where: str, place: str) -> None:
    """Walks the document beside its declared parts; what is no mapping is left for the typed reading to refuse."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_unknown_keys(part, item, where, f"{place}[{index}]")
        return
    if not isinstance(value, Mapping):
        return
    valid = {field.encode_name for field in msgspec.structs.fields(part)} | _PASSIVE[part]
    for key, inner in value.items():
        if key not in valid:
            raise UsageError(
                "contract-unknown-key",
                f"{where}: unknown key {key!r} at {place.lstrip('.') or 'the top'}",
                why="the Open Data Contract Standard, or the part of it that is checked here, has no such key",
                fix=nearest(str(key), sorted(valid)),
            )
        if inner_part := _PARTS.get((part, key)):
            _refuse_unknown_keys(inner_part, inner, where, f"{place}.{key}")


def _refuse_other_standards(document: _Document, where: str) -> None:
    if not document.api_version.lstrip("v").startswith("3."):
        raise _invalid(
            where, f"apiVersion is {document.api_version}", "write it to version 3 of the standard: apiVersion: v3.1.0"
        )
    if len(document.schema) != 1:
        raise _invalid(where, f"its schema has {len(document.schema)} tables", "write one contract per table")


def _refuse_senseless_rules(table: _Table, where: str) -> None:
    names = [column.name for column in table.properties]
    if twice := {name for name in names if names.count(name) > 1}:
        raise _invalid(where, f"the column {min(twice)!r} is declared twice", "keep one of them")
    for column in table.properties:
        for item in column.custom_properties:
            if item.property == "availability" and item.value not in _AVAILABILITY:
                raise _invalid(
                    where, f"availability of {column.name!r} is {item.value!r}", nearest(str(item.value), _AVAILABILITY)
                )
        for rule in column.quality:
            _refuse_senseless_rule(rule, f"{where}: column {column.name!r}", names, of_column=True)
    for rule in table.quality:
        _refuse_senseless_rule(rule, where, names, of_column=False)


def _refuse_senseless_rule(rule: Quality, where: str, names: list[str], *, of_column: bool) -> None:
    if not rule.runs:
        return
    if not comparisons(rule):
        raise _invalid(
            where, f"the rule {rule.name or rule.measure!r} compares with nothing", f"add one of {', '.join(OPERATORS)}"
        )
    if rule.type == "sql":
        if not rule.query.strip():
            raise _invalid(where, "an sql rule has no query", "add query: SELECT ...")
        return
    if rule.measure == "library":
        raise _invalid(
            where, "a rule has no metric", "add metric: nullValues, missingValues, invalidValues, duplicateValues or rowCount"
        )
    if of_column == (rule.measure == "rowCount"):
        level = "table" if of_column else "column"
        if of_column or rule.measure != "duplicateValues":
            raise _invalid(where, f"{rule.measure} is a rule of a {level}", f"move it to the {level}'s quality")
        for name in rule.arguments.properties or ["(none)"]:
            if name not in names:
                raise _invalid(where, f"duplicateValues names the column {name!r}", nearest(name, names))
    if rule.measure == "invalidValues" and rule.arguments.valid_values is None and rule.arguments.pattern is None:
        raise _invalid(where, "invalidValues does not say what is valid", "add arguments: validValues or pattern")
    if rule.measure == "missingValues" and not rule.arguments.missing_values:
        raise _invalid(where, "missingValues does not say what counts as missing", "add arguments: missingValues")


def comparisons(rule: Quality) -> dict[str, Any]:
    """The operators of a rule with their values, by the standard's names."""
    values = {field.encode_name: getattr(rule, field.name) for field in msgspec.structs.fields(rule)}
    return {name: values[name] for name in OPERATORS if values[name] is not None}


def _invalid(where: str, what: str, fix: str) -> UsageError:
    return UsageError("contract-invalid", f"{where}: {what}", why="it cannot be read as a data contract", fix=fix)
