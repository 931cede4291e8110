"""The page about model policies names every key, and no other."""

import re
from pathlib import Path

import pytest

from tidegate.records.policy import AutoApproval, MonitoringPolicy, ReleasePolicy, RetrainPolicy, ServingPolicy

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "model-policy.md"


@pytest.mark.parametrize(
    ("table", "record"),
    [
        ("release", ReleasePolicy),
        ("release.auto", AutoApproval),
        ("monitoring", MonitoringPolicy),
        ("retrain", RetrainPolicy),
        ("serving", ServingPolicy),
    ],
)
def test_every_key_is_documented(table, record):
    section = PAGE.read_text(encoding="utf-8").split(f"# `[models.NAME.{table}]`\n")[1].split("\n#")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == list(record.__struct_fields__)
