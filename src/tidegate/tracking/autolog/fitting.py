"""The outermost fit: which run it records into, and that recording never breaks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from tidegate.tracking.active import ActiveRun
from tidegate.tracking.current import current_run
from tidegate.tracking.shipping import tell

_LONGEST_PARAM = 2000
_SHORTENED = "..."


class Fit:
    """One outermost fit while it runs. ``prefix`` tells a later fit of the same run from the first, like ``fit2.``."""

    def __init__(self, run: ActiveRun, framework: str, prefix: str) -> None:
        self.run, self.framework, self.prefix = run, framework, prefix
        self.claimed = False
        """Whether an inner call of the same framework already records rounds into it."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Adds parameters; long ones are cut."""
        self.run.params({self.prefix + str(name): _shown(value) for name, value in values.items()})

    def log(self, values: Mapping[str, Any], *, step: int | None = None) -> None:
        """Logs what is a number among the values."""
        numbers: dict[str, float] = {}
        for name, value in values.items():
            try:
                numbers[self.prefix + str(name)] = float(value)
            except (TypeError, ValueError):
                continue
        if numbers:
            self.run.log(numbers, step=step)

    def tag(self, values: Mapping[str, Any]) -> None:
        """Adds tags."""
        self.run.tag({self.prefix + name: value for name, value in values.items()})

    def artifact(self, data: bytes, name: str) -> None:
        """Keeps a small file."""
        self.run.artifact(data, self.prefix + name)


class Recorder:
    """Decides for every fit whether it is an outermost one, and gives it a run: the open one, or one of its own."""

    def __init__(self, start: Callable[[], ActiveRun]) -> None:
        self._start = start
        self._outer: ContextVar[Fit | None] = ContextVar("outer_fit", default=None)
        self._inside: ContextVar[bool] = ContextVar("inside_fit", default=False)
        self._busy = 0
        self._lock = threading.Lock()
        self._fits: WeakKeyDictionary[ActiveRun, int] = WeakKeyDictionary()
        self._told: set[str] = set()

    def safely(self, call: Callable[[], Any]) -> None:
        """Calls what records something. An error is told once for each place and kind, and training goes on."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end a training
            self._tell(error)

    @property
    def outer(self) -> Fit | None:
        """The outermost fit around this place, or None."""
        return self._outer.get()

    @contextmanager
    def fit(self, framework: str) -> Generator[Fit | None]:
        """Around a call that trains: gives the fit to record into, or None within another one, or where no run can begin.

        Without an open run it begins one, which ends with the call as the call does. Work in threads of a fit belongs to it.
        """
        opened = current_run()
        with self._lock:
            nested = self._inside.get() or (self._busy > 0 and opened is None)
            self._busy += 0 if nested else 1
        if nested:
            yield None
            return
        inside = self._inside.set(True)
        own = None if opened is not None else self._begun()
        run = opened or own
        fit = Fit(run, framework, self._prefix(run)) if run is not None else None
        outer = self._outer.set(fit)
        try:
            yield fit
        except BaseException as error:
            if own is not None:
                self._end(own, error)
            raise
        else:
            if own is not None:
                self._end(own, None)
        finally:
            self._outer.reset(outer)
            self._inside.reset(inside)
            with self._lock:
                self._busy -= 1

    @contextmanager
    def nothing(self) -> Generator[None]:
        """Around calls that train, of which none is worth a run: the folds of a cross-validation."""
        token = self._inside.set(True)
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            self._inside.reset(token)
            with self._lock:
                self._busy -= 1

    def _begun(self) -> ActiveRun | None:
        try:
            return self._start()
        except Exception as error:  # noqa: BLE001 - a full disk must not keep anybody from training
            self._tell(error)
            return None

    def _end(self, run: ActiveRun, error: BaseException | None) -> None:
        self.safely(lambda: run.end_by(error))

    def _prefix(self, run: ActiveRun) -> str:
        number = self._fits[run] = self._fits.get(run, 0) + 1
        return "" if number == 1 else f"fit{number}."

    def _tell(self, error: Exception) -> None:
        text = f"autolog could not record something, training goes on: {type(error).__name__}: {error}"
        if text not in self._told:
            self._told.add(text)
            tell("", text)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else value.__name__ if isinstance(value, type) else " ".join(repr(value).split())
    return text if len(text) <= _LONGEST_PARAM else text[: _LONGEST_PARAM - len(_SHORTENED)] + _SHORTENED


@contextmanager
def timed() -> Generator[Callable[[], float]]:
    """Gives a function that tells the seconds since the block began."""
    begun = time.monotonic()
    yield lambda: time.monotonic() - begun
