"""Source files as modules under names that nobody else has: nothing is put on ``sys.path``, nothing of the process is shadowed.

A module ``features`` of a package becomes ``tidegate_package_7.features``. ``import features`` in the package's own files finds that one;
every other import works as always. What imports by a name in text (``importlib.import_module("features")``) does not find it.
"""

from __future__ import annotations

import builtins
import itertools
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import util
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_numbers = itertools.count(1)


class IsolatedCode:
    """The modules below a folder. They run when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.prefix = f"tidegate_package_{next(_numbers)}"
        self._lock = threading.RLock()
        self._builtins: dict[str, Any] = {**vars(builtins), "__import__": self._import}

    def module(self, name: str) -> ModuleType:
        """The module ``name`` of the files, with the packages around it.

        Raises:
            ModuleNotFoundError: there is no such file. Whatever the module raises passes through.
        """
        with self._lock:
            full = f"{self.prefix}.{name}"
            if full in sys.modules:
                return sys.modules[full]
            around, _, last = name.rpartition(".")
            parent = self.module(around) if around else None
            module = util.module_from_spec(self._spec(name, full))
            vars(module)["__builtins__"] = self._builtins
            sys.modules[full] = module
            try:
                if module.__spec__ is not None and isinstance(module.__spec__.loader, SourceFileLoader):
                    module.__spec__.loader.exec_module(module)
            except BaseException:
                del sys.modules[full]
                raise
            if parent is not None:
                setattr(parent, last, module)
            return module

    def has(self, name: str) -> bool:
        """Whether a module of that name is among the files."""
        place = self._folder.joinpath(*name.split("."))
        return place.with_suffix(".py").is_file() or place.is_dir()

    def forget(self) -> None:
        """Takes the modules out of the process; objects made of them go on working."""
        for name in [name for name in sys.modules if name.startswith(f"{self.prefix}.")]:
            del sys.modules[name]

    def _spec(self, name: str, full: str) -> ModuleSpec:
        place = self._folder.joinpath(*name.split("."))
        file = next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)
        if file is None:
            if not place.is_dir():
                raise ModuleNotFoundError(f"the package holds no module {name}", name=name)
            spec = ModuleSpec(full, None, is_package=True)  # a folder without __init__.py
        else:
            spec = ModuleSpec(full, _Uncached(full, str(file)), origin=str(file), is_package=file.name == "__init__.py")
            spec.has_location = True
        return spec

    def _import(
        self,
        name: str,
        namespace: Mapping[str, Any] | None = None,
        local: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """``builtins.__import__`` for the package's own files."""
        own = name
        if level:
            full = util.resolve_name("." * level + name, str((namespace or {})["__package__"]))
            own = full.removeprefix(f"{self.prefix}.")
        if not self.has(own.partition(".")[0]):
            return __import__(name, namespace, local, fromlist, level)
        module = self.module(own)
        if not fromlist:
            return self.module(own.partition(".")[0])
        names = getattr(module, "__all__", []) if "*" in fromlist else fromlist
        for item in names:
            if not hasattr(module, item) and self.has(f"{own}.{item}"):
                self.module(f"{own}.{item}")
        return module


class _Uncached(SourceFileLoader):
    """Compiles from source every time, and writes no bytecode: the digests were of the source."""

    def get_code(self, fullname: str) -> Any:  # noqa: ARG002 - the loader's signature
        return self.source_to_code(self.get_data(self.path), self.path)
