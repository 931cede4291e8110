from __future__ import annotations

import threading
from array import array

import numpy as np

from tidegate.errors import UnavailableError
from tidegate.serving import log as log_module
from tidegate.serving.log import LogQueue, Served, columns_of


def served(rows, first=0, version=3, **inputs):
    """Two requests, the first of one row; or one."""
    every = array("q", [1, rows - 1] if rows > 1 else [rows])
    return Served(
        "delay", version, "\n".join(f"id{first + row}" for row in range(rows)), rows, every, array("q", [5, 6][: len(every)]), 7,
        array("d", [0.25, 0.5][: len(every)]),
        {"wind": np.arange(rows) * 1.0, "carrier": np.array(["AA"] * rows, dtype=object)} | inputs,
        {"probability": np.full(rows, 0.5, dtype=np.float32)},
    )  # fmt: skip


def test_calls_become_columns_one_after_the_other():
    column = np.array([[4.0], [5.0], [6.0]])
    columns = columns_of([served(2, X=np.array([[1.0, np.nan], [3.0, 4.0]])), served(3, 2, wind=column, X=np.ones((3, 2)))])
    assert (columns.model, columns.version) == ("delay", 3)
    assert columns.ids == [f"id{row}" for row in range(5)]
    assert columns.event_at.tolist() == [5, 6, 5, 6, 6]
    assert columns.served_at.tolist() == [7] * 5
    assert columns.seconds.tolist() == [0.25, 0.5, 0.25, 0.5, 0.5]
    assert columns.inputs["wind"].tolist() == [0.0, 1.0, 4.0, 5.0, 6.0]
    assert columns.inputs["carrier"].tolist() == ["AA"] * 5
    assert columns.inputs["X"].shape == (5, 2)
    assert columns.outputs["probability"].shape == (5,)


def test_a_full_queue_drops_with_a_count_and_never_waits():
    written = []
    queue = LogQueue(lambda part: written.extend(part.ids), max_waiting=10)
    assert [queue.put(served(4, place)) for place in (0, 4, 8)] == [True, True, False]
    assert queue.dropped == 4
    queue.flush()
    assert (queue.written, len(written)) == (8, 8)
    assert queue.put(served(10))


def test_what_waits_is_bounded_in_bytes_as_well(monkeypatch):
    monkeypatch.setattr(log_module, "MAX_WAITING_BYTES", 10_000)
    queue = LogQueue(lambda _part: None)
    text = np.array(["x" * 4_000], dtype=object)
    assert [queue.put(served(1, place, text=text)) for place in range(3)] == [True, True, False]
    assert not queue.put(served(1, X=np.zeros((1, 2_000))))
    queue.flush()
    assert queue.put(served(1, text=text))
    assert queue.dropped == 2


def test_on_a_full_disk_rows_wait_then_are_dropped_with_a_count_and_it_recovers(caplog):
    full, written, tried = [True], [], []

    def append(part):
        if full[0]:
            tried.append(part.ids)
            raise UnavailableError("disk-full", f"the disk is full: cannot write {part.ids}")
        written.extend(part.ids)

    queue = LogQueue(append, max_waiting=6)
    for place in range(5):
        assert queue.put(served(2, 2 * place)) is (place < 4)
        queue.flush()
    assert (queue.dropped, queue.written, tried) == (2, 0, [["id0", "id1"]] * 5)  # always the same rows: nothing is written twice
    assert "disk-full" in queue.problem
    assert len(caplog.records) == 1
    full[0] = False
    queue.flush()
    assert (queue.dropped, queue.written, written, queue.problem) == (2, 8, [f"id{row}" for row in range(8)], "")


def test_rows_that_cannot_be_written_at_the_end_are_counted_and_those_of_a_bug_at_once():
    def append(part):
        raise error[0]

    error = [UnavailableError("bucket-unavailable", "it is away")]
    queue = LogQueue(append)
    queue.put(served(3))
    queue.start()
    queue.stop()
    assert (queue.dropped, queue.written) == (3, 0)
    error[0] = ValueError("x")
    queue = LogQueue(append)
    queue.put(served(3))
    queue.flush()
    assert (queue.dropped, queue.problem) == (3, "an error of the server [ValueError]")


def test_versions_are_written_apart():
    parts = []
    queue = LogQueue(parts.append)
    for place, version in enumerate((3, 4, 3)):
        queue.put(served(2, 2 * place, version=version))
    queue.flush()
    assert [(part.version, part.ids) for part in parts] == [(3, ["id0", "id1", "id4", "id5"]), (4, ["id2", "id3"])]


def test_what_comes_while_it_writes_waits_for_the_next_time():
    parts = []

    def append(part):
        parts.append(part.ids)
        queue.put(served(1, 100 + len(parts)))

    queue = LogQueue(append)
    queue.put(served(2))
    queue.flush()
    assert parts == [["id0", "id1"]]
    queue.flush()
    assert parts[1:] == [["id101"]]


def test_stopping_writes_what_waits():
    written, threads = [], set()

    def append(part):
        threads.add(threading.current_thread().name)
        written.extend(part.ids)

    queue = LogQueue(append)
    queue.start()
    for place in range(50):
        queue.put(served(2, place * 2))
    queue.stop()
    assert written == [f"id{row}" for row in range(100)]
    assert threads == {"prediction-log"}
