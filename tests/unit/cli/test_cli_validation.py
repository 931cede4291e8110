"""``tidegate gate validate``, and the hook of pre-commit that calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tidegate.cli import main

ROOT = Path(__file__).parents[3]
GOOD = '[models.delay]\ntask = "binary"\n[models.delay.gate]\nsnapshot = "e@1"\nlabel = "y"\nrules = [{ metric = "log_loss", test = "superior" }]\n'
CHECK = 'task = "binary"\nlabel = "y"\ncandidate = "new"\nrules = [{ metric = "accuracy", test = "floor", value = 0.9 }]\n'


def _validate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    with pytest.raises(SystemExit) as ended:
        main(["gate", "validate", *words, "--json"])
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


def test_policies_that_can_be_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project, check, pyproject = tmp_path / "tidegate.toml", tmp_path / "gate.toml", tmp_path / "pyproject.toml"
    project.write_text(GOOD)
    check.write_text(CHECK)
    pyproject.write_text(GOOD.replace("[models", "[tool.tidegate.models"))
    code, found = _validate(capsys, str(project), str(check), str(pyproject))
    assert (code, found["valid"]) == (0, True)
    assert [item["models"] for item in found["files"]] == [["delay"], ["new"], ["delay"]]


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("tidegate.toml", GOOD.replace("superior", "superiour"), "unknown-test"),
        ("tidegate.toml", GOOD.replace("log_loss", "log_los"), "unknown-metric"),
        ("tidegate.toml", "stoer = 3\n" + GOOD, "unknown-setting"),
        ("tidegate.toml", "[", "bad-toml"),
        ("gate.toml", CHECK.replace("label", "lable"), "unknown-key"),
        ("other.toml", "", "no-rules"),
        ("gone.toml", None, "policy-not-found"),
        ("tidegate.toml", "models = 3", "bad-toml"),
        ("tidegate.toml", "[models]\ndelay = 3", "bad-policy"),
        ("pyproject.toml", "tool = 3", "bad-toml"),
        ("pyproject.toml", "[tool.tidegate]\nmodels = 3", "bad-toml"),
    ],
)
def test_what_cannot_be_followed_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, error: str
) -> None:
    path, good = tmp_path / name, tmp_path / "good.toml"
    good.write_text(CHECK)
    if text is not None:
        path.write_text(text)
    code, found = _validate(capsys, str(good), str(path))
    assert (code, found["valid"], found["files"][0]["errors"]) == (2, False, [])
    assert error in [item["code"] for item in found["files"][1]["errors"]]


def test_pre_commit_runs_the_hook_and_stops_a_bad_policy(tmp_path: Path) -> None:
    """By the real pre-commit; the hook's entry and pattern come from this repository, its environment is this one."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    local = {**hook, "language": "system", "entry": f"{sys.executable} -m {hook['entry']}"}
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": [local]}]}))
    (tmp_path / "README").write_text("no policy")
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "tidegate.toml"
    environment = {
        **os.environ,
        "PRE_COMMIT_HOME": str(tmp_path / "cache"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert run(sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")).returncode == 0
    assert shutil.which("git")
    run("git", "init", "-q")
    for text, code, words in ((GOOD, 0, "Passed"), (GOOD.replace("superior", "better"), 1, "unknown-test")):
        path.write_text(text)
        run("git", "add", ".")
        done = run(sys.executable, "-m", "pre_commit", "run", "--all-files")
        assert (done.returncode, words in done.stdout) == (code, True), done.stdout + done.stderr
