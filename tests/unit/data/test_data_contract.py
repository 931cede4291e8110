"""Contracts: what the standard allows is read, a typo is named with the nearest valid word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.data import load_contract, parse_contract
from tidegate.errors import NotFoundError, UsageError

FULL = """
apiVersion: v3.1.0
kind: DataContract
id: 53581432-6c55-4ba2-a65f-72344a91553a
name: flights
version: 1.1
status: active
domain: air
tags: [ops]
description: {purpose: delays}
team: {name: ops}
slaProperties: []
schema:
  - name: flights
    physicalType: table
    dataGranularityDescription: one row per flight
    properties:
      - name: id
        logicalType: integer
        physicalType: BIGINT
        primaryKey: true
        primaryKeyPosition: 1
        description: number
        examples: [1, 2]
      - name: carrier
        logicalType: string
        required: true
        logicalTypeOptions: {pattern: '^[A-Z0-9]{2}$', maxLength: 2}
        quality:
          - metric: invalidValues
            arguments: {validValues: [AA, UA]}
            mustBeLessThan: 5
            unit: percent
            severity: warning
            dimension: validity
      - name: dep_delay
        logicalType: number
        customProperties:
          - {property: availability, value: later}
          - {property: owner, value: ops}
    quality:
      - metric: rowCount
        mustBeGreaterThan: 0
      - type: sql
        query: SELECT count(*) FROM {object}
        mustBeBetween: [0, 100]
"""


def changed(path: list[Any], value: Any) -> str:
    """The full contract with one place changed; the last step of ``path`` may be new."""
    document = yaml.safe_load(FULL)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return yaml.safe_dump(document)


def test_a_full_contract_is_read() -> None:
    contract = parse_contract(FULL)
    assert (contract.title, contract.primary_key, contract.later_columns) == ("flights 1.1", ["id"], {"dep_delay"})
    assert [column.name for column in contract.columns] == ["id", "carrier", "dep_delay"]
    assert contract.text_columns == ["carrier"]
    assert contract.columns[1].logical_type_options.pattern == "^[A-Z0-9]{2}$"
    assert not contract.columns[1].quality[0].blocks
    assert contract.digest == parse_contract(FULL).digest


COLUMN = ["schema", 0, "properties", 1]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["owner"], "me", "unknown key 'owner' at the top"),
        ([*COLUMN, "logicaltype"], "string", "did you mean 'logicalType'"),
        ([*COLUMN, "logicalTypeOptions", "minumum"], 1, "did you mean 'minimum'"),
        ([*COLUMN, "logicalTypeOptions", "uniqueItems"], True, "unknown key 'uniqueItems'"),
        ([*COLUMN, "quality", 0, "mustBeLessThen"], 1, "did you mean 'mustBeLessThan'"),
        ([*COLUMN, "quality", 0, "arguments", "validValue"], [], "did you mean 'validValues'"),
        ([*COLUMN, "logicalType"], "text", "Invalid enum value 'text'"),
        ([*COLUMN, "required"], "yes", "Expected 'bool', got 'str'"),
        ([*COLUMN, "quality", 0, "metric"], "nullvalues", "Invalid enum value"),
        ([*COLUMN, "quality", 0, "metric"], "rowCount", "rowCount is a rule of a table"),
        ([*COLUMN, "quality", 0, "arguments"], {}, "does not say what is valid"),
        ([*COLUMN, "quality", 0], {"metric": "nullValues"}, "compares with nothing"),
        ([*COLUMN, "quality", 0], {"metric": "missingValues", "mustBe": 0}, "what counts as missing"),
        ([*COLUMN, "quality", 0], {"mustBe": 0}, "has no metric"),
        ([*COLUMN, "name"], "id", "declared twice"),
        (["schema", 0, "quality", 0], {"metric": "nullValues", "mustBe": 0}, "nullValues is a rule of a column"),
        (["schema", 0, "quality", 0], {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["idd"]}}, "'idd'"),
        (["schema", 0, "quality", 1, "query"], " ", "has no query"),
        (["schema", 0, "properties", 2, "customProperties", 0, "value"], "latter", "availability of 'dep_delay' is 'latter'"),
        (["schema"], [], "has 0 tables"),
        (["kind"], "Contract", "Invalid enum value"),
        (["apiVersion"], "v2.2.2", "apiVersion is v2.2.2"),
    ],
)  # fmt: skip
def test_mistakes_are_named(path: list[Any], value: Any, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_contract(changed(path, value), where="flights.yaml")
    assert says in str(caught.value)
    assert "flights.yaml" in caught.value.what


def test_what_is_no_contract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_contract(tmp_path / "none.yaml")
    for text in ("a: [1", "just text", "- a list", ""):
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(UsageError):
            load_contract(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError) as caught:
        load_contract(tmp_path / "c.yaml")
    assert caught.value.code == "contract-unreadable"
