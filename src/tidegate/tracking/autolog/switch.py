"""On and off: which frameworks are recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from tidegate.errors import UsageError
from tidegate.records.names import nearest
from tidegate.tracking.active import ActiveRun
from tidegate.tracking.autolog import lightgbm, lightning, sklearn, transformers, xgboost
from tidegate.tracking.autolog.fitting import Recorder
from tidegate.tracking.autolog.patching import ImportHook, Patches

_Patcher = Callable[[ModuleType, Patches, Recorder], None]

FRAMEWORKS: Mapping[str, Mapping[str, _Patcher]] = {
    "sklearn": sklearn.PATCHERS,
    "xgboost": xgboost.PATCHERS,
    "lightgbm": lightgbm.PATCHERS,
    "lightning": lightning.PATCHERS,
    "transformers": transformers.PATCHERS,
}
"""What is patched when which module is there, by framework."""

_on: dict[str, tuple[Patches, ImportHook]] = {}


def switch_on(frameworks: Sequence[str], start: Callable[[], ActiveRun]) -> None:
    """Records fits of these frameworks, of all if none is named. ``start`` begins a run for a fit without one.

    Raises:
        UsageError: a framework is unknown; then nothing was patched.
    """
    for name in frameworks:
        if name not in FRAMEWORKS:
            raise UsageError("unknown-framework", f"autolog does not know {name!r}", fix=nearest(name, list(FRAMEWORKS)))
    switch_off(frameworks)
    recorder = Recorder(start)
    for name in frameworks or FRAMEWORKS:
        patches, hook = Patches(), ImportHook()
        _on[name] = (patches, hook)
        for module, patch in FRAMEWORKS[name].items():
            hook.when_loaded(module, _patching(patch, patches, recorder))


def switch_off(frameworks: Sequence[str] = ()) -> None:
    """Puts the frameworks back as they were, all if none is named."""
    for name in frameworks or list(_on):
        patches, hook = _on.pop(name, (None, None))
        if patches is not None and hook is not None:
            hook.remove()
            patches.restore()


def _patching(patch: _Patcher, patches: Patches, recorder: Recorder) -> Callable[[ModuleType], None]:
    # A framework that has changed must still be importable.
    return lambda module: recorder.safely(lambda: patch(module, patches, recorder))
