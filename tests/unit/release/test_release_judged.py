"""The ledger says which receipts there are; a file in the bucket is none by itself."""

from __future__ import annotations

import msgspec
import pytest
from conftest_release_house import House

from tidegate import digest
from tidegate.clock import Clock
from tidegate.errors import NotFoundError, UsageError
from tidegate.gate import receipt_key
from tidegate.records.ledger import Judged
from tidegate.records.verdict import Verdict
from tidegate.release import audit_ledger, find_judged
from tidegate.release.ledger import append


def test_a_receipt_is_found_by_its_beginning_or_by_version(house: House) -> None:
    first, other = house.version(3), house.version(4)
    receipts = [house.judge(first), house.judge(first, code="later"), house.judge(other)]
    assert find_judged(house.bucket, receipts[0][:10]) == ("delay", receipts[0])
    assert find_judged(house.bucket, "delay@3") == ("delay", receipts[1])
    assert find_judged(house.bucket, "delay@4") == ("delay", receipts[2])
    assert find_judged(house.bucket, "delay") == ("delay", receipts[2])
    for missing in ("delay@9", "0" * 64, "nobody@1", "delay@champion"):
        with pytest.raises(NotFoundError, match="no receipt"):
            find_judged(house.bucket, missing)


def test_the_champions_receipt_is_the_champions(house: House) -> None:
    house.champion(1)
    house.judge(house.version(2), Verdict.FAIL)
    receipt = house.release("ana").newest_receipt("delay", 1)
    assert find_judged(house.bucket, "delay@champion") == ("delay", receipt)


def test_a_receipt_that_no_ledger_names_is_not_found_however_well_it_is_made(house: House) -> None:
    """Whoever may write to the bucket can make one; nothing is signed or shown that the gate did not reach."""
    judged = house.judge(house.version(1), Verdict.FAIL)
    receipt = house.release("ana").receipt("delay", judged)
    forged = msgspec.structs.replace(receipt, verdict=Verdict.PASS, judged_at=receipt.judged_at + 1)
    planted = digest.of_json(forged)
    house.bucket.put_if_absent(receipt_key("delay", planted), digest.canonical(forged))
    assert find_judged(house.bucket, "delay@1") == ("delay", judged)
    with pytest.raises(NotFoundError) as refused:
        find_judged(house.bucket, planted)
    assert "no ledger" in refused.value.why
    with pytest.raises(NotFoundError):
        house.release("ana").receipt("delay", planted)
    assert [planted in problem for problem in audit_ledger(house.bucket, "delay") if "no ledger entry" in problem] == [True]


def test_a_ledger_whose_end_was_cut_off_is_found_by_what_it_no_longer_names(house: House) -> None:
    """Also after the next entry has moved the pointer, which had seen the longer ledger."""
    receipt = house.judge(house.version(1))
    house.bucket.delete("models/delay/ledger/00000002.json")
    house.version(2)
    assert any(receipt in problem for problem in audit_ledger(house.bucket, "delay"))


def test_a_beginning_that_fits_several_is_refused(house: House) -> None:
    house.version(1)
    for last in "12":
        receipt = "a" * 63 + last
        house.bucket.put_if_absent(receipt_key("delay", receipt), b"")
        event = Judged(version=1, receipt=receipt, verdict=Verdict.FAIL)
        append(house.bucket, "delay", lambda _state, event=event: event, clock=Clock.replay(1), actor="ana")
    with pytest.raises(UsageError, match="2 receipts begin with aaaaaa"):
        find_judged(house.bucket, "aaaaaa")
