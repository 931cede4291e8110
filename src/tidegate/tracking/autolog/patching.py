"""Functions of other packages in a wrapper of ours, and back again."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

_ABSENT = object()


class _Patch(NamedTuple):
    owner: Any
    name: str
    before: Any
    after: Any


class Patches:
    """What was replaced, so that it can be put back. A wrapper that somebody else has wrapped since only passes calls on."""

    def __init__(self) -> None:
        self._made: list[_Patch] = []
        self._wrappers: set[int] = set()
        self.active = True

    def wrap(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        """Replaces ``owner.name`` by a call of ``around(original, *arguments)``."""
        original = getattr(owner, name, None)
        if original is None or id(original) in self._wrappers:
            return

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs) if self.active else original(*args, **kwargs)

        # Nothing is noted on the wrapper itself: what runs it in another process takes its attributes along.
        self._wrappers.add(id(wrapper))
        self.put(owner, name, wrapper)

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Replaces ``owner.name`` by ``value``."""
        before = vars(owner).get(name, _ABSENT)
        setattr(owner, name, value)
        self._made.append(_Patch(owner, name, before, vars(owner).get(name)))

    def restore(self) -> None:
        """Puts everything back."""
        self.active = False
        while self._made:
            owner, name, before, after = self._made.pop()
            if vars(owner).get(name) is not after:
                continue
            with suppress(AttributeError, TypeError):
                if before is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)


class ImportHook(importlib.abc.MetaPathFinder):
    """Calls a function once for each named module: now if it is loaded, else right after it was imported."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Callable[[ModuleType], None]]] = {}
        self._looking: set[str] = set()

    def when_loaded(self, module: str, call: Callable[[ModuleType], None]) -> None:
        """Calls ``call`` with the module as soon as there is one."""
        if module in sys.modules:
            call(sys.modules[module])
            return
        self._waiting.setdefault(module, []).append(call)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Waits for nothing any more."""
        self._waiting.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Finds what the other finders find, with a loader that tells when it has loaded."""
        del path, target
        if fullname not in self._waiting or fullname in self._looking:
            return None
        self._looking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Telling(spec.loader, self._waiting.pop(fullname))
        return spec


class _Telling(importlib.abc.Loader):
    """A loader that passes everything on, and calls functions when its module has been executed."""

    def __init__(self, loader: Any, calls: Sequence[Callable[[ModuleType], None]]) -> None:
        self._loader, self._calls = loader, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for call in self._calls:
            call(module)
