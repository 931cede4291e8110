"""Requests that wait for the same version are predicted in one call. No timer: nobody ever waits for company.

While a call runs, what arrives waits; when it ends, the next call takes what waits. What arrives in one turn of the event loop is taken
together as well. So a call has one row when there is little to do, and many when there is much.
SOURCE: the rule is Triton's dynamic batcher without a delay; the cap is Clipper's (arXiv 1612.03079, 4.3), with BentoML's fit for AIMD.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np

from tidegate.errors import TidegateError
from tidegate.frames import Columns
from tidegate.models.signature import conform
from tidegate.serving.admission import OverloadedError, Room
from tidegate.serving.handle import SLOW_SECONDS, Handle

INLINE_ROWS = 256
"""A call with more rows, or one that takes long, runs beside the event loop, so that other requests do not wait for it."""
MAX_BATCH_ROWS = 4_096
_MEMORY = 0.98  # a call counts half as much after 34 further ones
_OUTLIER = 4.0
_ENOUGH = 10.0  # a batch in which the fixed cost is a tenth of the rest gains nothing by more rows
_SHORT = 0.02
"""Seconds. To cut a call that takes less would make nobody's wait much shorter. And a fit that has seen small calls only may take the
fixed cost for far too little: cut by that, calls would stay small, and pay it again and again."""

_log = logging.getLogger("tidegate.serving")


class Waiting(Protocol):
    """Who waits for the outputs of a request: an asyncio future, or what is as good as one. Used on the event loop only."""

    def done(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def set_result(self, result: Columns, /) -> None:
        """The model's outputs. Never raises."""
        ...

    def set_exception(self, exception: Exception, /) -> None:
        """What went wrong instead. Never raises."""
        ...


class Asking:
    """One request on its way through a model. ``start`` and ``due`` by ``perf_counter``; ``due``: its answer is wanted by then."""

    __slots__ = ("columns", "due", "event_at", "future", "handle", "ids", "outputs", "rows", "served_at", "start")

    def __init__(
        self, handle: Handle, columns: Columns, rows: int, *, start: float = 0.0, due: float = math.inf, event_at: int = 0
    ) -> None:
        self.handle = handle
        self.columns = columns
        self.rows = rows
        self.start = start
        self.due = due
        self.event_at = event_at
        self.ids: list[str] = []
        self.served_at = 0
        self.outputs: Columns = {}
        self.future: Waiting | None = None


class Call(NamedTuple):
    """One call of the model: whose rows, the rows, and what came of it."""

    askings: Sequence[Asking]
    columns: Columns
    outputs: Columns
    error: Exception | None = None


class Fit:
    """How long a call takes: ``seconds = a * rows + b`` by least squares over the recent calls, older ones counting less."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: of a call with one row, to begin with."""
        self._weight, self._rows, self._square, self._seconds, self._cross = 1.0, 1.0, 1.0, seconds, seconds
        self.a, self.b = 0.0, seconds

    def observe(self, rows: int, seconds: float) -> None:
        """Takes note of a call. One that took absurdly long (the machine did something else) counts as four times the usual."""
        seconds = min(seconds, _OUTLIER * self.seconds(rows) + 1e-4)
        self._weight = self._weight * _MEMORY + 1.0
        self._rows = self._rows * _MEMORY + rows
        self._square = self._square * _MEMORY + rows * rows
        self._seconds = self._seconds * _MEMORY + seconds
        self._cross = self._cross * _MEMORY + rows * seconds
        self._solve()

    def seconds(self, rows: int) -> float:
        """How long a call with so many rows takes, most likely."""
        if self.a:
            return self.a * rows + self.b
        # All calls were of one size: nobody knows what a row more costs. Whoever waits had better expect the worst.
        return self.b * max(1.0, rows * self._weight / self._rows)

    @property
    def enough(self) -> float:
        """Rows beyond which a call gains nothing by more."""
        return max(_ENOUGH * self.b, _SHORT) / self.a if self.a else math.inf

    def _solve(self) -> None:
        spread = self._weight * self._square - self._rows * self._rows
        if spread <= 1e-3 * self._rows * self._rows:
            self.a, self.b = 0.0, self._seconds / self._weight
            return
        a = (self._weight * self._cross - self._rows * self._seconds) / spread
        b = (self._seconds - a * self._rows) / self._weight
        if b < 0.0:
            a, b = self._cross / self._square, 0.0
        self.a, self.b = (a, b) if a > 0.0 else (0.0, self._seconds / self._weight)


class Line:
    """What waits for one version. Used on the event loop only; one call of the model at a time.

    Args:
        answered: Told of every call that ended well, before its requests go on.
        room: What waits for the model, in this line and in those of its other versions.
        beside: Runs the calls that take long.
        seconds: What one row takes, to begin with.
        together: Whether several requests may share a call.
    """

    def __init__(
        self, answered: Callable[[Call], None], *, room: Room, beside: Executor, seconds: float, together: bool = True
    ) -> None:
        self.fit = Fit(seconds)
        self.calls = 0
        """Calls of the model so far; requests answered without waiting are not among them."""
        self._answered = answered
        self._room = room
        self._beside = beside
        self._waiting: deque[Asking] = deque()
        self._rows = 0
        self._planned = False
        self._ends = 0.0  # when the call that runs beside the loop will end, most likely; 0: none runs
        self._singly = not together

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self._ends

    def is_quick(self, rows: int) -> bool:
        """Whether a call with so many rows may run on the event loop."""
        return rows <= INLINE_ROWS and self.fit.seconds(rows) <= SLOW_SECONDS

    async def ask(self, asking: Asking) -> Columns:
        """Waits for the request's turn and its answer.

        Raises:
            OverloadedError: it would come too late.
            BadInputError: the model refuses its rows.
        """
        future: asyncio.Future[Columns] = asyncio.get_running_loop().create_future()
        self.put(asking, future)
        return await future

    def put(self, asking: Asking, future: Waiting) -> None:
        """Lets a request wait for its turn; ``future`` is told what becomes of it, never before this returns.

        Raises:
            OverloadedError: its answer would come too late.
        """
        now = perf_counter()
        self._room.enter(asking.rows, now, wait=self._wait(now), own=self.fit.seconds(asking.rows), left=asking.due - now)
        asking.future = future
        self._waiting.append(asking)
        self._rows += asking.rows
        if not self._planned and not self._ends:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._begin)

    def hurry(self) -> None:
        """Calls the model at once for what waits: nobody else is there to wait for."""
        self._begin()

    def refuse_late(self, start: float, within: float) -> None:
        """A first look at a request that is wanted ``within`` seconds from ``start``. Errors: those of ``Room.refuse_late``."""
        if self._room.requests:
            now = perf_counter()
            self._room.refuse_late(wait=self._wait(now), left=start + within - now)

    def turn_away(self, start: float, within: float) -> float:
        """The same look, for nearly nothing: whoever gets more than 0 is turned away, and may try again after so many seconds."""
        if not self._room.requests:
            return 0.0
        now = perf_counter()
        late = self._room.is_late(wait=self._wait(now), left=start + within - now)
        if late:
            self._room.turned_away += 1
        return late

    def _wait(self, now: float) -> float:
        return max(self._ends - now, 0.0) + (self.fit.seconds(self._rows) if self._rows else 0.0)

    def _begin(self) -> None:
        """Calls the model for what waits: on the event loop once, then it is the loop's turn; or beside it."""
        self._planned = False
        if not self._waiting or self._ends or not (batch := self._take()):
            return
        rows = sum([asking.rows for asking in batch])
        loop = asyncio.get_running_loop()
        if self.is_quick(rows):
            self._settle(predict_together(batch))
            if self._waiting and not self._planned:
                self._planned = True
                loop.call_soon(self._begin)
            return
        self._ends = perf_counter() + self.fit.seconds(rows)
        loop.run_in_executor(self._beside, predict_together, batch).add_done_callback(partial(self._end, batch))

    def _end(self, batch: list[Asking], running: asyncio.Future[tuple[list[Call], float]]) -> None:
        self._ends = 0.0
        error = running.exception()
        if isinstance(error, Exception):  # not the model's: those are in the calls. Whatever it is, nobody waits for ever
            self._settle(([Call(batch, batch[0].columns, {}, error)], 0.0))
        else:
            self._settle(running.result())
        self._begin()

    def _take(self) -> list[Asking]:
        """The requests of the next call: in their order, as many as pay, and end in time for the most pressed of them."""
        batch: list[Asking] = []
        rows, due, now = 0, math.inf, perf_counter()
        while self._waiting:
            asking = self._waiting[0]
            more = rows + asking.rows
            future = asking.future
            assert future is not None
            late = now + self.fit.seconds(more) > min(due, asking.due)
            if batch and (self._singly or late or more > min(self.fit.enough, MAX_BATCH_ROWS)):
                break
            self._waiting.popleft()
            self._rows -= asking.rows
            if future.done():  # cancelled: nobody waits for it any more
                self._room.leave(1, asking.rows, now)
                continue
            if asking.due < now:
                self._room.leave(1, asking.rows, now)
                self._room.turned_away += 1
                why = "its time was over before its turn came"
                future.set_exception(OverloadedError("the answer would come too late", why=why, retry_after=1.0))
                continue
            batch.append(asking)
            rows, due = more, min(due, asking.due)
        return batch

    def _settle(self, done: tuple[list[Call], float]) -> None:
        calls, seconds = done
        self.calls += 1
        tried = sum([len(call.askings) for call in calls])
        self._room.leave(tried, sum([asking.rows for call in calls for asking in call.askings]), perf_counter())
        if len(calls) == 1:
            if calls[0].error is None:
                self.fit.observe(sum([asking.rows for asking in calls[0].askings]), seconds)
        elif tried == len(calls) and all(call.error is None for call in calls):
            _log.warning(
                "a model refuses several requests in one call, and none of them alone: it is asked one by one from now on"
            )
            self._singly = True
        for call in calls:
            error = call.error
            if error is None:
                try:
                    self._answered(call)
                except Exception as odd:  # noqa: BLE001 - a bug: it is told to who asked, and the next call goes on
                    error = odd
            first = 0
            for asking in call.askings:
                end = first + asking.rows
                future = asking.future
                assert future is not None
                if error is None:
                    asking.outputs = _part(call, first, end)
                if future.done():
                    pass
                elif error is None:
                    future.set_result(asking.outputs)
                else:
                    future.set_exception(error)
                first = end


def predict_together(askings: Sequence[Asking]) -> tuple[list[Call], float]:
    """Asks the model of these requests, the same for all, once about the rows of all; if that fails, about each half, so that bad rows hurt only their own request.

    Returns:
        The calls that stand, which together hold every request once, and the seconds that the first one took.
    """
    start = perf_counter()
    try:
        columns, outputs = _asked(askings)
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to whoever sent the rows
        seconds = perf_counter() - start
        if len(askings) == 1:
            return [Call(askings, askings[0].columns, {}, error)], seconds
    else:
        return [Call(askings, columns, outputs)], perf_counter() - start
    half = len(askings) // 2
    halves = [predict_together(part)[0] for part in (askings[:half], askings[half:])]
    return [*halves[0], *halves[1]], seconds


def _asked(askings: Sequence[Asking]) -> tuple[Columns, Columns]:
    predict = askings[0].handle.predictor.predict
    if len(askings) == 1:
        return askings[0].columns, predict(askings[0].columns)
    columns = _joined(askings)
    outputs = predict(columns)
    rows = sum([asking.rows for asking in askings])
    if any(len(values) != rows for values in outputs.values()):
        raise TidegateError("internal", "the model does not answer row by row")
    return columns, outputs


def _joined(askings: Sequence[Asking]) -> Columns:
    """The rows of all requests, one after the other, in the order of the requests.

    Raises:
        BadInputError: those of one do not fit the signature.
    """
    parts = [asking.columns for asking in askings]
    first = parts[0]
    kinds = [(name, values.dtype, values.shape[1:]) for name, values in first.items()]
    for asking in askings:
        columns = asking.columns
        if len(columns) != len(kinds):
            break
        for name, dtype, shape in kinds:
            values = columns.get(name)
            # Each length is looked at: two requests that are wrong in opposite ways would look right together.
            if values is None or values.dtype != dtype or values.shape[1:] != shape or len(values) != asking.rows:
                break
        else:
            continue
        break
    else:
        return {name: np.concatenate([columns[name] for columns in parts]) for name, _, _ in kinds}
    parts = [conform(askings[0].handle.signature, columns) for columns in parts]
    if any(len(values) != asking.rows for asking, columns in zip(askings, parts, strict=True) for values in columns.values()):
        raise TidegateError("internal", "a request was decoded to a wrong number of rows")
    return {name: np.concatenate([columns[name] for columns in parts]) for name in parts[0]}


def _part(call: Call, first: int, end: int) -> Columns:
    if len(call.askings) == 1:
        return call.outputs
    return {name: values[first:end] for name, values in call.outputs.items()}
