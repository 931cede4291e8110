"""Was a history of a compare-and-swap register linearizable? And a crowd of promoters, in processes and threads, that makes one.

A register holds the number of the ledger entry that moved the pointer last. ``swap`` moves it from ``expected`` to ``value``, which no
other swap writes; ``read`` sees ``value``. A swap that is refused because the pointer had moved is a read of what it had moved to.
Times are those of one monotonic clock, shared by all processes of a machine.
"""

import contextlib
import functools
import itertools
import multiprocessing
import queue
import re
import threading
import time
from pathlib import Path
from typing import NamedTuple

from conftest_release_house import House, asking

from tidegate.errors import ConflictError
from tidegate.release.ledger import read_entries
from tidegate.store.bucket import CloudBucket, FolderBucket

FREE = asking(approvals=0)
PATIENCE = 120
"""How many seconds a round may take."""


class Op(NamedTuple):
    """One operation: when it was asked and answered, what it was, and what came of it."""

    start: float
    end: float
    kind: str
    value: int
    expected: int = 0
    by: str = ""


def anomaly(ops, initial):
    """The first reason why no order of the operations explains them, or an empty text.

    The swaps that took place form one chain, because each names the value that it replaces and writes one of its own. So the order of all
    values is given, and the operations of a value (its swap and the reads that saw it) form a cluster. Such a history is linearizable
    exactly if no operation of a later cluster, and no read before its own swap, ended before an operation of an earlier one began.
    Gibbons and Korach, Testing shared memories, SIAM Journal on Computing 26 (1997), section 4: with the read-mapping known it is easy.
    """
    problem, order = _chain(ops, initial)
    if problem:
        return problem
    place = {value: number for number, value in enumerate(order)}
    clusters = [[] for _ in order]
    for op in ops:
        if op.value not in place:
            return f"{op.value} was read and never written"
        clusters[place[op.value]].append(op)
    latest = None
    for cluster in clusters:
        written = next((op for op in cluster if op.kind == "swap"), None)
        for op in cluster:
            if written and op.end < written.start:
                return f"{op.value} was read before it was written"
            if latest and op.end < latest.start:
                return f"{op.kind} of {op.value} ended before {latest.kind} of {latest.value}, which comes before it, began"
        latest = max([latest, *cluster] if latest else cluster, key=lambda op: op.start, default=None)
    return ""


def _chain(ops, initial):
    """What is wrong with the swaps alone, or the values in the order in which they follow each other."""
    follower, values = {}, {initial}
    for op in ops:
        if op.kind != "swap":
            continue
        if op.value in values:
            return f"{op.value} was written twice", []
        if op.expected in follower:
            return f"{follower[op.expected].by or 'one'} and {op.by or 'another'} both won over {op.expected}", []
        values.add(op.value)
        follower[op.expected] = op
    order = [initial]
    while order[-1] in follower:
        order.append(follower[order[-1]].value)
    return ("", order) if len(order) == len(values) else ("a swap replaced a value that was never there", [])


def is_linearizable(ops, initial):
    """The same by trying every order: the definition itself, for histories of a few operations.

    Wing and Gong, Testing and verifying concurrent objects, Journal of Parallel and Distributed Computing 17 (1993).
    """

    def possible(left, value):
        if not left:
            return True
        first_end = min(op.end for op in left)
        for op in left:
            if op.start > first_end:
                continue  # another one had ended before it began
            rest = [other for other in left if other is not op]
            if op.kind == "read" and op.value == value and possible(rest, value):
                return True
            if op.kind == "swap" and op.expected == value and possible(rest, op.value):
                return True
        return False

    return possible(list(ops), initial)


class Judge(House):
    """It keeps its releases, and they keep what they have read: a ledger on S3 is not read anew for every round."""

    def __init__(self, bucket):
        super().__init__(bucket)
        self.release = functools.cache(super().release)


def _open(place, cache):
    return CloudBucket(place, Path(cache)) if "://" in place else FolderBucket(Path(place))


def _promote(release, name, version, ops):
    start = time.monotonic()
    before = release.pointer("delay").champion.move
    ops.append(Op(start, time.monotonic(), "read", before, by=name))
    start = time.monotonic()
    try:
        event = release.promote("delay", version, policy=FREE)
        ops.append(Op(start, time.monotonic(), "swap", event.seq, event.event.previous.move, name))
    except ConflictError as error:
        moved = int(re.search(r"since ledger entry (\d+)|$", error.what)[1])
        ops.append(Op(start, time.monotonic(), "read", moved, by=name))


def _crowd(place, cache, number, threads, rounds, ready, barrier, answers):
    """One process: its threads promote in every round, all at once with those of the other processes."""
    ops, failures = [], []

    def work(index):
        name = f"{number}.{index}"
        release = House(_open(place, f"{cache}/{name}")).release(name)
        try:
            for turn in range(rounds):
                barrier.wait()  # the judge has judged
                _promote(release, name, ready[turn], ops)
                barrier.wait()
        except threading.BrokenBarrierError:
            return  # another one tells why
        except BaseException as error:  # noqa: BLE001 - the other side must hear of it
            failures.append(f"{name}: {error!r}")
            barrier.abort()

    crew = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    answers.put((ops, failures))


def compete(place, cache, *, processes, threads, rounds):
    """Rounds in which everybody promotes the same version over the same champion; returns the operations and the winners by round."""
    house = Judge(_open(place, f"{cache}/judge"))
    one, two = house.champion(1), house.version(2)
    ready = [2 - turn % 2 for turn in range(rounds)]
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(processes * threads + 1, timeout=PATIENCE), context.Queue()
    arguments = (threads, rounds, ready, barrier, answers)
    crews = [context.Process(target=_crowd, args=(place, cache, number, *arguments)) for number in range(processes)]
    for crew in crews:
        crew.start()
    winners = []
    with contextlib.suppress(threading.BrokenBarrierError):  # then somebody failed, and tells why
        for version in ready:
            house.judge(two if version == 2 else one)
            before = house.release("judge").state("delay").head
            barrier.wait()
            barrier.wait()
            new = read_entries(house.bucket, "delay", after=before)
            winners.append([entry.actor for _, entry in new if type(entry.event).__name__ == "Promoted"])
    try:
        gathered = [answers.get(timeout=PATIENCE) for _ in crews]
    except queue.Empty:
        raise AssertionError(f"a crew is gone: their exit codes are {[crew.exitcode for crew in crews]}") from None
    for crew in crews:
        crew.join()
    failures = list(itertools.chain.from_iterable(failed for _, failed in gathered))
    assert failures == []
    return list(itertools.chain.from_iterable(ops for ops, _ in gathered)), winners
