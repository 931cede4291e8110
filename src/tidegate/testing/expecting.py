"""What the suites share: expecting an error, and working at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tidegate.errors import TidegateError


@contextmanager
def refused(kind: type[TidegateError]) -> Generator[None]:
    """The block must raise ``kind``, and the error must say what happened and have a code."""
    try:
        yield
    except kind as error:
        assert error.code, "an error has a code"
        assert error.what, "an error says what happened"
        return
    raise AssertionError(f"no {kind.__name__} was raised")


def at_once(count: int, work: Callable[[int], None]) -> None:
    """Runs ``work(0) ... work(count - 1)`` in threads that start together; an error in one fails the caller."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
