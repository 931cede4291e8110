"""Reading, appending to and verifying the ledger; and the pointer, which is its cache. The bucket alone is needed.

An entry is put if absent under its sequence number, so of several writers exactly one gets a number; it carries the
digest of the entry before it, so an edit shows. The pointer is written after the entry: a process killed between the
two leaves a stale pointer, and every reader looks past it for newer entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import count, islice

import msgspec

from tidegate import digest as digests
from tidegate.clock import MINUTE, Clock, format_time
from tidegate.errors import ConflictError, IntegrityError
from tidegate.records.ledger import Event, LedgerEntry, Pointer
from tidegate.release.state import LedgerState, fold
from tidegate.store.ports import Blob, Bucket

_ATTEMPTS = 1000
_ONE_BY_ONE = 8
_AT_ONCE = 32
SKEW = 5 * MINUTE
"""How far the clocks of those who write to a ledger may be apart."""


class Ledger:
    """The ledgers of all models in a bucket, as one person writes them at one clock."""

    def __init__(
        self, bucket: Bucket, clock: Clock, actor: str, after: Callable[[str, LedgerEntry], None] = lambda _model, _entry: None
    ) -> None:
        """``after`` is called with every entry that is durable; it returns at once and never raises."""
        self.bucket = bucket
        self.clock = clock
        self.actor = actor
        self._after = after
        self._seen: dict[str, LedgerState] = {}

    def state(self, model: str) -> LedgerState:
        """What the ledger adds up to now. Entries that were read before are not read again, as long as the newest of them stands."""
        seen = self._seen.get(model)
        newest = self.bucket.find(entry_key(model, seen.head)) if seen else None
        if seen is None or newest is None or digests.of_bytes(newest.data) != seen.head_digest:
            seen = None
        state = fold(read_entries(self.bucket, model, after=seen.head if seen else 0), seen)
        if state.head:
            self._seen[model] = state
        return state

    def append(self, model: str, decide: Callable[[LedgerState], Event]) -> LedgerEntry:
        """See ``append`` below."""
        known = self.state(model)
        entry = append(self.bucket, model, decide, clock=self.clock, actor=self.actor, known=known)[1]
        self._after(model, entry)
        return entry

    def append_if(self, model: str, decide: Callable[[LedgerState], Event | None]) -> LedgerEntry | None:
        """Appends what ``decide`` makes of the newest state, unless that is nothing: asking twice adds one entry."""

        def decided(state: LedgerState) -> Event:
            event = decide(state)
            if event is None:
                raise _AsItIs
            return event

        try:
            return self.append(model, decided)
        except _AsItIs:
            return None


class _AsItIs(Exception):  # noqa: N818 - it ends an append that would change nothing; nobody outside sees it
    pass


def entry_key(model: str, seq: int) -> str:
    """``models/delay/ledger/00000042.json``."""
    return f"models/{model}/ledger/{seq:08d}.json"


def pointer_of(model: str, state: LedgerState) -> Pointer:
    """The pointer that says what a state says."""
    return Pointer(model=model, champion=state.champion, head=state.head, head_digest=state.head_digest, rollout=state.rollout)


def pointer_key(model: str) -> str:
    """``models/delay/current.json``."""
    return f"models/{model}/current.json"


def read_entries(bucket: Bucket, model: str, *, after: int = 0) -> list[tuple[str, LedgerEntry]]:
    """The entries with a greater sequence number than ``after``, each with the digest of its bytes.

    Raises:
        IntegrityError: an entry cannot be read.
    """
    entries: list[tuple[str, LedgerEntry]] = []
    for key, data in _stored(bucket, model, after):
        try:
            entry = digests.parsed(data, LedgerEntry)
            if entry.seq != after + len(entries) + 1:
                raise msgspec.ValidationError(f"it says that it is entry {entry.seq}")
        except msgspec.MsgspecError as error:
            raise IntegrityError(
                "ledger-damaged",
                f"{key} is no ledger entry",
                why=str(error),
                fix="restore it from a backup; tidegate store verify tells more",
            ) from None
        entries.append((digests.of_bytes(data), entry))
    return entries


def _stored(bucket: Bucket, model: str, after: int) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of the entries after a number. A bucket elsewhere takes milliseconds for each, so of many, many are asked at once."""
    keys = (entry_key(model, seq) for seq in count(after + 1))
    for key in islice(keys, _ONE_BY_ONE):
        blob = bucket.find(key)
        if blob is None:
            return
        yield key, blob.data
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while True:
            batch = list(islice(keys, _AT_ONCE))
            for key, blob in zip(batch, _found(bucket, batch, pool), strict=True):
                if blob is None:
                    return
                yield key, blob.data


def _found(bucket: Bucket, keys: Sequence[str], pool: Executor) -> Iterator[Blob | None]:
    try:
        return pool.map(bucket.find, keys)
    except RuntimeError:  # the interpreter is ending, where no thread is to be had, and what follows its last entry still reads
        return map(bucket.find, keys)


def read_state(bucket: Bucket, model: str) -> LedgerState:
    """The fold of the whole ledger."""
    return fold(read_entries(bucket, model))


def read_pointer(bucket: Bucket, model: str) -> Pointer:
    """Which version serves now. Reads the pointer, then only the entries that are newer than it: cheap enough to poll.

    Raises:
        IntegrityError: the pointer or an entry cannot be read.
    """
    return _followed(bucket, model, _cached_pointer(bucket, model)[0])


def append(
    bucket: Bucket,
    model: str,
    decide: Callable[[LedgerState], Event],
    *,
    clock: Clock,
    actor: str,
    known: LedgerState | None = None,
) -> tuple[str, LedgerEntry]:
    """Appends the event that ``decide`` makes of the newest state, deciding anew whenever another writer was faster.

    ``decide`` refuses by raising. Returns the entry and its digest; both are durable then, and the pointer is moved. ``known`` is
    the state of entries that need not be read again.
    """
    state = fold(read_entries(bucket, model, after=known.head if known else 0), known)
    for _attempt in range(_ATTEMPTS):
        entry = LedgerEntry(
            seq=state.head + 1, at=clock.now(), clock=clock.kind, actor=actor, event=decide(state), before=state.head_digest
        )
        data = digests.canonical(entry)
        if bucket.put_if_absent(entry_key(model, entry.seq), data):
            digest = digests.of_bytes(data)
            move_pointer(bucket, model, known=fold([(digest, entry)], state))
            return digest, entry
        state = fold(read_entries(bucket, model, after=state.head), state)
    raise ConflictError(
        "ledger-busy",
        f"the ledger of {model} could not be written in {_ATTEMPTS} attempts",
        why="others write to it all the time",
        fix="try again later",
    )


def move_pointer(bucket: Bucket, model: str, *, known: LedgerState | None = None) -> Pointer:
    """Makes the pointer what the ledger says, whatever it was (behind, damaged, of a longer ledger), unless somebody else just did."""
    while True:
        before = bucket.find(pointer_key(model))  # first: the ledger that is read after it is never older
        state = fold(read_entries(bucket, model, after=known.head if known else 0), known)
        pointer = pointer_of(model, state)
        data, etag = digests.canonical(pointer), before.etag if before else None
        if before and before.data == data:
            return pointer
        try:
            bucket.compare_and_swap(pointer_key(model), data, etag)
        except ConflictError:
            continue
        return pointer


def verify_ledger(bucket: Bucket, model: str) -> list[str]:
    """What is wrong with a model's ledger and pointer, in sentences; empty when all is well."""
    problems: list[str] = []
    try:
        entries = read_entries(bucket, model)
        pointer, _ = _cached_pointer(bucket, model)
    except IntegrityError as error:
        return [f"{error.what}: {error.why}"]
    before = ""
    newest = 0
    for digest, entry in entries:
        key = entry_key(model, entry.seq)
        if entry.before != before:
            problems.append(f"{key} does not continue the entry before it: one of the two was changed")
        if entry.clock == "system" and entry.at < newest - SKEW:
            problems.append(
                f"{key} is dated {format_time(entry.at)}, an entry before it {format_time(newest)}: a clock was wrong"
            )
        before, newest = digest, max(newest, entry.at) if entry.clock == "system" else newest
    present = [key for key in bucket.keys(f"models/{model}/ledger/") if key.endswith(".json")]
    if len(present) != len(entries):
        problems.append(
            f"the ledger of {model} has {len(present)} files but only {len(entries)} follow each other: one is missing"
        )
    state = fold(entries)
    if pointer.head > state.head:
        problems.append(
            f"the pointer of {model} has seen entry {pointer.head}, the ledger ends at {state.head}: it was cut short"
        )
    elif pointer.head and entries[pointer.head - 1][0] != pointer.head_digest:
        problems.append(f"the pointer of {model} has seen another entry {pointer.head} than the ledger holds")
    elif (then := fold(entries[: pointer.head])).champion != pointer.champion:
        problems.append(f"the pointer of {model} names version {pointer.champion.version}, which its ledger does not")
    elif then.rollout != pointer.rollout:
        problems.append(f"the pointer of {model} names another rollout than its ledger")
    return problems


def _cached_pointer(bucket: Bucket, model: str) -> tuple[Pointer, str | None]:
    blob = bucket.find(pointer_key(model))
    if blob is None:
        state = LedgerState()
        return Pointer(model=model, champion=state.champion, head=0, head_digest=""), None
    try:
        pointer = digests.parsed(blob.data, Pointer)
        if pointer.model != model or pointer.head < 0:
            raise msgspec.ValidationError(f"it is of {pointer.model!r}, up to entry {pointer.head}")
    except msgspec.MsgspecError as error:
        raise IntegrityError(
            "pointer-damaged",
            f"{pointer_key(model)} is no pointer",
            why=str(error),
            fix="delete it: it is made again from the ledger at the next read",
        ) from None
    return pointer, blob.etag


def _followed(bucket: Bucket, model: str, pointer: Pointer) -> Pointer:
    newer = read_entries(bucket, model, after=pointer.head)
    if not newer:
        return pointer
    start = LedgerState(champion=pointer.champion, head=pointer.head, head_digest=pointer.head_digest, rollout=pointer.rollout)
    return pointer_of(model, fold(newer, start))
