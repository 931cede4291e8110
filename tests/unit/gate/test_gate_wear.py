"""The ledger of an evaluation set: who judged by its rows, and how often."""

from __future__ import annotations

import pytest
from test_gate_receipt import POLICY, REPORT, _receipt

from tidegate.clock import DAY
from tidegate.gate import find_wear, receipt_key, store_receipt
from tidegate.gate.wear import WORN, worn, worn_out
from tidegate.records.dataset import Snapshot
from tidegate.records.report import Wear
from tidegate.store.bucket.folder import FolderBucket

ROWS = Snapshot(name="e", number=1, digest="s", files=[], created_at=40 * DAY)


def test_a_fresh_set_has_no_wear(bucket: FolderBucket) -> None:
    found = find_wear(bucket, ROWS, judged={}, confidence=0.95, now=50 * DAY)
    assert found == Wear(uses=0, alpha_spent=pytest.approx(0.025), first_used=None, age_days=10.0)


def test_different_candidates_are_uses_the_same_again_is_none(bucket: FolderBucket) -> None:
    for number, day in ((3, 51), (3, 52), (4, 53)):
        store_receipt(bucket, _receipt(number, now=day * DAY), REPORT, POLICY)
    found = find_wear(bucket, ROWS, judged={}, confidence=0.95, now=60 * DAY)
    assert (found.uses, found.first_used, found.age_days) == (2, 51 * DAY, 20.0)
    assert found.alpha_spent == pytest.approx(1 - 0.975**3, abs=1e-6)


def test_other_rows_do_not_count_but_the_same_under_another_name_do(bucket: FolderBucket) -> None:
    other = Snapshot(name="f", number=7, digest="t", files=[], created_at=0)
    renamed = Snapshot(name="g", number=2, digest="s", files=[], created_at=0)
    store_receipt(bucket, _receipt(3, snapshot=other), REPORT, POLICY)
    store_receipt(bucket, _receipt(4, snapshot=renamed), REPORT, POLICY)
    assert find_wear(bucket, ROWS, judged={}, confidence=0.95, now=60 * DAY).uses == 1


def test_a_receipt_that_was_changed_or_is_gone_is_a_use_all_the_same(bucket: FolderBucket) -> None:
    digest = store_receipt(bucket, _receipt(3), REPORT, POLICY)
    path = bucket.root / receipt_key("delay", digest)

    def uses(rows: str = "s", *, named: bool = True) -> int:
        judged = {digest: rows} if named else {}
        return find_wear(bucket, ROWS, judged=judged, confidence=0.95, now=60 * DAY).uses

    assert uses() == 1  # not twice
    path.write_bytes(path.read_bytes() + b" ")
    assert (uses(), uses(named=False)) == (1, 0)
    path.unlink()
    assert (uses(), uses("")) == (1, 1)  # older ledgers do not tell which rows: it may have been these
    assert uses("other rows") == 0


def test_often_is_told_and_the_policy_may_forbid_it() -> None:
    def used(uses: int) -> Wear:
        return Wear(uses=uses, alpha_spent=1 - 0.975 ** (uses + 1), first_used=0, age_days=1.0)

    assert worn(used(WORN - 1), "e@1") is None
    told = worn(used(WORN), "e@1")
    assert told is not None
    assert (told.code, "41%" in told.what) == ("evaluation-worn", True)
    assert worn_out(used(1000), 0, "e@1") is None
    assert worn_out(used(4), 5, "e@1") is None
    spent = worn_out(used(5), 5, "e@1")
    assert spent is not None
    assert spent.code == "evaluation-used-up"
