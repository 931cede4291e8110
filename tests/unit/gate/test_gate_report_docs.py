"""The page about reports names every field of every record, and no other; the JSON Schema says the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest
from report_cases import OLD, every_kind, hostile, judged_reports

from tidegate.gate import parse_report, report_bytes, report_schema
from tidegate.gate.curves import BINS, PAIRS, POINTS, SCATTERED
from tidegate.records import report as records

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "report.md").read_text(encoding="utf-8")
RECORDS = [
    each
    for each in vars(records).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == records.__name__
]


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_is_documented(record) -> None:
    section = PAGE.split(f"\n## {record.__name__}\n")[1].split("\n## ")[0].split("\n| kind |")[0]
    cells = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(record.__struct_fields__)


def test_every_kind_of_curve_is_documented() -> None:
    section = PAGE.split("\n| kind |")[1].split("\n## ")[0]
    kinds = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert kinds == set(re.findall(r"``(roc|pr|calibration|residuals|scatter|confusion)``", records.Curve.__doc__ or ""))
    for count in (POINTS, SCATTERED, PAIRS):
        assert f"{count:,}" in section
    assert BINS == 12


def test_the_version_of_the_page_is_the_code_s() -> None:
    assert f"**{records.SCHEMA}** is today's" in PAGE


@pytest.mark.parametrize("name", ["PASS", "FAIL", "INCONCLUSIVE", "INVALID", "kinds", "hostile"])
def test_reports_hold_to_their_schema(name: str) -> None:
    made = judged_reports() | {"kinds": every_kind(), "hostile": hostile(every_kind())}
    jsonschema.Draft202012Validator.check_schema(report_schema())
    jsonschema.validate(json.loads(report_bytes(made[name])), report_schema())


def test_old_reports_hold_to_it_and_wrong_ones_do_not() -> None:
    jsonschema.validate(OLD, report_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(OLD | {"verdict": "FINE"}, report_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: value for name, value in OLD.items() if name != "rules"}, report_schema())
    assert parse_report(json.dumps(OLD | {"of the future": 1}).encode()).schema == 1
