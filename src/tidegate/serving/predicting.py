"""From a decoded request to an answer: the model is asked, the request counted and logged. Knows no protocol and no HTTP."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from time import perf_counter
from typing import NamedTuple
from weakref import WeakKeyDictionary

from tidegate.clock import Clock
from tidegate.frames import Columns
from tidegate.records.ids import new_id, new_ids
from tidegate.records.policy import ServingPolicy
from tidegate.serving.admission import Room, seconds_wanted
from tidegate.serving.batching import Asking, Call, Line, Waiting
from tidegate.serving.handle import Handle
from tidegate.serving.log import LogQueue, Served
from tidegate.serving.metrics import Metrics
from tidegate.serving.protocols.request import Request
from tidegate.serving.rollout.router import Router

_SLOW_CALLS = 4
"""Slow models whose calls may run at the same time; each of them runs one at a time."""


class Answered(NamedTuple):
    """What a request got: from which version, its outputs by name, and an id for each row."""

    handle: Handle
    outputs: Columns
    ids: list[str]


class Predictions:
    """Asks models. One for a process; called on its event loop only."""

    def __init__(
        self, log: LogQueue, metrics: Metrics, clock: Clock, policies: Mapping[str, ServingPolicy] | None = None
    ) -> None:
        self.begun: Callable[[], int] = int
        """How many requests the server has begun and not answered, whether they have come here yet or not."""
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._policies = policies or {}
        self._beside = ThreadPoolExecutor(max_workers=_SLOW_CALLS, thread_name_prefix="predict")
        self._rooms: dict[str, Room] = {}
        self._lines: WeakKeyDictionary[Handle, Line] = WeakKeyDictionary()

    async def answer(
        self, handle: Handle, request: Request, start: float, router: Router | None = None, *, within: float = math.inf
    ) -> Answered:
        """Predicts a request's rows on ``handle``, or on the model that ``router`` picks while a rollout runs.

        ``start`` is when the request arrived, by ``perf_counter``; ``within`` in how many seconds from then its answer is wanted,
        unless its parameter ``timeout`` says so.

        Raises:
            BadInputError: the model refuses the rows.
            OverloadedError: the answer would come too late.
            UsageError: the parameter ``timeout`` is no time.
        """
        asking = _asking(handle, request, start, within)
        if router is not None and (live := router.live) is not None:

            async def ask(model: Handle) -> Columns:  # on its own: a candidate that was not waited for may answer yet
                nonlocal asking
                asking = copy(asking)
                return await self._ask(asking, model)

            handle, outputs, evidence = await router.answer(live, handle, request, ask)
            router.after(evidence, asking.ids, asking.served_at)
        else:
            outputs = await self._ask(asking, handle)
        return Answered(handle, outputs, asking.ids)

    def put(self, handle: Handle, request: Request, start: float, future: Waiting, *, within: float = math.inf) -> Asking:
        """Like ``answer``, without waiting: ``future`` is told of the outputs later. Errors: of what can be known now."""
        asking = _asking(handle, request, start, within)
        (self._lines.get(handle) or self._line_of(handle)).put(asking, future)
        return asking

    def hurry(self, handle: Handle) -> None:
        """Asks the model at once for what was put: see ``Line.hurry``."""
        self._lines[handle].hurry()

    def refuse_late(self, handle: Handle, start: float, within: float) -> None:
        """A first look at a request before it is decoded. Errors: those of ``Room.refuse_late``."""
        line = self._lines.get(handle)
        if line is not None:
            line.refuse_late(start, within)

    def turn_away(self, handle: Handle, start: float, within: float) -> float:
        """The same look: see ``Line.turn_away``."""
        line = self._lines.get(handle)
        return line.turn_away(start, within) if line is not None else 0.0

    async def _ask(self, asking: Asking, handle: Handle) -> Columns:
        asking.handle = handle
        line = self._lines.get(handle) or self._line_of(handle)
        if line.idle and self.begun() <= 1 and line.is_quick(asking.rows):  # nobody else is there: no need to wait for company
            outputs = handle.predictor.predict(asking.columns)
            self._note(Call([asking], asking.columns, outputs))
            return outputs
        return await line.ask(asking)

    def _line_of(self, handle: Handle) -> Line:
        name = handle.version.name
        policy = self._policies.get(name) or ServingPolicy()
        room = self._rooms.get(name)
        if room is None:
            self._rooms[name] = room = Room(name, max_rows=policy.max_rows, max_seconds=policy.max_wait_ms / 1e3)
            self._metrics.watch(room)
        line = Line(self._note, room=room, beside=self._beside, seconds=handle.seconds, together=policy.batching)
        self._lines[handle] = line
        return line

    def _note(self, call: Call) -> None:
        """Gives the rows of a call that ended well their ids, counts its requests and logs them."""
        askings = call.askings
        handle, version = askings[0].handle, askings[0].handle.version
        served_at, now = self._clock.now(), perf_counter()
        bases = [new_id(served_at)] if len(askings) == 1 else new_ids(served_at, len(askings))
        ids: list[str] = []
        every, event_at, seconds = array("q"), array("q"), array("d")
        for asking, base in zip(askings, bases, strict=True):
            rows, taken = asking.rows, now - asking.start
            asking.served_at = served_at
            asking.ids = [base] if rows == 1 else [f"{base}-{row}" for row in range(rows)]
            self._metrics.answered(handle, taken)
            ids += asking.ids
            every.append(rows)
            event_at.append(asking.event_at or served_at)
            seconds.append(taken)
        lines, inputs, outputs = "\n".join(ids), call.columns, call.outputs
        served = Served(version.name, version.version, lines, len(ids), every, event_at, served_at, seconds, inputs, outputs)
        self._log.put(served)


def _asking(handle: Handle, request: Request, start: float, within: float) -> Asking:
    if request.parameters:
        within = min(within, seconds_wanted(request.parameters.get("timeout"), 1e6))
    return Asking(handle, request.columns, request.rows, start=start, due=start + within, event_at=request.event_at)
