"""Runs the generated files of a CI system in a git clone, as its runner does: the steps of a job by bash, one after the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from forge_server import ForgeServer

from tidegate import frames
from tidegate.ci import write_scaffold

POLICY = 'task = "binary"\nlabel = "y"\ncandidate = "new"\nchampion = "old"\nconfidence = {confidence}\n[[rules]]\nmetric = "accuracy"\ntest = "superior"\n'
VERDICTS = {"PASS": ("new", 400, 0), "FAIL": ("old", 400, 3), "INCONCLUSIVE": ("new", 20, 4)}
"""Which column is the good one, how many rows there are, and how the gate ends."""


class Done(NamedTuple):
    """A job: its exit code, what it printed, and its folder."""

    code: int
    printed: str
    folder: Path


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=Ana", "-c", "user.email=ana@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path, system: str, verdict: str, *, confidence: float = 0.95) -> Path:
    """A repository whose branch ``change`` proposes predictions of that verdict; main has the policy and the CI's files."""
    folder.mkdir()
    git(folder, "init", "-q")
    write_scaffold(folder, system)
    (folder / "gate.toml").write_text(POLICY.format(confidence=0.95))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "policy")
    git(folder, "checkout", "-q", "-b", "change")
    good, n, _ = VERDICTS[verdict]
    y = [row % 2 for row in range(n)]
    best, poor = [v ^ (i % 10 == 0) for i, v in enumerate(y)], [v ^ (i % 5 < 2) for i, v in enumerate(y)]
    columns = {"y": y, "new": best if good == "new" else poor, "old": best if good == "old" else poor}
    with frames.connect() as con:
        frames.relation(con, columns).write_parquet(str(folder / "predictions.parquet"))
    (folder / "gate.toml").write_text(POLICY.format(confidence=confidence))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "candidate")
    git(folder, "checkout", "-q", "main")
    return folder


def checked_out(origin: Path, folder: Path) -> Path:
    """What a checkout with all history leaves: no branch, but the commit."""
    git(origin.parent, "clone", "-q", str(origin), str(folder))
    git(folder, "checkout", "-q", "--detach", "origin/change")
    return folder


def run_github(origin: Path, folder: Path, forge: ForgeServer, *, token: str = "job-token") -> Done:
    """The workflow's job with its composite action. Actions of others are not run: checkout and Python are here already."""
    place = checked_out(origin, folder)
    event = folder.parent / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 3, "head": {"sha": git(place, "rev-parse", "HEAD")}}}))
    variables = {
        "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(event), "GITHUB_REPOSITORY": "shop/delay",
        "GITHUB_SHA": git(place, "rev-parse", "HEAD"), "GITHUB_BASE_REF": "main", "GITHUB_API_URL": forge.address, "GITHUB_RUN_ID": "9",
        "GITHUB_STEP_SUMMARY": str(folder.parent / "summary.md"),
    }  # fmt: skip
    (job,) = yaml.safe_load((place / ".github/workflows/tidegate.yml").read_text())["jobs"].values()
    (step,) = [step for step in job["steps"] if step["uses"].startswith("./")]
    action = yaml.safe_load((place / step["uses"] / "action.yml").read_text())
    given = {f"inputs.{key}": value.get("default", "") for key, value in action["inputs"].items()}
    known = {"github.token": token, "github.actor": "ana"}
    known |= given | {f"inputs.{key}": _filled(value, known) for key, value in step["with"].items()}
    code, printed = 0, ""
    for part in action["runs"]["steps"]:
        if code and "always()" not in part.get("if", ""):
            continue
        if part.get("uses", "").startswith("actions/upload-artifact@"):
            shutil.copytree(place / part["with"]["path"], folder.parent / "artefact")
        elif "run" in part:
            more = {key: _filled(value, known) for key, value in part.get("env", {}).items()}
            ended, text = _bash(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", part["run"]], place, variables | more)
            code, printed = code or ended, printed + text
    return Done(code, printed, place)


def run_gitlab(origin: Path, folder: Path, forge: ForgeServer, *, token: str = "project-token") -> Done:
    """The job: all lines of ``script`` in one shell, then ``after_script`` in another."""
    place = checked_out(origin, folder)
    head = git(place, "rev-parse", "HEAD")
    job = yaml.safe_load((place / ".gitlab/tidegate.yml").read_text())["tidegate-gate"]
    variables = {
        "GITLAB_CI": "true", "CI_API_V4_URL": f"{forge.address}/api/v4", "CI_PROJECT_ID": "7", "CI_MERGE_REQUEST_IID": "3",
        "CI_COMMIT_SHA": head, "CI_MERGE_REQUEST_DIFF_BASE_SHA": git(place, "merge-base", "HEAD", "origin/main"),
        "CI_PIPELINE_ID": "88", "GITLAB_USER_LOGIN": "ana", "GITLAB_TOKEN": token,
    }  # fmt: skip
    variables |= {key: value.replace("$GITLAB_USER_LOGIN", "ana") for key, value in job["variables"].items()}
    code, printed = _bash(["bash", "-eo", "pipefail", "-c", "\n".join(job["script"])], place, variables)
    _, more = _bash(["bash", "-eo", "pipefail", "-c", "\n".join(job["after_script"])], place, variables)
    return Done(code, printed + more, place)


def run_circleci(origin: Path, folder: Path, forge: ForgeServer, *, token: str = "pat") -> Done:
    """The steps of the job; those with ``when: always`` after a failure, too."""
    place = checked_out(origin, folder)
    (job,) = yaml.safe_load((place / ".circleci/config.yml").read_text())["jobs"].values()
    variables = {
        "CIRCLECI": "true", "CIRCLE_PULL_REQUEST": f"{forge.address}/shop/delay/pull/3", "CIRCLE_SHA1": git(place, "rev-parse", "HEAD"),
        "GITHUB_TOKEN": token, **job["environment"],
    }  # fmt: skip
    code, printed = 0, ""
    for step in job["steps"]:
        part = step.get("run") if isinstance(step, dict) else None
        if part and (not code or part.get("when") == "always"):
            ended, text = _bash(["bash", "--login", "-eo", "pipefail", "-c", f"{PREPARED}\n{part['command']}"], place, variables)
            code, printed = code or ended, printed + text
    return Done(code, printed, place)


PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
PREPARED = f"export PATH={PATH!r}"
"""A login shell sets the PATH anew."""
RUNNERS = {"github": run_github, "gitlab": run_gitlab, "circleci": run_circleci}


def environment(variables: Mapping[str, Any]) -> dict[str, str]:
    """A job's variables, with this Python first and no index: what pip is asked for is here."""
    kept = {key: os.environ[key] for key in ("HOME", "PYTHONPATH", "LANG", "TMPDIR") if key in os.environ}
    return kept | {"PATH": PATH, "PIP_NO_INDEX": "1", "PIP_ROOT_USER_ACTION": "ignore", "NO_COLOR": "1"} | dict(variables)


def _bash(words: list[str], folder: Path, variables: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        words, cwd=folder, env=environment(variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def _filled(text: Any, known: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{\s*([\w.-]+)\s*\}\}", lambda found: known[found[1]], str(text))
