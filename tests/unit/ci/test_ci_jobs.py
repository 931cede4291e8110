"""The generated jobs, run step by step in a real repository against a forge: exit code, comment, status, artefacts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ci_jobs import RUNNERS, VERDICTS, git, repository
from forge_server import Fault, ForgeServer

EACH = [system if system == "github" else pytest.param(system, marks=pytest.mark.slow) for system in RUNNERS]
MARK = "<!-- tidegate-gate: new -->"


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("system", EACH)
def test_a_job_tells_the_verdict(tmp_path: Path, forge: ForgeServer, system: str, verdict: str) -> None:
    done = RUNNERS[system](repository(tmp_path / "origin", system, verdict), tmp_path / "job", forge)
    assert done.code == VERDICTS[verdict][2], done.printed
    (comment,) = forge.comments
    assert comment["body"].startswith(MARK)
    assert verdict in comment["body"]
    (status,) = forge.statuses
    assert status["state"] == ("success" if verdict == "PASS" else {"gitlab": "failed"}.get(system, "failure"))
    assert status["description"].startswith(f"{verdict}: ")
    assert json.loads((done.folder / "gate/report.json").read_text())["verdict"] == verdict
    assert {path.name for path in (done.folder / "gate").iterdir()} == {"report.json", "report.md", "report.html"}
    if system == "github":
        assert (tmp_path / "artefact/report.html").exists()
        assert (tmp_path / "summary.md").read_text().startswith(MARK)


@pytest.mark.slow
def test_the_next_push_writes_the_same_comment_anew(tmp_path: Path, forge: ForgeServer) -> None:
    for number, verdict in enumerate(("FAIL", "PASS")):
        place = tmp_path / str(number)
        place.mkdir()
        RUNNERS["github"](repository(place / "origin", "github", verdict), place / "job", forge)
    (comment,) = forge.comments
    assert "PASS" in comment["body"]
    assert [status["state"] for status in forge.statuses] == ["failure", "success"]


@pytest.mark.slow
@pytest.mark.parametrize("system", RUNNERS)
def test_a_change_of_a_fork_has_its_verdict_without_a_token(tmp_path: Path, forge: ForgeServer, system: str) -> None:
    done = RUNNERS[system](repository(tmp_path / "origin", system, "FAIL"), tmp_path / "job", forge, token="")
    assert done.code == 3
    assert "not posted" in done.printed
    assert (forge.comments, forge.statuses) == ([], [])


@pytest.mark.slow
def test_a_fork_whose_token_may_only_read_passes_all_the_same(tmp_path: Path, forge: ForgeServer) -> None:
    forge.faults += [
        Fault("POST", path, 403, message="Resource not accessible by integration") for path in ("/comments", "/statuses/")
    ]
    done = RUNNERS["github"](repository(tmp_path / "origin", "github", "PASS"), tmp_path / "job", forge)
    assert done.code == 0, done.printed
    assert "Resource not accessible by integration" in done.printed


@pytest.mark.slow
@pytest.mark.parametrize("system", RUNNERS)
def test_an_easier_policy_in_the_same_change_is_told(tmp_path: Path, forge: ForgeServer, system: str) -> None:
    origin = repository(tmp_path / "origin", system, "PASS", confidence=0.8)
    done = RUNNERS[system](origin, tmp_path / "job", forge)
    warnings = json.loads((done.folder / "gate/report.json").read_text())["warnings"]
    assert [item["what"] for item in warnings if item["code"] == "policy-loosened"] == ["confidence was 0.95 and is 0.8"]
    assert "policy-loosened" in forge.comments[0]["body"]


@pytest.mark.slow
def test_a_policy_that_cannot_be_followed_ends_the_job_and_replaces_the_comment(tmp_path: Path, forge: ForgeServer) -> None:
    origin = repository(tmp_path / "origin", "gitlab", "PASS")
    git(origin, "checkout", "-q", "change")
    (origin / "gate.toml").write_text("task = 3")
    git(origin, "commit", "-q", "-am", "broken")
    done = RUNNERS["gitlab"](origin, tmp_path / "job", forge)
    assert done.code == 2
    assert "could not run" in forge.comments[0]["body"]
    assert forge.statuses[0]["state"] == "failed"
