"""The router of one model in one server: which of the two models answers a request, and what becomes of its answer.

While no rollout runs, ``live`` is None, and to see that is all that a request pays. A candidate that fails costs nobody an answer:
the champion gives it, and the failure is evidence.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic, perf_counter
from typing import NamedTuple

from tidegate.clock import Clock
from tidegate.errors import TidegateError, UnavailableError, UsageError
from tidegate.frames import Columns
from tidegate.records.ids import new_id
from tidegate.records.ledger import Rollout
from tidegate.records.model import Signature
from tidegate.serving.handle import Handle, load_handle
from tidegate.serving.rollout.live import Live, plan_of, salt_of
from tidegate.serving.rollout.pairing import Answered, Pairing
from tidegate.serving.rollout.pairs import NOT_ASKED, write_pairs
from tidegate.store.ports import Bucket

RETRY_SECONDS = 5.0

_log = logging.getLogger("tidegate.serving")

Ask = Callable[[Handle], Awaitable[Columns]]
"""Asks one model about the rows of the request in hand."""


class Told(NamedTuple):
    """What a request says about whose it is: its headers (lower-case names), parameters, and the rows' columns."""

    headers: Mapping[str, str]
    parameters: Mapping[str, object]
    columns: Columns


class Routed(NamedTuple):
    """Who answered a request, and with what; ``evidence`` is handed to ``after``."""

    handle: Handle
    outputs: Columns
    evidence: Answered


class Router:
    """Routes the requests of one model. ``follow`` is called by the thread that follows the pointer, the rest by requests."""

    def __init__(self, bucket: Bucket, model: str, *, clock: Clock, allow_code: bool = False) -> None:
        self.live: Live | None = None
        """The rollout that runs, or None."""
        self._bucket = bucket
        self._model = model
        self._clock = clock
        self._allow_code = allow_code
        self._retry_at = 0.0
        self.pairing = Pairing(partial(write_pairs, bucket, model), clock.now)

    def follow(self, rollout: Rollout | None, champion: Handle) -> None:
        """Makes ``live`` what the pointer says. A candidate is loaded and warmed before it gets its first request. Never raises."""
        live = self.live
        if rollout is None:
            self.live = None
            return
        if live is not None and live.rollout == rollout and (live.candidate is not None or monotonic() < self._retry_at):
            return
        known = live.candidate if live is not None and live.rollout.digest == rollout.digest else None
        candidate, problem = (known, "") if known is not None else self._load(rollout, champion)
        try:
            plan = plan_of(rollout)
        except Exception as error:  # noqa: BLE001 - a plan of a newer Tidegate: the champion goes on alone, and says so
            _log.warning("the plan of the rollout of %s cannot be followed: %s", self._model, error)
            self.live = None
            return
        self.pairing.start()
        self.live = Live(rollout, plan, salt_of(self._model, rollout), candidate, problem)
        _log.info("rolling out %s@%s: step %s, share %g", self._model, rollout.version, rollout.step, rollout.share)

    def stop(self) -> None:
        """Routes no more; writes what is known."""
        self.live = None
        self.pairing.stop()

    async def answer(self, live: Live, champion: Handle, told: Told, ask: Ask) -> Routed:
        """Asks the model that this request belongs to; the champion, where that one fails.

        Raises:
            Exception: whatever the champion raises.
        """
        point = live.point(key_of(live.plan.key, told) or new_id(self._clock.now()))
        evidence = Answered(live, champion, [], 0, point, point < live.rollout.share, told.columns)
        if evidence.assigned:
            start = perf_counter()
            outputs = await _outputs_or_none(live.candidate, ask)
            seconds = perf_counter() - start
            if outputs is not None and live.candidate is not None:
                evidence = evidence._replace(by_candidate=outputs, candidate_failed=0.0, seconds=seconds)
                return Routed(live.candidate, outputs, evidence)
            evidence = evidence._replace(candidate_failed=1.0, seconds=seconds if live.candidate else NOT_ASKED)
        outputs = await ask(champion)
        return Routed(champion, outputs, evidence._replace(by_champion=outputs, champion_failed=0.0))

    def after(self, evidence: Answered, ids: list[str], served_at: int) -> None:
        """Takes note of an answered request: its rows' ids, and when it was answered. Never waits."""
        self.pairing.put(evidence._replace(ids=ids, served_at=served_at))

    def _load(self, rollout: Rollout, champion: Handle) -> tuple[Handle | None, str]:
        try:
            handle = load_handle(self._bucket, self._model, rollout.version, rollout.digest, allow_code=self._allow_code)
            check_inputs(champion.signature, handle.signature, f"{self._model}@{rollout.version}")
        except Exception as error:  # noqa: BLE001 - whatever a package does when it is loaded, the champion keeps serving
            problem = f"{error.what} [{error.code}]" if isinstance(error, TidegateError) else type(error).__name__
            if self.live is None or self.live.problem != problem:
                _log.warning("%s@%s cannot be rolled out here: %s", self._model, rollout.version, problem)
            self._retry_at = monotonic() + RETRY_SECONDS
            return None, problem
        return handle, ""


def key_of(wanted: str, told: Told) -> str:
    """The key of a request by the plan's ``key``, such as ``header:X-User-Id``; empty where the plan or the request names none.

    A request of several rows belongs to the key of its first one.
    """
    kind, _, name = wanted.partition(":")
    if kind == "header":
        return told.headers.get(name.lower(), "")
    if kind == "parameter":
        return str(told.parameters.get(name, ""))
    if kind == "column" and name in told.columns:
        return str(told.columns[name].reshape(-1)[0])
    return ""


def check_inputs(champion: Signature, candidate: Signature, ref: str) -> None:
    """Refuses a candidate that cannot answer the champion's requests.

    Raises:
        UsageError: its inputs have other names, types or widths.
    """
    wanted, given = ({tensor.name: (tensor.dtype, tensor.shape) for tensor in each.inputs} for each in (champion, candidate))
    if wanted != given:
        odd = sorted(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))
        raise UsageError(
            "rollout-inputs-differ",
            f"{ref} takes other inputs than the champion: {', '.join(odd)}",
            why="in a rollout both models answer the same requests",
            fix="send the new inputs first (register a champion that takes them), or promote without a rollout",
        )


async def _outputs_or_none(candidate: Handle | None, ask: Ask) -> Columns | None:
    """None where the candidate fails, whatever it does. A full queue is the server's doing, not the candidate's.

    Raises:
        UnavailableError: the server has too much to do.
    """
    if candidate is None:
        return None
    try:
        return await ask(candidate)
    except UnavailableError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the champion answers
        return None
