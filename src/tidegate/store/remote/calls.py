"""The ports as remote calls. What a call carries is derived from the port itself, so there is nothing to keep in step.

Arguments and answers are MessagePack; arrays travel as their raw little-endian bytes, errors as their four texts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from tidegate import errors
from tidegate.errors import BadInputError, TidegateError, UsageError
from tidegate.store.ports import (
    ArtifactIndex,
    Catalog,
    Documents,
    Experiments,
    OnlineStore,
    RunStore,
    SeriesStore,
    StepStore,
)

PORTS: dict[str, type] = {
    "artifacts": ArtifactIndex,
    "catalog": Catalog,
    "documents": Documents,
    "experiments": Experiments,
    "online": OnlineStore,
    "runs": RunStore,
    "series": SeriesStore,
    "steps": StepStore,
}
"""Every port but the bucket, whose values are files and travel as such."""

READS = {"envelope", "find", "find_done", "get", "latest", "list", "of_run", "points", "search", "taken"}
"""Methods that change nothing: repeating one needs no memory of the first time."""


class Method(NamedTuple):
    """One method of a port with the codecs of its arguments and its answer."""

    name: str
    signature: inspect.Signature
    arguments: msgspec.msgpack.Decoder[Any]
    answer: msgspec.msgpack.Decoder[Any]

    @property
    def changes(self) -> bool:
        """Whether repeating it must not do it twice."""
        return self.name not in READS

    def pack(self, *args: Any, **kwargs: Any) -> bytes:
        """The arguments of a call as bytes.

        Raises:
            BadInputError: a text or a number is none that could be stored.
        """
        bound = self.signature.bind(None, *args, **kwargs).arguments
        try:
            return encode({name: value for name, value in bound.items() if name != "self"})
        except (UnicodeEncodeError, OverflowError) as error:
            raise BadInputError(
                "text-not-storable",
                "a text or a number cannot be sent",
                why=str(error),
                fix="remove NUL characters and lone surrogates; whole numbers have 64 bits",
            ) from None

    def call(self, port: Any, packed: bytes) -> bytes:
        """Calls the method of ``port`` with packed arguments and packs its answer.

        Raises:
            UsageError: the arguments are not those of the method.
            TidegateError: what the method raised.
        """
        try:
            given = self.arguments.decode(packed)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise UsageError(
                "bad-call",
                f"these are no arguments for {self.name}",
                why=str(error),
                fix="use the same version of Tidegate on both sides",
            ) from None
        return encode(getattr(port, self.name)(**{name: getattr(given, name) for name in given.__struct_fields__}))

    def unpack(self, packed: bytes) -> Any:
        """The answer of a call."""
        return self.answer.decode(packed)


@cache
def methods(port: str) -> dict[str, Method]:
    """The methods of a port by name."""
    found = inspect.getmembers(PORTS[port], lambda member: inspect.isfunction(member) and not member.__name__.startswith("_"))
    return {name: _method(name, function) for name, function in found}


def encode(value: Any) -> bytes:
    """A value as MessagePack."""
    return msgspec.msgpack.encode(value, enc_hook=_encoded)


def packed_error(error: TidegateError) -> dict[str, str]:
    """An error as it travels: its class and its four texts."""
    return {"kind": type(error).__name__, **error.as_dict()}


def rebuilt_error(texts: dict[str, str]) -> TidegateError:
    """The error that ``packed_error`` packed; a class that this version does not know becomes the base class."""
    kind = getattr(errors, texts.get("kind", ""), TidegateError)
    known = kind if isinstance(kind, type) and issubclass(kind, TidegateError) else TidegateError
    return known(texts.get("code", "internal"), texts.get("what", ""), why=texts.get("why", ""), fix=texts.get("fix", ""))


def _method(name: str, function: Callable[..., Any]) -> Method:
    signature = inspect.signature(function)
    hints = get_type_hints(function)
    fields: list[Any] = []
    for parameter in list(signature.parameters.values())[1:]:
        kind = _concrete(hints[parameter.name])
        fields.append(
            (parameter.name, kind) if parameter.default is inspect.Parameter.empty else (parameter.name, kind, parameter.default)
        )
    arguments = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
    return Method(
        name,
        signature,
        msgspec.msgpack.Decoder(arguments, dec_hook=_decoded),
        msgspec.msgpack.Decoder(hints["return"], dec_hook=_decoded),
    )


def _concrete(hint: Any) -> Any:
    """A hint that can be decoded: of something to iterate over, a list."""
    return list[get_args(hint)[0]] if get_origin(hint) is Iterable else hint


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value).data.cast("B") if value.size else b""
    if isinstance(value, TidegateError):
        return packed_error(value)
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"a {type(value).__name__} does not travel")


def _decoded(kind: Any, value: Any) -> Any:
    if get_origin(kind) is np.ndarray:
        dtype = get_args(get_args(kind)[1])[0]
        return np.frombuffer(value, dtype)
    if kind is TidegateError:
        return rebuilt_error(value)
    raise NotImplementedError(f"a {kind} does not travel")
