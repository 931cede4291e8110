"""The ratchet anchor: the champion that was last proven better than the one before it.

"Not worse" allows a small loss each time. Held against the champion alone, k promotions could lose k margins; held against the anchor
as well, all of them together can lose one.
"""

from __future__ import annotations

from tidegate.gate import read_report
from tidegate.records.ledger import LedgerEntry, Promoted
from tidegate.records.receipt import Baseline
from tidegate.records.verdict import Verdict
from tidegate.release.ledger import read_entries
from tidegate.release.state import fold
from tidegate.store.ports import Bucket


def find_anchor(bucket: Bucket, model: str) -> Baseline | None:
    """The newest champion, on the line that leads to the present one, that was promoted on a PASS with a rule ``superior``.

    It may be the champion itself. Champions that were rolled back from are not on the line. None: nothing was ever proven better.

    Raises:
        NotFoundError: a receipt of the line, or its report, is gone.
        IntegrityError: ledger, receipt or report were changed.
    """
    pairs = read_entries(bucket, model)
    entries = [entry for _, entry in pairs]
    state = fold(pairs)
    for champion in reversed([*state.before, state.champion]):
        receipt = _receipt_of(entries, champion)
        if receipt and _proved_better(bucket, model, receipt):
            return champion
    return None


def _receipt_of(entries: list[LedgerEntry], champion: Baseline) -> str:
    """The receipt that this champion was promoted on, this time: a version that was proven better long ago may return as not worse."""
    moves = [entry.event for entry in entries if entry.seq <= champion.move and isinstance(entry.event, Promoted)]
    return next((move.receipt for move in reversed(moves) if move.digest == champion.digest), "")


def _proved_better(bucket: Bucket, model: str, receipt: str) -> bool:
    report = read_report(bucket, model, receipt)
    return report.verdict is Verdict.PASS and any(
        rule.test == "superior" and rule.verdict is Verdict.PASS for rule in report.rules
    )
