"""From a decoded request to an answer: the model is asked, the request counted and logged. Knows no protocol and no HTTP."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import NamedTuple

from tidegate.clock import Clock
from tidegate.frames import Columns
from tidegate.records.ids import new_id
from tidegate.serving.handle import Handle
from tidegate.serving.log import LogQueue, Served
from tidegate.serving.metrics import Metrics
from tidegate.serving.protocols.request import Request

_INLINE_ROWS = 256
"""Requests with more rows are predicted beside the event loop, so that small ones do not wait for them."""


class Answered(NamedTuple):
    """What a request got: from which version, its outputs by name, and an id for each row."""

    handle: Handle
    outputs: Columns
    ids: list[str]


class Predictions:
    """Asks models. One for a process; called on its event loop only."""

    def __init__(self, log: LogQueue, metrics: Metrics, clock: Clock) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="predict")

    async def answer(self, handle: Handle, request: Request, start: float) -> Answered:
        """Predicts a request's rows on ``handle``. ``start`` is when it arrived, by ``perf_counter``.

        Raises:
            BadInputError: the model refuses the rows.
        """
        if handle.slow or request.rows > _INLINE_ROWS:
            outputs = await asyncio.get_running_loop().run_in_executor(self._beside, handle.predictor.predict, request.columns)
        else:
            outputs = handle.predictor.predict(request.columns)
        served_at = self._clock.now()
        base = new_id(served_at)
        ids = [base] if request.rows == 1 else [f"{base}-{row}" for row in range(request.rows)]
        seconds = perf_counter() - start
        self._metrics.answered(handle, seconds)
        version, event_at = handle.version, request.event_at or served_at
        self._log.put(Served(version.name, version.version, ids, event_at, served_at, seconds, request.columns, outputs))
        return Answered(handle, outputs, ids)
