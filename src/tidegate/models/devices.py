"""Where a model computes: on the CPU, or on a GPU where one is present and the package's format can use it. Pure.

The parity of a package was checked on the CPU. A GPU computes in the same precision here (no TF32), but adds in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Device = Literal["auto", "cpu", "cuda"]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


class Placed(NamedTuple):
    """Where a model computes, and why not where it was wanted; empty if it is there."""

    device: Literal["cpu", "cuda"]
    problem: str = ""


def providers(wanted: Device, available: Sequence[str]) -> list[str | tuple[str, dict[str, str]]]:
    """ONNX Runtime's execution providers for a session, the preferred one first; ``available`` is what the installed one has."""
    if wanted == "cpu" or CUDA not in available:
        return [CPU]
    return [(CUDA, {"use_tf32": "0"}), CPU]


def placed(wanted: Device, available: Sequence[str], active: Sequence[str]) -> Placed:
    """Where a session really computes; ``active`` are its providers, which may be fewer than were asked for."""
    if active and active[0] == CUDA:
        return Placed("cuda")
    if wanted == "cpu" or (wanted == "auto" and CUDA not in available):
        return Placed("cpu")
    missing = CUDA not in available
    why = (
        "the installed onnxruntime has no CUDA"
        if missing
        else "CUDA is installed, and could not be started: no GPU, or no driver"
    )
    return Placed("cpu", why)
