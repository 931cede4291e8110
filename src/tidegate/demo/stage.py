"""What the chapters of the demo act with: a project folder, a clock that they set, the command line, and a serving process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.errors import ConflictError, UnavailableError
from tidegate.workspace import Workspace

AUTHOR = "ana"
APPROVER = "ben"
LOOP = "tick"
MODEL = "delay"

Advance = Callable[[float], None]
Bar = Callable[[str, float], AbstractContextManager[Advance]]


class Answer(NamedTuple):
    """What a command printed as JSON, and its exit code."""

    code: int
    value: Any


@dataclass
class Stage:
    """The folder of the demo and what happens on it. ``say`` prints a line, ``bar`` starts a progress bar."""

    folder: Path
    say: Callable[[str], None]
    bar: Bar
    served: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def data(self) -> Path:
        """Where the raw tables lie."""
        return self.folder / "data"

    def workspace(self, now: str, *, actor: str = AUTHOR) -> Workspace:
        """The project as somebody opens it at a time."""
        return Workspace.open(self.folder, now=now, actor=actor)

    def tidegate(self, *words: str, now: str, actor: str = AUTHOR) -> Answer:
        """Runs the command line, as a person would type it, and reads its JSON."""
        command = [sys.executable, "-m", "tidegate", "-C", str(self.folder), "--as", actor, "--now", now, *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        try:
            return Answer(done.returncode, json.loads(done.stdout))
        except json.JSONDecodeError:
            raise UnavailableError(
                "demo-command",
                f"tidegate {' '.join(words)} printed no JSON",
                why=(done.stderr or done.stdout)[-500:],
                fix="report this",
            ) from None


def set_up(folder: Path) -> None:
    """Copies the project into ``folder`` and puts it under git, where policies and code belong.

    Raises:
        ConflictError: the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConflictError(
            "demo-folder",
            f"{folder} is not empty",
            why="the demo never overwrites anything",
            fix="name another folder with --dir, or remove it",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with resources.as_file(resources.files("tidegate.demo") / "project") as source:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".gitignore").write_text(".tidegate/\ndata/\n__pycache__/\n", encoding="utf-8")
    identity = ["-c", f"user.name={AUTHOR}", "-c", f"user.email={AUTHOR}@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "The flights project"]):
        try:
            subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)  # noqa: S603, S607
        except (OSError, subprocess.CalledProcessError):
            return  # without git the runs say so; everything else works


class Server:
    """``tidegate serve`` or ``tidegate server`` as a process of its own, on a free port of this machine."""

    def __init__(self, folder: Path, *words: str, now: str = "") -> None:
        moment = ["--now", now] if now else []
        command = [sys.executable, "-m", "tidegate", "-C", str(folder), *moment, *words, "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
        assert self._process.stdout is not None
        self.line = self._process.stdout.readline().strip()
        if "http://" not in self.line:
            raise UnavailableError(
                "demo-server", f"tidegate {' '.join(words)} did not start", why=self.line, fix="run it by hand to see why"
            )
        address = self.line.split("http://", 1)[1].split()[0].rstrip("/")
        self.host, _, port = address.partition(":")
        self.port = int(port)

    def get(self, path: str) -> str:
        """The body of a GET."""
        with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=30) as answer:
            return answer.read().decode()

    def status(self, path: str) -> int:
        """The status of a GET."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def stop(self) -> int:
        """Asks the server to drain and stop; gives its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(timeout=30)
        finally:
            self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()


def stopwatch() -> Callable[[], float]:
    """A function that tells the seconds since now."""
    started = time.perf_counter()
    return lambda: time.perf_counter() - started
