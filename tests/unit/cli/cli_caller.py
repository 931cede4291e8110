"""The command line as a person types it, at a time that the test sets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.cli import main
from tidegate.clock import format_time


class Caller:
    """Calls commands in the present folder. ``now`` is in microseconds UTC."""

    def __init__(self, capsys: pytest.CaptureFixture[str], now: int) -> None:
        self._capsys = capsys
        self.now = now

    def __call__(self, *words: str, code: int = 0) -> str:
        """What a command prints, which must end with ``code``."""
        with pytest.raises(SystemExit) as ended:
            main(["--now", format_time(self.now).replace("Z", ""), *words])
        out, err = self._capsys.readouterr()
        assert (ended.value.code or 0) == code, out + err
        return out + err

    def json(self, *words: str, code: int = 0) -> Any:
        """The same with ``--json``, read."""
        return json.loads(self(*words, "--json", code=code))
