"""A user's type checker knows what ``import tidegate`` gives, although everything behind it is loaded on demand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import tidegate


def test_every_public_name_has_a_type(tmp_path: Path) -> None:
    lines = ["import tidegate", *(f"reveal_type(tidegate.{name})" for name in tidegate.__all__)]
    found = _pyright(tmp_path, "\n".join(lines))
    told = [item["message"] for item in found if item["severity"] == "information"]
    assert [item["message"] for item in found if item["severity"] == "error"] == []
    assert len(told) == len(tidegate.__all__)
    assert [text for text in told if 'is "Unknown"' in text or 'is "Any"' in text] == []


def _pyright(folder: Path, code: str) -> list[dict[str, str]]:
    file = folder / "user.py"
    file.write_text(code + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(file)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)["generalDiagnostics"]
