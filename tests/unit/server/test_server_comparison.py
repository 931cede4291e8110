"""The page that compares two runs shows the difference of their code, coloured by classes and never as markup."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_client import Client

from tidegate.server import create_app
from tidegate.workspace import Workspace

HOSTILE = "</pre><script>alert(1)</script>"


@pytest.fixture
def compared(tmp_path: Path) -> Iterator[tuple[Client, list[str]]]:
    folder = tmp_path / "project"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / ".gitignore").write_text(".tidegate/\n")
    workspace = Workspace.open(folder)
    ids: list[str] = []
    for depth in (6, 8):
        (folder / "train.py").write_text(f"# {HOSTILE}\ndepth = {depth}\n--{depth}\n")
        (folder / f"{HOSTILE.replace('/', '')}.txt").write_text(f"{depth}")
        with workspace.runs.start("delay", params={"depth": depth}) as run:
            run.log(loss=1 / depth)
        ids.append(run.id)
    yield Client(create_app(workspace)), ids
    workspace.store.close()


def test_the_diff_is_shown_line_by_line(compared: tuple[Client, list[str]]) -> None:
    client, ids = compared
    text = client.get(f"/compare?run={ids[0]}&run={ids[1]}").text
    assert '<span class="removed">-depth = 6\n</span><span class="removed">---6\n</span>' in text
    assert '<span class="added">+depth = 8\n</span>' in text
    assert '<span class="dim">--- a/train.py\n</span>' in text
    assert text.index(">Metrics<") < text.index(">Parameters<") < text.index("<h2>Code</h2>")
    assert '<td class="text dim">+2</td>' in text
    assert 'best" title' in text


def test_code_is_text_whatever_it_holds(compared: tuple[Client, list[str]]) -> None:
    client, ids = compared
    text = client.get(f"/compare?run={ids[0]}&run={ids[1]}").text
    assert "alert(1)" in text
    assert "<script>alert(1)" not in text
    assert "style=" not in text


def test_a_run_says_whether_it_can_be_run_again(compared: tuple[Client, list[str]]) -> None:
    client, ids = compared
    text = client.get(f"/runs/{ids[0]}").text
    assert "To run it again" in text
    assert "The code is recorded, with its uncommitted changes" in text
    assert "No lock file was found" in text


def test_runs_with_ids_of_other_trackers_are_compared_too(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    ids = ["4f8a0c6be1d94d3c8a2b7e5f9c1d2e3f", "Rank_0.of-2"]
    for number, run_id in enumerate(ids):
        with workspace.runs.start("delay", id=run_id, params={"depth": number}):
            pass
    client = Client(create_app(workspace))
    assert ">depth<" in client.get(f"/compare?run={ids[0]}&run={ids[1]}").text
    assert client.get(f"/compare?run={ids[0]}&run=..%2Fx").status == 404
    workspace.store.close()
