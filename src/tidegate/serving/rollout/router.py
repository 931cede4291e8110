"""The router of one model in one server: which of the two models answers a request, and what becomes of its answer.

While no rollout runs, ``live`` is None, and to see that is all that a request pays. A candidate that fails costs nobody an answer:
the champion gives it, and the failure is evidence.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic, perf_counter
from typing import Any, NamedTuple

from tidegate.clock import Clock
from tidegate.errors import TidegateError, UnavailableError, UsageError
from tidegate.frames import Columns
from tidegate.records.ids import new_id
from tidegate.records.ledger import Rollout
from tidegate.records.model import Signature
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.handle import Handle
from tidegate.serving.protocols.request import Request
from tidegate.serving.rollout.analysis import analysis
from tidegate.serving.rollout.live import Live, plan_of, salt_of
from tidegate.serving.rollout.looks import find_look
from tidegate.serving.rollout.pairing import Answered, Pairing
from tidegate.serving.rollout.pairs import NOT_ASKED, write_pairs
from tidegate.store.ports import Bucket

RETRY_SECONDS = 5.0
QUICK_SECONDS = 0.5
"""So long a load may keep whoever follows the pointer waiting."""

_log = logging.getLogger("tidegate.serving")

Load = Callable[[int, str], Handle]
"""Reads, checks, loads and warms a version by its number and digest."""
Ask = Callable[[Handle], Awaitable[Columns]]
"""Asks one model about the rows of the request in hand."""


class Routed(NamedTuple):
    """Who answered a request, and with what; ``evidence`` is handed to ``after``."""

    handle: Handle
    outputs: Columns
    evidence: Answered


class Router:
    """Routes the requests of one model. ``follow`` is called by the thread that follows the pointer, the rest by requests."""

    def __init__(self, bucket: Bucket, model: str, *, load: Load, clock: Clock) -> None:
        self.live: Live | None = None
        """The rollout that runs, or None."""
        self.pairing = Pairing(partial(write_pairs, bucket, model), clock.now)
        self._bucket = bucket
        self._model = model
        self._load = load
        self._clock = clock
        self._retry_at = 0.0
        self._last: Rollout | None = None
        self._loading: _Loading | None = None

    def follow(self, rollout: Rollout | None, champion: Handle) -> None:
        """Makes ``live`` what the pointer says. A candidate is loaded and warmed before it gets its first request. Never raises.

        The load goes on beside where it takes long: whoever follows the pointer must see a rollback soon.
        """
        live = self.live
        if rollout is None:
            self.live = self._loading = None
            return
        self._last = rollout
        if live is not None and live.rollout == rollout and (live.candidate is not None or monotonic() < self._retry_at):
            return
        loading = self._loading
        if loading is None or loading.digest != rollout.digest or (loading.done and loading.handle is None):
            self._loading = loading = _Loading(rollout.digest, partial(self._loaded, rollout, champion))
        if not loading.done:
            return
        try:
            plan = plan_of(rollout)
        except Exception as error:  # noqa: BLE001 - a plan of a newer Tidegate: the champion goes on alone, and says so
            _log.warning("the plan of the rollout of %s cannot be followed: %s", self._model, error)
            self.live = None
            return
        if loading.problem:
            self._retry_at = monotonic() + RETRY_SECONDS
            if live is None or live.problem != loading.problem:
                _log.warning("%s@%s cannot be rolled out here: %s", self._model, rollout.version, loading.problem)
        self.pairing.start()
        self.live = Live(rollout, plan, salt_of(self._model, rollout), loading.handle, loading.problem)
        _log.info("rolling out %s@%s: step %s, share %g", self._model, rollout.version, rollout.step, rollout.share)

    def pause(self) -> None:
        """The champion moved: whatever is rolled out was compared with the one before."""
        self.live = None

    def find(self, digest: str) -> Handle | None:
        """The candidate, if it is this version and loaded: a promotion need not load it again."""
        return self._loading.handle if self._loading is not None and self._loading.digest == digest else None

    def stop(self) -> None:
        """Routes no more; writes what is known."""
        self.live = None
        self.pairing.stop()

    async def answer(self, live: Live, champion: Handle, request: Request, ask: Ask) -> Routed:
        """Asks the model that this request belongs to; the champion, where that one fails.

        Raises:
            Exception: whatever the champion raises.
        """
        point = live.point(key_of(live.plan.key, request) or new_id(self._clock.now()))
        evidence = Answered(live, champion, [], 0, point, point < live.rollout.share, request.columns)
        if evidence.assigned:
            start = perf_counter()
            outputs = await _outputs_or_none(live.candidate, ask, patience=_patience(live.plan))
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

    def analysis(self, step: int | None = None) -> dict[str, Any]:
        """What the newest look says, for whoever shifts traffic elsewhere (see ``analysis``). Reads the bucket.

        Raises:
            IntegrityError: the look cannot be read.
        """
        last = self._last
        look = find_look(self._bucket, self._model, last.seq) if last else None
        return analysis(self._model, last, look, runs=self.live is not None, now=self._clock.now(), step=step)

    def state(self) -> dict[str, Any]:
        """The rollout that runs, in a few words for ``/health``; empty if none does."""
        live = self.live
        if live is None:
            return {}
        rollout = {
            "version": live.rollout.version,
            "mode": live.plan.mode,
            "step": live.rollout.step,
            "share": live.rollout.share,
            "problem": live.problem or self.pairing.problem,
            "pairs": {"written": self.pairing.written, "dropped": self.pairing.dropped},
        }
        return {"rollout": rollout}

    def _loaded(self, rollout: Rollout, champion: Handle) -> Handle:
        handle = self._load(rollout.version, rollout.digest)
        check_inputs(champion.signature, handle.signature, f"{self._model}@{rollout.version}")
        return handle


class _Loading:
    """A version that is being loaded in a thread of its own; what is quick is done when this returns."""

    def __init__(self, digest: str, load: Callable[[], Handle]) -> None:
        self.digest = digest
        self.handle: Handle | None = None
        self.problem = ""
        self.done = False
        self._load = load
        self.thread = threading.Thread(target=self._run, name="load-candidate", daemon=True)
        self.thread.start()
        self.thread.join(timeout=QUICK_SECONDS)

    def _run(self) -> None:
        try:
            self.handle = self._load()
        except TidegateError as error:
            self.problem = f"{error.what} [{error.code}]"
        except Exception as error:  # noqa: BLE001 - whatever a package does when it is loaded, the champion keeps serving
            self.problem = type(error).__name__
        self.done = True


def key_of(wanted: str, request: Request) -> str:
    """The key of a request by the plan's ``key``, such as ``header:X-User-Id``; empty where the plan or the request names none.

    A request of several rows belongs to the key of its first one.
    """
    kind, _, name = wanted.partition(":")
    if kind == "header":
        return request.headers.get(name.lower(), "")
    if kind == "parameter":
        return str(request.parameters.get(name, ""))
    if kind == "column" and name in request.columns:
        return str(request.columns[name].reshape(-1)[0])
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


def _patience(plan: RolloutPolicy) -> float:
    """How many seconds a candidate may keep somebody waiting before the champion is asked: ten times its bound, and one second at least."""
    return max(10 * plan.latency_p99_ms / 1000, 1.0)


async def _outputs_or_none(candidate: Handle | None, ask: Ask, *, patience: float) -> Columns | None:
    """None where the candidate fails, whatever it does, or takes too long. A full queue is the server's doing, not the candidate's.

    Raises:
        UnavailableError: the server has too much to do.
    """
    if candidate is None:
        return None
    try:
        async with asyncio.timeout(patience):
            return await ask(candidate)
    except UnavailableError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the champion answers
        return None
