"""A digest of a Python value that is the same in every process: for constants, closure variables and parameters.

Dictionaries and sets count without their order, NumPy arrays by type, shape and bytes, anything else through what it
would pickle to (``__reduce_ex__``), taken apart, because pickled bytes themselves depend on identity and order.
"""

from __future__ import annotations

import copyreg
import enum
import hashlib
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any

import numpy as np

from tidegate.errors import TidegateError

_SCALARS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type(NotImplemented))
_DEPTH = 200


class Unhashable(Exception):  # noqa: N818 - it never leaves the room: callers list it and go on
    """The value has no stable digest; the text says which part of it."""


def stable_digest(value: Any, name_of_code: Callable[[Any], str | None]) -> str:
    """SHA-256 (hexadecimal) of a value.

    Args:
        value: anything.
        name_of_code: gives a stable name to a function, class or module inside the value, or None for plain data.

    Raises:
        Unhashable: a part of it cannot be taken apart (a lock, an open file, a connection), or it is nested too deeply.
    """
    return _Digester(name_of_code).digest(value).hex()


class _Digester:
    def __init__(self, name_of_code: Callable[[Any], str | None]) -> None:
        self._name_of_code = name_of_code
        self._path: list[int] = []

    def digest(self, value: Any) -> bytes:
        if type(value) in _SCALARS:
            return _hash(type(value).__name__, repr(value).encode())
        if id(value) in self._path:
            return _hash("cycle", str(len(self._path) - self._path.index(id(value))).encode())
        if len(self._path) > _DEPTH:
            raise Unhashable(f"nested more than {_DEPTH} deep")
        self._path.append(id(value))
        try:
            return self._container(value)
        finally:
            self._path.pop()

    def _container(self, value: Any) -> bytes:
        kind: Any = type(value)
        if kind is list or kind is tuple:
            return _hash(kind.__name__, *map(self.digest, value))
        if kind is dict:
            return _hash("dict", *sorted(self.digest(key) + self.digest(item) for key, item in value.items()))
        if kind is set or kind is frozenset:
            return _hash(kind.__name__, *sorted(map(self.digest, value)))
        if kind is bytearray or kind is memoryview:
            return _hash(kind.__name__, bytes(value))
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, PurePath):
            return _hash("path", str(value).encode())
        name = self._name_of_code(value)
        if name is not None:
            return _hash("code", name.encode())
        if isinstance(value, enum.Enum):
            return _hash("enum", self.digest(kind), value.name.encode())
        return self._reduced(value)

    def _array(self, array: np.ndarray[Any, Any]) -> bytes:
        head = f"{array.dtype.descr if array.dtype.names else array.dtype.str} {array.shape}".encode()
        if array.dtype.hasobject:
            return _hash("array", head, *map(self.digest, array.ravel().tolist()))
        return _hash("array", head, hashlib.sha256(np.ascontiguousarray(array).data).digest() if array.size else b"")

    def _reduced(self, value: Any) -> bytes:
        try:
            special: Any = copyreg.dispatch_table.get(type(value))
            parts: Any = special(value) if special else value.__reduce_ex__(4)
        except TidegateError:  # a step's result that was put where no result can stand
            raise
        except Exception as error:  # noqa: BLE001 - what cannot be taken apart raises anything
            raise Unhashable(f"a {type(value).__module__}.{type(value).__qualname__} cannot be hashed ({error})") from None
        if isinstance(parts, str):
            return _hash("global", self.digest(type(value)), parts.encode())
        maker, arguments, state, items, pairs = (*parts[:5], *[None] * (5 - len(parts[:5])))
        return _hash(
            "object",
            self.digest(maker),
            self.digest(arguments),
            self.digest(state),
            *self._each(items),
            b"pairs",
            *self._each(pairs),
        )

    def _each(self, items: Iterable[Any] | None) -> list[bytes]:
        return [self.digest(item) for item in items] if items is not None else []


def _hash(tag: str, *parts: bytes) -> bytes:
    """Every part with its length in front, so that no two lists of parts run together."""
    hasher = hashlib.sha256(tag.encode())
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()
