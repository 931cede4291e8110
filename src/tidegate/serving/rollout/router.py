"""The router of one model in one server: which of the two models answers a request, and what becomes of its answer.

While no rollout runs, ``live`` is None, and to see that is all that a request pays. A candidate that fails costs nobody an answer:
the champion gives it, and the failure is evidence.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
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
from tidegate.serving.admission import OverloadedError
from tidegate.serving.handle import Handle
from tidegate.serving.protocols.request import Request
from tidegate.serving.rollout.analysis import analysis
from tidegate.serving.rollout.live import Live, check_outputs, plan_of, salt_of
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
        self.problem = ""
        """Why the candidate cannot be rolled out here; empty when all is well."""
        self._retry_at = 0.0
        self._tried: Rollout | None = None
        self._last: Rollout | None = None
        self._loading: _Loading | None = None

    def follow(self, rollout: Rollout | None, champion: Handle) -> None:
        """Makes ``live`` what the pointer says. A candidate is loaded and warmed before it gets its first request. Never raises.

        The load goes on beside where it takes long: whoever follows the pointer must see a rollback soon.
        """
        live = self.live
        if rollout is None:
            self.live = self._loading = None
            self.problem = ""
            return
        if live is not None and live.rollout.seq != rollout.seq:
            live = self.live = None  # of a rollout that has ended: it answers nobody while the next candidate is loaded
        self._last = rollout
        if live is not None and live.rollout == rollout and live.candidate is not None:
            return
        if self.problem and self._tried == rollout and monotonic() < self._retry_at:
            return
        self._tried = rollout
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
            if loading.problem != self.problem:
                _log.warning("%s@%s cannot be rolled out here: %s", self._model, rollout.version, loading.problem)
        self.problem = loading.problem
        if loading.away:
            self.live = None  # the bucket is to blame, and nothing is known about the candidate
            return
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
            try:
                outputs = await _asked(live.candidate, request.rows, ask, patience=_patience(live.plan))
            except OverloadedError:
                pass  # too many wait for it here and now: that is no wrong answer, and it is asked beside, as in the shadow
            except Exception:  # noqa: BLE001 - whatever it is, the champion answers
                seconds = perf_counter() - start if live.candidate else NOT_ASKED
                evidence = evidence._replace(candidate_failed=1.0, seconds=seconds)
            else:
                evidence = evidence._replace(by_candidate=outputs, candidate_failed=0.0, seconds=perf_counter() - start)
                assert live.candidate is not None
                return Routed(live.candidate, outputs, evidence)
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
            return {"rollout": {"version": self._last.version, "problem": self.problem}} if self.problem and self._last else {}
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
        self.away = False
        """Whether the surroundings failed, so that nothing is known about the version."""
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
            self.away = isinstance(error, UnavailableError) and error.code != "extra-missing"
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
    if odd := _differing(wanted, given):
        raise UsageError(
            "rollout-inputs-differ",
            f"{ref} takes other inputs than the champion: {', '.join(odd)}",
            why="in a rollout both models answer the same requests",
            fix="send the new inputs first (register a champion that takes them), or promote without a rollout",
        )


def check_answers(champion: Signature, candidate: Signature, ref: str) -> None:
    """Refuses a candidate whose answers are others than the champion's: the same client would get now these, now those.

    Raises:
        UsageError: its outputs have other names or types. Their widths may differ: a class more is an answer of the same kind.
    """
    wanted, given = ({tensor.name: tensor.dtype for tensor in each.outputs} for each in (champion, candidate))
    if odd := _differing(wanted, given):
        raise UsageError(
            "rollout-outputs-differ",
            f"{ref} gives other outputs than the champion: {', '.join(odd)}",
            why="in a rollout the same clients get answers of both models",
            fix='compare them without showing its answers: mode = "shadow"',
        )


def _differing(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))


def _patience(plan: RolloutPolicy) -> float:
    """How many seconds a candidate may keep somebody waiting before the champion is asked: ten times its bound, and one second at least."""
    return max(10 * plan.latency_p99_ms / 1000, 1.0)


async def _asked(candidate: Handle | None, rows: int, ask: Ask, *, patience: float) -> Columns:
    """The candidate's outputs, one for each row as its signature says.

    Raises:
        OverloadedError: too many requests wait for it.
        Exception: it cannot be loaded, fails, takes too long, or answers something else.
    """
    if candidate is None:
        raise RuntimeError("the candidate could not be loaded")
    async with asyncio.timeout(patience):
        outputs = await ask(candidate)
    check_outputs(candidate.signature, outputs, rows)
    return outputs
