"""Holds what a ledger says against what stands in the bucket, and every promotion against the rules that cannot change.

The chain shows that an entry was changed; it cannot show that an entry was made by hand. This reads the ledger again from
its first entry: each promotion must rest on a PASS that was judged before it and had not expired, of the version as registered, against
the champion of that moment, with as many approvals as the policy asked for by which it was judged. A promotion never asks for fewer;
whether it asked for more, or for others, is not in the bucket.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from tidegate import digest as digests
from tidegate.errors import IntegrityError, NotFoundError, TidegateError
from tidegate.gate.receipt import read_policy, read_receipt, receipt_key, receipts_in
from tidegate.records.ledger import Approved, Judged, LedgerEntry, Pointer, Promoted, Registered, RolloutStarted
from tidegate.records.policy import AutoApproval, ReleasePolicy
from tidegate.records.receipt import Receipt
from tidegate.records.verdict import Verdict
from tidegate.release.approving import consent_of_policy, passed_receipt
from tidegate.release.ledger import SKEW, entry_key, pointer_of, read_entries
from tidegate.release.rules import Request, standing_approvers
from tidegate.release.state import LedgerState, fold
from tidegate.store.ports import Bucket

_MOVES = re.compile(r"models/(?P<model>[^/]+)/(?:ledger/(?P<seq>[0-9]{8})\.json|current\.json)")


def audit_ledger(bucket: Bucket, model: str) -> list[str]:
    """What the ledger of a model rests on and is not there or not so, in sentences; empty when all is well."""
    try:
        entries = read_entries(bucket, model)
    except IntegrityError:
        return []  # the ledger's own check tells it
    problems: list[str] = []
    if not entries and any(bucket.keys(f"models/{model}/receipts/")):
        problems.append(f"{model} has receipts but no ledger: it was removed")
    state, newest = LedgerState(), 0
    for digest, entry in entries:
        at = entry.at
        if entry.clock == "system":  # a clock that was set back makes nothing stand that had expired
            at, newest = max(at, newest - SKEW), max(at, newest)
        problems += [f"{entry_key(model, entry.seq)}: {problem}" for problem in _of_entry(bucket, model, state, entry, at)]
        state = fold([(digest, entry)], state)
    return problems + (_unjudged(bucket, model, state) if entries else [])


def _unjudged(bucket: Bucket, model: str, state: LedgerState) -> list[str]:
    """Receipts that the ledger does not name: its end was cut off, somebody made them, or a gate was killed at its last step."""
    judged = {item.receipt for item in state.judgements}
    stored = [digest for _, digest in receipts_in(bucket, f"models/{model}/receipts/")]
    return [
        f"{receipt_key(model, digest)} is in no ledger entry: it proves nothing, and nothing can be promoted on it"
        for digest in stored
        if digest not in judged
    ]


def audit_write(
    bucket: Bucket,
    key: str,
    data: bytes,
    *,
    allow_ungated: bool,
    may_break_glass: Callable[[str, str], bool] = lambda _model, _actor: False,
) -> list[str]:
    """What is wrong with a ledger entry or a pointer that somebody is about to write by hand, in sentences.

    A key of another kind is nobody's ledger, and fine. ``may_break_glass`` says who may promote which model past the gate.
    """
    match = _MOVES.fullmatch(key)
    if match is None:
        return []
    model = match["model"]
    entries = read_entries(bucket, model)
    try:
        if match["seq"] is None:
            return _of_pointer(model, entries, digests.parsed(data, Pointer))
        entry = digests.parsed(data, LedgerEntry)
    except msgspec.MsgspecError as error:
        return [f"{key} would be unreadable: {error}"]
    state = fold(entries)
    if int(match["seq"]) <= state.head:
        return []  # it is there already, and stays
    if (entry.seq, int(match["seq"]), entry.before) != (state.head + 1, state.head + 1, state.head_digest):
        return [f"{key} would not continue the ledger of {model}"]
    if isinstance(entry.event, Promoted) and entry.event.ungated and not allow_ungated:
        return [f"{model}@{entry.event.version} would be promoted ungated, and the server's setting allow_ungated is off"]
    if isinstance(entry.event, Promoted) and entry.event.break_glass and not may_break_glass(model, entry.actor):
        return [f"{model}@{entry.event.version} would be promoted by breaking the glass, which {entry.actor} may not"]
    return _of_entry(bucket, model, state, entry, entry.at) or _of_automatic(bucket, model, state, entry)


def _of_automatic(bucket: Bucket, model: str, state: LedgerState, entry: LedgerEntry) -> list[str]:
    """Whether the policy would have given the approval that is said to be its own."""
    event = entry.event
    if not isinstance(event, Approved) or event.via != "policy":
        return []
    try:
        policy = read_policy(bucket, model, event.receipt)
        if policy is None or passed_receipt(state, model, event.version) != event.receipt:
            return [f"{model}@{event.version} would be approved by policy on another receipt than its newest"]
        found = consent_of_policy(bucket, state, model, event.version, policy.release, entry.at)
    except TidegateError as error:
        return [error.what]
    return [f"the policy does not approve {model}@{event.version}: {found[0]}"] if isinstance(found, list) else []


def _of_pointer(model: str, entries: list[tuple[str, LedgerEntry]], pointer: Pointer) -> list[str]:
    state = fold(entries[: pointer.head])
    return [] if pointer == pointer_of(model, state) else [f"the pointer of {model} would not say what its ledger says"]


def _of_entry(bucket: Bucket, model: str, state: LedgerState, entry: LedgerEntry, at: int) -> list[str]:
    event = entry.event
    if isinstance(event, Registered):
        found = bucket.find(f"models/{model}/versions/{event.version}/manifest.json")
        if found is None:
            return [f"the manifest of {model}@{event.version} is missing"]
        same = digests.of_bytes(found.data) == event.digest
        return [] if same else [f"the manifest of {model}@{event.version} is not the one that was registered"]
    if isinstance(event, Judged):
        receipt, problem = _receipt(bucket, model, event.receipt)
        if receipt is None:
            return [problem]
        told = (receipt.model, receipt.candidate, receipt.verdict, receipt.loosened, receipt.snapshot_digest) == (
            model,
            event.version,
            event.verdict,
            event.loosened,
            event.snapshot or receipt.snapshot_digest,
        )
        return [] if told else [f"it does not say what its receipt says about {model}@{event.version}"]
    if isinstance(event, Approved) and event.via == "policy":
        policy = read_policy(bucket, model, event.receipt)
        declared = policy is not None and policy.release.auto is not None
        return [] if declared else [f"{model}@{event.version} was approved by a policy that declares no such approval"]
    return _of_promotion(bucket, model, state, event, at) if isinstance(event, Promoted | RolloutStarted) else []


def _of_promotion(bucket: Bucket, model: str, state: LedgerState, event: Promoted | RolloutStarted, at: int) -> list[str]:
    """A promotion, or the start of a rollout, which rests on the same."""
    ref = f"{model}@{event.version}"
    if state.frozen:
        return [f"{ref} was promoted while {model} was frozen"]
    if isinstance(event, Promoted) and (event.ungated or event.break_glass):
        # a red flag that doctor tells, but no forgery: the entry itself says that it rests on nothing
        known = state.digests.get(event.version) == event.digest and event.digest not in state.quarantined
        told = f"{ref} was promoted without a receipt, and is quarantined or not the version as it was registered"
        return [] if known else [told]
    if not any(item.receipt == event.receipt and item.verdict is Verdict.PASS for item in state.judgements):
        return [f"{ref} was promoted without a PASS in the ledger before it"]
    if event.digest in state.quarantined:
        return [f"{ref} was promoted while it was quarantined"]
    receipt, problem = _receipt(bucket, model, event.receipt)
    if receipt is None:
        return [problem]
    named = (receipt.candidate, receipt.candidate_digest) == (event.version, event.digest)
    if not named or state.digests.get(event.version) != event.digest:
        return [f"{ref} was promoted on a receipt that does not name it as it was registered"]
    if receipt.baseline != state.champion:
        return [f"{ref} was promoted on a comparison with another champion than the one that served"]
    rollout = state.rollout
    if rollout and (rollout.version, rollout.receipt) == (event.version, event.receipt):
        at = rollout.started_at  # what it rests on was held to that moment
    if at >= receipt.expires_at:
        return [f"{ref} was promoted on a receipt that had expired"]
    judged_by = read_policy(bucket, model, event.receipt)
    asked = judged_by.release if judged_by else ReleasePolicy(approvals=0)
    needed = Request(model, event.version, receipt, event.receipt, asked, at).approvals
    anybody = Request(model, event.version, receipt, event.receipt, ReleasePolicy(auto=AutoApproval()), at)
    count = len(standing_approvers(state, anybody))
    by = ", by a loosened policy" if receipt.loosened else ""
    return [f"{ref} was promoted with {count} of {needed} approvals{by}"] if count < needed else []


def _receipt(bucket: Bucket, model: str, digest: str) -> tuple[Receipt | None, str]:
    try:
        receipt = read_receipt(bucket, model, digest)
        read_policy(bucket, model, digest)
    except (NotFoundError, IntegrityError) as error:
        return None, error.what
    key = receipt_key(model, digest, ".report.json")
    report = bucket.find(key)
    if report is None or digests.of_bytes(report.data) != receipt.report_digest:
        return None, f"the report at {key} is missing or was changed"
    return receipt, ""
