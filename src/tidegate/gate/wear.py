"""How worn an evaluation set is: who has judged by it, how often, since when.

Every judgement tells something about the rows, and whoever chooses the next candidate by it fits them a little. With uses at the
bound the chances to be wrong once add up: of twenty at 2.5% each, 40% that at least one PASS was luck. In practice most sets bear
more (Roelofs et al. found little overfitting in 112 contests), so wear is told, and blocks only where a policy says ``max_uses``.

Source: Dwork et al., The reusable holdout, Science 349 (2015); Roelofs et al., A Meta-Analysis of Overfitting in Machine Learning,
NeurIPS (2019).
"""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.clock import DAY
from tidegate.errors import IntegrityError, NotFoundError
from tidegate.gate.receipt import read_receipt, receipts_in
from tidegate.records.dataset import Snapshot
from tidegate.records.receipt import Receipt
from tidegate.records.report import Problem, Wear
from tidegate.records.verdict import Verdict
from tidegate.store.ports import Bucket

WORN = 20
"""From so many uses on a report warns."""


def find_wear(bucket: Bucket, snapshot: Snapshot, *, judged: Mapping[str, str], confidence: float, now: int) -> Wear:
    """What the receipts of all models tell about the rows of ``snapshot`` (under any name: its digest counts), as of ``now`` (us UTC).

    The same candidate judged again against the same champion by the same policy is no new use, and INVALID told nothing. ``judged``
    are the receipts that the ledgers name, with the digests of their rows: one that is gone or was edited is a use all the same, and
    where nobody knows of which rows, of these.
    """
    receipts = _receipts(bucket)
    seen = [receipt for receipt in receipts.values() if receipt.snapshot_digest == snapshot.digest]
    told = [receipt for receipt in seen if receipt.verdict is not Verdict.INVALID]
    lost = [digest for digest, rows in judged.items() if digest not in receipts and rows in {"", snapshot.digest}]
    uses = len({(each.model, each.candidate_digest, each.baseline.digest, each.policy_digest) for each in told}) + len(lost)
    alpha = (1 - confidence) / 2
    return Wear(
        uses=uses,
        alpha_spent=float(f"{1 - (1 - alpha) ** (uses + 1):.6g}"),
        first_used=min((each.judged_at for each in told), default=None),
        age_days=round(max(now - snapshot.created_at, 0) / DAY, 2),
    )


def worn_out(wear: Wear, max_uses: int, snapshot: str) -> Problem | None:
    """Why the set must not be used once more: the policy allows no more uses. None: it may be. 0 allows any number."""
    if not max_uses or wear.uses < max_uses:
        return None
    return Problem(
        code="evaluation-used-up",
        what=f"{snapshot} was judged by {wear.uses} times, and the policy allows {max_uses}",
        fix="take a fresh snapshot of rows that nobody has judged by, and name it in the policy",
    )


def worn(wear: Wear, snapshot: str) -> Problem | None:
    """What a reader should know about a set that was used often; None: it was not."""
    if wear.uses < WORN:
        return None
    return Problem(
        code="evaluation-worn",
        what=(
            f"{snapshot} was judged by {wear.uses} times before: if every candidate had stood at its bound, "
            f"one of these PASSes would be luck with a chance of {wear.alpha_spent:.0%}"
        ),
        fix="plan a fresh evaluation set (tidegate gate plan), or set max_uses in the policy",
    )


def _receipts(bucket: Bucket) -> dict[str, Receipt]:
    """All receipts that can be read, by digest; ``store verify`` names those that cannot."""
    found: dict[str, Receipt] = {}
    for model, digest in receipts_in(bucket):
        try:
            found[digest] = read_receipt(bucket, model, digest)
        except (IntegrityError, NotFoundError):
            continue
    return found
