"""What a model's author says of its inputs: units, and what their values may be. Held against every request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.errors import BadInputError
from tidegate.records.model import Allowed, Tensor
from tidegate.records.names import nearest

_SHOWN = 8


def declared(inputs: list[Tensor], units: Mapping[str, str], ranges: Mapping[str, Sequence[Any]]) -> list[Tensor]:
    """The inputs with what their author says of them.

    Raises:
        BadInputError: it names an input that is none, or a range that no value of it can be in.
    """
    names = [tensor.name for tensor in inputs]
    for name in [*units, *ranges]:
        if name not in names:
            raise BadInputError(
                "unknown-feature", f"the model has no input {name!r}", why="its unit or range is given", fix=nearest(name, names)
            )
    return [
        msgspec.structs.replace(
            tensor,
            unit=units.get(tensor.name, ""),
            allowed=_allowed(tensor, ranges[tensor.name]) if tensor.name in ranges else None,
        )
        for tensor in inputs
    ]


def _allowed(tensor: Tensor, given: Sequence[Any]) -> Allowed:
    number = tensor.dtype not in {"string", "bool"}
    try:
        if isinstance(given, tuple):
            low, high = (None if end is None else float(end) for end in given)
            known = [end for end in (low, high) if end is not None]
            if number and known and all(map(math.isfinite, known)) and known == sorted(known):
                return Allowed(minimum=low, maximum=high)
        elif tensor.dtype == "string":
            if given and not isinstance(given, str):
                return Allowed(choices=sorted({str(value) for value in given}))
        elif number and given:
            return Allowed(choices=sorted({float(value) for value in given}))
    except (TypeError, ValueError):
        pass
    raise BadInputError(
        "bad-range",
        f"{given!r} is no range for {tensor.name!r}",
        why=f"it is {tensor.dtype}; a range is a tuple of two numbers in order, None for no end",
        fix='write (0, 60) or (0, None), or the only values as a list: ["AA", "UA"]',
    )


def check_allowed(tensor: Tensor, allowed: Allowed, values: NDArray[Any]) -> None:
    """Nothing, if every value that is there is one that the input may be.

    Raises:
        BadInputError: one is not.
    """
    if values.dtype.kind == "O":
        known = {None, *(allowed.choices or ())}
        bad = np.array([value not in known for value in values.flat], dtype=np.bool_)
    else:
        bad = np.zeros(values.shape, dtype=np.bool_)
        if allowed.choices is not None:
            bad |= ~np.isin(values, np.array(allowed.choices, dtype=np.float64).astype(values.dtype))
        if allowed.minimum is not None:
            bad |= values < allowed.minimum
        if allowed.maximum is not None:
            bad |= values > allowed.maximum
        if values.dtype.kind == "f":
            bad &= ~np.isnan(values)
    if not bad.any():
        return
    rows = np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))
    first = values.reshape(-1)[np.flatnonzero(bad)[0]]
    raise BadInputError(
        "value-not-allowed",
        f"{tensor.name!r} holds what it may not be in {len(rows)} of {len(values)} rows, first {str(first)[:40]!r} in row {int(rows[0])}",
        why=f"the model's author allows {allowed_text(tensor)}",
        fix="check the unit of the feature and where it comes from",
    )


def allowed_text(tensor: Tensor) -> str:
    """What an input may be, for people, such as ``0 to 60``; empty where everything is allowed."""
    allowed = tensor.allowed
    if allowed is None:
        return ""
    if allowed.choices is not None:
        more = len(allowed.choices) - _SHOWN
        names = [choice if isinstance(choice, str) else f"{choice:g}" for choice in allowed.choices[:_SHOWN]]
        return ", ".join(names) + (f" and {more} more" if more > 0 else "")
    if allowed.minimum is None:
        return f"at most {allowed.maximum:g}"
    return f"at least {allowed.minimum:g}" if allowed.maximum is None else f"{allowed.minimum:g} to {allowed.maximum:g}"
