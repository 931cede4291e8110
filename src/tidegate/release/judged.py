"""Finds receipts by what people type. The ledger says which there are: a file beside it is none, whoever put it there."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tidegate.errors import NotFoundError, UsageError
from tidegate.gate import receipts_in
from tidegate.records.names import parse_reference
from tidegate.records.verdict import Verdict
from tidegate.release.ledger import read_state
from tidegate.release.state import CHAMPION, LedgerState
from tidegate.store.ports import Bucket


def find_judged(bucket: Bucket, text: str) -> tuple[str, str]:
    """Model and digest of the receipt that ``text`` names: a digest, its beginning, or ``delay@3`` for the newest of a version.

    Raises:
        NotFoundError: no ledger names such a receipt.
        UsageError: the beginning fits several.
    """
    if re.fullmatch(r"[0-9a-f]{6,64}", text):
        stored = [(model, digest) for model, digest in receipts_in(bucket) if digest.startswith(text)]
        found = [(model, digest) for model, digest in stored if is_judged(read_state(bucket, model), digest)]
        if len(found) > 1:
            raise UsageError("ambiguous-receipt", f"{len(found)} receipts begin with {text}", fix="give more characters")
    else:
        reference = parse_reference(text, "model")
        state = read_state(bucket, reference.name)
        version = state.champion.version if reference.version == CHAMPION else reference.number
        judged = [item.receipt for item in state.judgements if version in {None, item.version}]
        stored, found = [], [(reference.name, digest) for digest in judged[-1:]]
    if not found:
        raise NotFoundError(
            "no-such-receipt",
            f"no receipt {text}",
            why=f"a file of that name stands in the receipts of {stored[0][0]}, but no ledger says that the gate wrote it"
            if stored
            else "",
            fix="run the gate: tidegate gate MODEL@VERSION",
        )
    return found[0]


def is_judged(state: LedgerState, digest: str) -> bool:
    """Whether a ledger says that the gate reached this receipt."""
    return any(item.receipt == digest for item in state.judgements)


def judged_rows(states: Iterable[LedgerState]) -> dict[str, str]:
    """Receipts of all verdicts that told something, each with the digest of the rows that it was reached on (see ``find_wear``)."""
    return {item.receipt: item.snapshot for state in states for item in state.judgements if item.verdict is not Verdict.INVALID}
