from __future__ import annotations

import threading

import numpy as np

from tidegate.errors import UnavailableError
from tidegate.serving.log import LogQueue, Served, predictions


def served(rows, first=0):
    return Served(
        "delay", 3, [f"id{first + row}" for row in range(rows)], 5, 7, 0.25,
        {"wind": np.arange(rows) * 1.0, "carrier": np.array(["AA"] * rows, dtype=object)},
        {"probability": np.full(rows, 0.5, dtype=np.float32)},
    )  # fmt: skip


def test_rows_are_plain_and_a_matrix_has_a_column_each():
    request = served(2)._replace(inputs={"X": np.array([[1.0, np.nan], [3.0, 4.0]])}, outputs={"label": np.array([0, 1])})
    rows = predictions(request)
    assert [row.inputs for row in rows] == [{"X.0": 1.0, "X.1": None}, {"X.0": 3.0, "X.1": 4.0}]
    assert [row.outputs for row in rows] == [{"label": 0}, {"label": 1}]
    assert (rows[1].id, rows[1].model, rows[1].version, rows[1].event_at, rows[1].served_at, rows[1].seconds) == (
        "id1",
        "delay",
        3,
        5,
        7,
        0.25,
    )


def test_a_full_queue_drops_with_a_count_and_never_waits():
    written = []
    queue = LogQueue(written.extend, max_waiting=10)
    assert [queue.put(served(4, place)) for place in (0, 4, 8)] == [True, True, False]
    assert queue.dropped == 4
    queue.flush()
    assert (queue.written, len(written)) == (8, 8)
    assert queue.put(served(10))


def test_a_full_disk_drops_with_a_count_and_recovers():
    full, written = [True], []

    def append(rows):
        if full[0]:
            raise UnavailableError("disk-full", "the disk is full")
        written.extend(rows)

    queue = LogQueue(append)
    queue.put(served(3))
    queue.flush()
    assert (queue.dropped, queue.written) == (3, 0)
    assert "disk-full" in queue.problem
    full[0] = False
    queue.put(served(2))
    queue.flush()
    assert (queue.dropped, queue.written, len(written), queue.problem) == (3, 2, 2, "")


def test_stopping_writes_what_waits():
    written, threads = [], set()

    def append(rows):
        threads.add(threading.current_thread().name)
        written.extend(rows)

    queue = LogQueue(append)
    queue.start()
    for place in range(50):
        queue.put(served(2, place * 2))
    queue.stop()
    assert [row.id for row in written] == [f"id{row}" for row in range(100)]
    assert threads == {"prediction-log"}
