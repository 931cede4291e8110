"""What the boosting libraries have in common: one function ``train`` that takes callbacks and gives a booster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tidegate.tracking.autolog.fitting import Fit, Recorder
from tidegate.tracking.autolog.patching import Patches


class Library(Protocol):
    """What differs between them."""

    name: str

    def before(self, fit: Fit, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Records what ``train(params, *args, **kwargs)`` is asked for."""
        ...

    def callback(self, recorder: Recorder, fit: Fit) -> Any:
        """What logs the metrics of each round."""
        ...

    def after(self, fit: Fit, booster: Any) -> None:
        """Records what was learned."""
        ...


def wrap_train(owners: list[Any], patches: Patches, recorder: Recorder, library: Library) -> None:
    """Wraps ``train`` wherever one of ``owners`` has it by name."""

    def around(original: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
        outer = recorder.outer
        if outer is not None and outer.framework == library.name and not outer.claimed:
            outer.claimed = True
            return train(outer, lambda: original(params, *args, **kwargs), kwargs)
        with recorder.fit(library.name) as fit:
            if fit is None:
                return original(params, *args, **kwargs)
            recorder.safely(lambda: library.before(fit, params, args, kwargs))
            return train(fit, lambda: original(params, *args, **kwargs), kwargs)

    def train(fit: Fit, call: Callable[[], Any], kwargs: dict[str, Any]) -> Any:
        recorder.safely(lambda: kwargs.update(callbacks=[*(kwargs.get("callbacks") or ()), library.callback(recorder, fit)]))
        booster = call()
        recorder.safely(lambda: library.after(fit, booster))
        return booster

    for owner in owners:
        patches.wrap(owner, "train", around)
