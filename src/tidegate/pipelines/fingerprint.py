"""The fingerprint of a step: its code and everything that the code reaches, as named parts.

The walk starts at the function and follows globals, closure variables, defaults, decorators, imports inside functions,
attributes of the project's modules, classes and their methods. The project's code counts by its source (see
``source``), values by a stable digest (see ``stable``), installed distributions by name and version. What cannot be
hashed is listed, and the step is then never cached. What no walk can see stays invisible: names built at run time
(``getattr(module, name)``, ``importlib.import_module``), C extensions, files and services that a step reads by itself.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import platform
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import util
from typing import Any

import numpy as np

from tidegate import digest as digests
from tidegate.pipelines.authoring import Pipeline, Step
from tidegate.pipelines.source import Chain, Definition, Import, definition_of_class, definition_of_function
from tidegate.pipelines.stable import Unhashable, stable_digest
from tidegate.places import Place, distribution_of, place_of, place_of_import
from tidegate.records.pipeline import Fingerprint

FORMAT = 1
"""Part of every key: raised when stored results or fingerprints change their meaning."""

_C_FUNCTIONS = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
)
_PLAIN = (bool, int, float, complex, str, bytes, type(None), tuple, list, dict, set, frozenset, np.ndarray)


@dataclass
class CodeParts:
    """What a function's code reaches: see ``Fingerprint``."""

    code: dict[str, str] = field(default_factory=dict[str, str])
    packages: dict[str, str] = field(default_factory=dict[str, str])
    unhashable: list[str] = field(default_factory=list[str])

    def with_inputs(self, inputs: Mapping[str, str]) -> Fingerprint:
        """The fingerprint of one call of the function."""
        return Fingerprint(code=self.code, inputs=dict(inputs), packages=self.packages, unhashable=self.unhashable)


def code_of(function: Callable[..., Any]) -> CodeParts:
    """Walks from a step's function through everything that it reaches. Takes about a millisecond."""
    walk = _Walk()
    walk.parts.packages["python"] = platform.python_version().rpartition(".")[0]
    walk.function(_plain_function(function), root=True)
    return walk.parts


def key_of(fingerprint: Fingerprint, *, only_for: str = "") -> str:
    """The digest under which a result is found again. ``only_for`` makes it one that nothing else ever has."""
    parts: dict[str, Any] = {
        "format": FORMAT,
        "code": fingerprint.code,
        "inputs": fingerprint.inputs,
        "packages": fingerprint.packages,
    }
    return digests.of_json(parts | {"only_for": only_for} if only_for else parts)


def value_part(value: Any) -> str:
    """A parameter as a part of a fingerprint: numbers and short texts stay readable, anything else is a digest.

    Raises:
        Unhashable: it has no stable digest.
    """
    if type(value) is str and len(value) <= 60:
        return repr(value)
    return _readable(value) or f"sha256:{_Walk().value(value)}"


def _readable(value: Any) -> str:
    return repr(value) if type(value) in {bool, int, float, type(None)} and len(repr(value)) <= 60 else ""


def _plain_function(function: Any) -> types.FunctionType:
    return function.function if isinstance(function, Step | Pipeline) else function


class _Walk:
    """One walk. Objects are known by ``id``; ``kept`` holds them so that no id is used twice."""

    def __init__(self) -> None:
        self.parts = CodeParts()
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []

    def value(self, value: Any) -> str:
        return stable_digest(value, self.reach)

    def reach(self, value: Any) -> str | None:
        """Walks into a function, class or module and returns a stable name for it; None for plain data."""
        if id(value) in self._names:
            return self._names[id(value)]
        if isinstance(value, Step | Pipeline):
            return self.reach(value.function)
        if isinstance(value, types.FunctionType):
            return self.function(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.ModuleType):
            return self._module(value)
        if isinstance(value, types.MethodType):
            return f"method {self.reach(value.__func__)} of {self.value(value.__self__)}"
        if isinstance(value, functools.partial):
            return f"partial {self.value((value.func, value.args, value.keywords))}"
        if isinstance(value, _C_FUNCTIONS):
            return self._c_function(value)
        if callable(value) and isinstance(getattr(value, "__wrapped__", None), types.FunctionType):
            return self._wrapper(value)
        return None

    def function(self, function: types.FunctionType, *, root: bool = False) -> str:
        """Adds a function and what it reaches. The root counts by its source wherever it is installed, unless it is a decorator's."""
        module = str(function.__globals__.get("__name__", function.__module__))
        label = f"function {module}.{function.__qualname__}"
        own = root and not hasattr(function, "__wrapped__")
        place = Place.PROJECT if own else place_of(module, function.__code__.co_filename)
        if place is not Place.PROJECT:
            self._know(function, label)
            self._foreign(function, module, place)
            return label
        definition = definition_of_function(function.__code__)
        name = self._know(function, f"{label} {definition.digest}")
        self._put(label, definition.digest)
        self._cells(function, f"{module}.{function.__qualname__}")
        self._defaults(function, f"{module}.{function.__qualname__}")
        if isinstance(wrapped := getattr(function, "__wrapped__", None), types.FunctionType):
            self.reach(wrapped)
        local = self._imported(definition.imports, function.__globals__)
        self._follow(definition, function.__globals__, local)
        return name

    def _know(self, value: Any, name: str) -> str:
        self._names[id(value)] = name
        self._kept.append(value)
        return name

    def _put(self, label: str, part: str) -> None:
        """Adds a part; a second thing of the same name (two lambdas, two closures of one function) gets a number."""
        number = 1
        while self.parts.code.setdefault(label if number == 1 else f"{label} #{number}", part) != part:
            number += 1

    def _data(self, value: Any, label: str) -> None:
        """Adds a value that is reached by name: code is walked into, data is digested, what is neither is listed."""
        try:
            name = self.reach(value)
            if name is None:
                self._put(label, _readable(value) or f"sha256:{self.value(value)}")
            elif isinstance(value, types.FunctionType | type | types.ModuleType | Step):
                named = " ".join(name.split(" ")[:2])
                if named.partition(" ")[2] != label.partition(" ")[2]:  # else it is defined under this very name
                    self._put(label, named)
            else:
                self._put(label, f"sha256:{digests.of_bytes(name.encode())}")
        except (Unhashable, RecursionError) as error:
            text = f"{label}: {error}"
            if text not in self.parts.unhashable:
                self.parts.unhashable.append(text)

    def _foreign(self, function: types.FunctionType, module: str, place: Place) -> None:
        """A function of a package or the standard library; a decorator from there may hold functions of the project."""
        if place is Place.PACKAGE:
            self._package(module)
        held = [cell.cell_contents for cell in function.__closure__ or () if _is_full(cell)]
        for value in [getattr(function, "__wrapped__", None), *held]:
            if isinstance(value, types.FunctionType | type | Step):
                self.reach(value)

    def _wrapper(self, wrapper: Any) -> str:
        """An object around a function, like that of ``functools.lru_cache``."""
        name = self._know(wrapper, f"wrapper {type(wrapper).__name__}")
        self.reach(type(wrapper))
        return f"{name} of {self.reach(wrapper.__wrapped__)}"

    def _c_function(self, function: Any) -> str:
        owner: Any = getattr(function, "__self__", None)
        qualname = str(getattr(function, "__qualname__", function))
        if owner is not None and not isinstance(owner, types.ModuleType | type):
            return f"method {qualname} of {self.value(owner)}"
        module = str(
            getattr(function, "__module__", None) or getattr(getattr(function, "__objclass__", None), "__module__", "builtins")
        )
        if place_of(module, None) is Place.PACKAGE:
            self._package(module)
        return f"builtin {module}.{qualname}"

    def _package(self, module: str) -> None:
        name, version = distribution_of(module.partition(".")[0])
        self.parts.packages[name] = version

    def _cells(self, function: types.FunctionType, label: str) -> None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if _is_full(cell) and name != "__class__":
                self._data(cell.cell_contents, f"closure {label}.{name}")

    def _defaults(self, function: types.FunctionType, label: str) -> None:
        code = function.__code__
        defaults = function.__defaults__ or ()
        positional = code.co_varnames[: code.co_argcount]
        for name, value in [
            *zip(positional[len(positional) - len(defaults) :], defaults, strict=True),
            *(function.__kwdefaults__ or {}).items(),
        ]:
            self._data(value, f"default {label}.{name}")

    def _imported(self, imports: tuple[Import, ...], namespace: Mapping[str, Any]) -> dict[str, Any]:
        """The project's things that a function imports for itself, by their local names; packages are noted."""
        local: dict[str, Any] = {}
        for item in imports:
            module = (
                util.resolve_name("." * item.level + item.module, str(namespace.get("__package__") or ""))
                if item.level
                else item.module
            )
            place = place_of_import(module)
            if place is Place.PACKAGE:
                self._package(module)
            if place is not Place.PROJECT:
                continue
            try:
                loaded = importlib.import_module(module)
                local[item.alias] = _imported_thing(loaded, item)
            except Exception as error:  # noqa: BLE001 - whatever the module raises, the step will meet it when it runs
                self.parts.unhashable.append(f"import of {module}: {type(error).__name__}: {error}")
        return local

    def _follow(self, definition: Definition, namespace: Mapping[str, Any], local: Mapping[str, Any]) -> None:
        module = str(namespace.get("__name__", ""))
        for chain in definition.chains:
            if chain[0] in local:
                self._chain(local[chain[0]], chain, module, guessed=False)
            elif chain[0] in namespace:
                self._chain(namespace[chain[0]], chain, module, guessed=not definition.exact)
            elif definition.exact and not hasattr(builtins, chain[0]):
                self._put(f"global {module}.{chain[0]}", "undefined")
        for chain in definition.annotation_chains:
            value = namespace.get(chain[0])
            source = value.__name__ if isinstance(value, types.ModuleType) else str(getattr(value, "__module__", ""))
            if source and place_of(source, None) is Place.PACKAGE:
                self._package(source)
        for chain in definition.outer_chains:
            if chain[0] in namespace:
                self._chain(namespace[chain[0]], chain, module, guessed=False)

    def _chain(self, value: Any, chain: Chain, module: str, *, guessed: bool) -> None:
        """Follows a dotted name through modules to the thing that is used. A guess counts only if it leads somewhere."""
        label = f"{module}.{chain[0]}"
        for name in chain[1:]:
            if not isinstance(value, types.ModuleType):
                break
            place = place_of(value.__name__, getattr(value, "__file__", None))
            if place is not Place.PROJECT or not hasattr(value, name):
                break
            label = f"{value.__name__}.{name}"
            value = getattr(value, name)
        if (
            guessed
            and isinstance(value, types.ModuleType)
            and place_of(value.__name__, getattr(value, "__file__", None)) is Place.PROJECT
        ):
            return
        if f"global {label}" not in self.parts.code:
            self._data(value, f"global {label}")

    def _module(self, module: types.ModuleType) -> str:
        """A whole module, used as a value: of the project's, everything in it counts."""
        name = self._know(module, f"module {module.__name__}")
        place = place_of(module.__name__, getattr(module, "__file__", None))
        if place is Place.PACKAGE:
            self._package(module.__name__)
        elif place is Place.PROJECT:
            for key, value in list(vars(module).items()):
                if not key.startswith("__") and f"global {module.__name__}.{key}" not in self.parts.code:
                    self._data(value, f"global {module.__name__}.{key}")
        return name

    def _class(self, cls: type) -> str:
        label = f"class {cls.__module__}.{cls.__qualname__}"
        loaded = sys.modules.get(cls.__module__)
        filename = str(getattr(loaded, "__file__", None) or _file_of_methods(cls))
        place = place_of(cls.__module__, filename)
        name = self._know(cls, label)
        if place is Place.PACKAGE:
            self._package(cls.__module__)
        if place is not Place.PROJECT:
            return name
        definition = definition_of_class(filename, cls.__qualname__)
        self._put(label, definition.digest if definition else "no source")
        for base in cls.__bases__:
            self.reach(base)
        if type(cls) is not type:
            self.reach(type(cls))
        if definition:
            namespace = vars(loaded) if loaded else {}
            known = Definition(definition.digest, tuple(chain for chain in definition.chains if chain[0] in namespace))
            self._follow(known, namespace, {})
        self._members(cls, generated=definition is None)
        return name

    def _members(self, cls: type, *, generated: bool) -> None:
        """Methods, and attributes that are plain values. ``generated`` methods count only where there is no source."""
        for key, member in list(vars(cls).items()):
            for function in _functions_in(member):
                if generated or not function.__code__.co_filename.startswith("<"):
                    self.reach(function)
            if not (key.startswith("__") and key.endswith("__")) and isinstance(member, _PLAIN) and not _is_enum(cls):
                self._data(member, f"global {cls.__module__}.{cls.__qualname__}.{key}")


def _functions_in(member: Any) -> Iterator[types.FunctionType]:
    held = [member, *(getattr(member, name, None) for name in ("__func__", "__wrapped__", "fget", "fset", "fdel", "func"))]
    for item in held:
        function: Any = item.function if isinstance(item, Step) else item
        if isinstance(function, types.FunctionType):
            yield function


def _is_enum(cls: type) -> bool:
    return type(cls).__name__ in {"EnumType", "EnumMeta"}


def _is_full(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # a name that its function has not bound yet
        return False
    return True


def _file_of_methods(cls: type) -> str:
    functions = (function for member in vars(cls).values() for function in _functions_in(member))
    return next(
        (function.__code__.co_filename for function in functions if not function.__code__.co_filename.startswith("<")),
        "<unknown>",
    )


def _imported_thing(module: types.ModuleType, item: Import) -> Any:
    if item.name:
        if not hasattr(module, item.name):
            return importlib.import_module(f"{module.__name__}.{item.name}")
        return getattr(module, item.name)
    top = module.__name__.partition(".")[0]
    return module if item.alias != top else sys.modules[top]
