"""The ratchet anchor: which champion was last proven better, along the line that leads to the present one."""

from __future__ import annotations

from typing import Any

import pytest
from conftest_release_house import asking

from tidegate import digest
from tidegate.errors import IntegrityError, NotFoundError
from tidegate.gate import report_bytes
from tidegate.records.report import SCHEMA, Interval, Report, RuleResult
from tidegate.records.verdict import Verdict
from tidegate.release import find_anchor

POLICY = asking(approvals=0)
NOTHING = Interval(estimate=None, low=None, high=None)


def _report(test: str, verdict: Verdict = Verdict.PASS) -> Report:
    rule = RuleResult(
        metric="log_loss", test=test, better="lower", margin=0, value=None, verdict=verdict, reason="", method="",
        candidate=NOTHING, champion=None, difference=None,
    )  # fmt: skip
    return Report(
        schema=SCHEMA, title="", verdict=verdict, sentence="", task="binary", candidate="", champion="", rows=1, clusters=None,
        confidence=0.95, seed=0, rules=[rule],
    )  # fmt: skip


def _promote(house: Any, number: int, test: str) -> str:
    """Judges a version by one rule of this test and promotes it; returns the receipt's digest."""
    report = report_bytes(_report(test))
    receipt = house.judge(house.version(number), report_digest=digest.of_bytes(report))
    house.bucket.put_if_absent(f"models/delay/receipts/{receipt}.report.json", report)
    house.now += 1
    house.release("ana").promote("delay", number, policy=POLICY)
    return receipt


def _anchor(house: Any) -> int | None:
    found = find_anchor(house.bucket, "delay")
    return None if found is None else found.version


def test_nothing_was_ever_proven_better(house: Any) -> None:
    assert _anchor(house) is None
    _promote(house, 1, "floor")
    assert _anchor(house) is None


def test_the_last_that_was_proven_better_stays_the_anchor(house: Any) -> None:
    _promote(house, 1, "superior")
    assert _anchor(house) == 1
    _promote(house, 2, "not_worse")
    _promote(house, 3, "not_worse")
    assert _anchor(house) == 1
    _promote(house, 4, "superior")
    assert _anchor(house) == 4


def test_a_version_that_was_rolled_back_from_is_no_anchor(house: Any) -> None:
    for number, test in ((1, "superior"), (2, "not_worse"), (3, "superior")):
        _promote(house, number, test)
    assert _anchor(house) == 3
    house.release("ana").rollback("delay", reason="it was wrong")
    assert _anchor(house) == 1


def test_a_version_that_returns_as_not_worse_is_not_proven_anew(house: Any) -> None:
    _promote(house, 1, "superior")
    _promote(house, 2, "superior")
    _promote(house, 1, "not_worse")
    assert _anchor(house) == 2
    _promote(house, 3, "not_worse")
    house.release("ana").rollback("delay", reason="it was wrong")
    assert house.release("x").pointer("delay").champion.version == 1
    assert _anchor(house) == 2


def test_an_ungated_promotion_proves_nothing(house: Any) -> None:
    _promote(house, 1, "superior")
    version = house.version(2)
    release = house.release("ana")
    release._allow_ungated = True
    release.name_champion("delay", version.version, policy=None)
    assert release.pointer("delay").champion.version == 2
    assert _anchor(house) == 1


@pytest.mark.parametrize(("ending", "error"), [(".json", IntegrityError), (".report.json", IntegrityError)])
def test_what_cannot_be_read_is_told(house: Any, ending: str, error: type[Exception]) -> None:
    receipt = _promote(house, 1, "superior")
    key = f"models/delay/receipts/{receipt}{ending}"
    path = house.bucket.local(key)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(error):
        find_anchor(house.bucket, "delay")
    path.unlink()
    with pytest.raises(NotFoundError):
        find_anchor(house.bucket, "delay")
