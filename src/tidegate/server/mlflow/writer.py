"""One writer for all metrics that come in at once: a commit costs the same for one batch and for a hundred."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tidegate.errors import TidegateError, UnavailableError
from tidegate.store.ports import Batch

_AT_ONCE = 256
_WAITING = 10_000
"""More batches than this at once mean that the disk cannot follow; who comes then is asked to come again."""

Ingest = Callable[[Sequence[Batch]], list[TidegateError | None]]


class _Waiting(NamedTuple):
    batch: Batch
    answer: asyncio.Future[TidegateError | None]


class MetricWriter:
    """Takes batches from any number of requests of one event loop and hands all that wait to the store, in one commit.

    ``put`` returns when the batch is committed.
    """

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._waiting: list[_Waiting] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tidegate-metrics")
        self._work: asyncio.Task[None] | None = None

    async def put(self, batch: Batch) -> TidegateError | None:
        """Commits a batch; returns what forbade it.

        Raises:
            UnavailableError: the store cannot be used, or too much waits already. Nothing of the batch was taken.
        """
        if len(self._waiting) >= _WAITING:
            raise UnavailableError("store-locked", "too many metrics wait to be written", fix="try again in a moment")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[TidegateError | None] = loop.create_future()
        self._waiting.append(_Waiting(batch, answer))
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._write())
        return await answer

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            taken, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            refusals = await loop.run_in_executor(self._thread, _each, self._ingest, [item.batch for item in taken])
            for item, refusal in zip(taken, refusals, strict=True):
                if item.answer.done():  # the client has gone
                    continue
                if isinstance(refusal, UnavailableError) or not isinstance(refusal, TidegateError | None):
                    item.answer.set_exception(refusal)
                else:
                    item.answer.set_result(refusal)


def _each(ingest: Ingest, batches: Sequence[Batch]) -> list[BaseException | None]:
    """What became of each batch. A batch that the store cannot digest at all must not take others with it."""
    try:
        return [*ingest(batches)]
    except TidegateError as error:
        return [error] * len(batches)
    except Exception as error:  # noqa: BLE001 - handed to who waits for it
        if len(batches) == 1:
            return [error]
        return [refusal for batch in batches for refusal in _each(ingest, [batch])]
