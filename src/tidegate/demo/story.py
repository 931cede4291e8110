"""Tells the chapters in order, measures each, and stops at the first that does not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tidegate.demo.chapters import CHAPTERS, StoryError
from tidegate.demo.stage import Bar, Server, Stage, stopwatch
from tidegate.errors import TidegateError


class ChapterResult(msgspec.Struct, kw_only=True):
    """One step of the demo. ``numbers`` are its key figures, ``error`` says what did not hold."""

    name: str
    ok: bool
    seconds: float
    numbers: dict[str, Any]
    error: str = ""


class DemoResult(msgspec.Struct, kw_only=True):
    """The whole demo, as ``tidegate demo --json`` prints it."""

    ok: bool
    seconds: float
    folder: str
    steps: list[ChapterResult]


def tell(folder: Path, *, say: Callable[[str], None], headline: Callable[[int, str], None], bar: Bar) -> DemoResult:
    """Runs the demo in ``folder``, which must be empty or absent.

    Args:
        folder: Where the project is made; it is left for the user to read and copy from.
        say: Prints one line of what happened.
        headline: Prints the number and the title of a chapter.
        bar: Starts a progress bar.
    """
    total = stopwatch()
    stage = Stage(folder=folder.resolve(), say=say, bar=bar)
    results: list[ChapterResult] = []
    try:
        for number, chapter in enumerate(CHAPTERS, start=1):
            headline(number, str(chapter.__doc__).split("\n", maxsplit=1)[0])
            results.append(_told(stage, chapter))
            if not results[-1].ok:
                say(f"this did not hold: {results[-1].error}")
                break
    finally:
        server = stage.served.get("server")
        if isinstance(server, Server):
            server.stop()
    ok = len(results) == len(CHAPTERS) and all(result.ok for result in results)
    return DemoResult(ok=ok, seconds=round(total(), 2), folder=str(stage.folder), steps=results)


def _told(stage: Stage, chapter: Callable[[Stage], dict[str, Any]]) -> ChapterResult:
    clock = stopwatch()
    try:
        numbers = chapter(stage)
    except (StoryError, TidegateError) as error:
        return ChapterResult(name=chapter.__name__, ok=False, seconds=round(clock(), 2), numbers={}, error=str(error))
    return ChapterResult(name=chapter.__name__, ok=True, seconds=round(clock(), 2), numbers=numbers)
