"""A failed step in a few lines: the step, the user's own frames, the original exception, the inputs, the way to run it again."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path

from tidegate.errors import TidegateError
from tidegate.places import Place, place_of

_FRAMES = 6
_MESSAGE_LINES = 3


class PipelineBrokenError(TidegateError):
    """The pipeline's function, or the module that it lives in, failed before any step ran. ``__cause__`` is the original error."""


class StepFailedError(TidegateError):
    """A step raised. ``__cause__`` is the original exception with its full traceback."""


def step_failed(error: BaseException, *, pipeline: str, step: str, inputs: Mapping[str, str], rerun: str) -> StepFailedError:
    """The error of a failed step, at most 15 lines. The caller raises it ``from`` the original."""
    lines = str(error).strip().split("\n")
    message = "\n       ".join([*lines[:_MESSAGE_LINES], *(["..."] if len(lines) > _MESSAGE_LINES else [])])
    shown = ", ".join(f"{name}={_short(part)}" for name, part in inputs.items()) or "none"
    return StepFailedError(
        "step-failed",
        f"step {step} of pipeline {pipeline} failed: {type(error).__name__}: {message[:600]}",
        why="\n       ".join([*user_frames(error), f"inputs: {shown[:300]}"]),
        fix=rerun,
    )


def user_frames(error: BaseException) -> list[str]:
    """The frames of the project's own code, outermost first: ``steps.py:41 in clean: rows = frame["dep_time"]``."""
    frames = [
        f"{_near(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if _is_project(frame.filename)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append(f"{_near(error.filename)}:{error.lineno}: {(error.text or '').strip()}")
    return (
        frames
        if len(frames) <= _FRAMES
        else [*frames[:2], f"... {len(frames) - _FRAMES + 1} more frames", *frames[-_FRAMES + 3 :]]
    )


def _is_project(filename: str) -> bool:
    return not filename.startswith("<frozen") and place_of(_module_guess(filename), filename) is Place.PROJECT


def _module_guess(filename: str) -> str:
    """Enough of a module's name to tell Tidegate's own frames."""
    parts = Path(filename).parts
    return "tidegate" if "tidegate" in parts and Path(__file__).parents[1] in Path(filename).parents else "__main__"


def _near(filename: str) -> str:
    path = Path(filename)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return filename


def _short(part: str) -> str:
    words = part.split(" ")
    return " ".join(word[:12] if len(word) == 64 else word.replace("sha256:", "")[:40] for word in words)
