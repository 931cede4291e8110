"""The files for each CI: one source, nothing overwritten, valid by each system's schema, and careful with what they may do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tidegate.ci import SYSTEMS, scaffold_files, write_scaffold
from tidegate.cli import main
from tidegate.errors import ConflictError, UsageError

ROOT = Path(__file__).parents[3]
IN_REPOSITORY = {
    ".github/workflows/tidegate.yml": "ci/github/workflow.yml",
    ".github/actions/tidegate/action.yml": "ci/github/action.yml",
    ".gitlab/tidegate.yml": "ci/gitlab/tidegate.yml",
    "Jenkinsfile": "ci/jenkins/Jenkinsfile",
    ".circleci/config.yml": "ci/circleci/config.yml",
}
SCHEMAS = {
    ".github/workflows/tidegate.yml": "github-workflows",
    ".github/actions/tidegate/action.yml": "github-actions",
    ".gitlab/tidegate.yml": "gitlab-ci",
    ".circleci/config.yml": "circle-ci",
}


def test_the_folder_ci_holds_what_is_written_and_nothing_else() -> None:
    found = {IN_REPOSITORY[path]: text for system in SYSTEMS for path, text in scaffold_files(system).items()}
    there = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "ci").rglob("*") if path.is_file()}
    assert there == found


@pytest.mark.parametrize("path", SCHEMAS)
def test_it_is_valid_by_its_schema(tmp_path: Path, path: str) -> None:
    names: list[str] = []
    for model in ("", "delay", "1e5", "yes"):
        text = {key: value for system in SYSTEMS for key, value in scaffold_files(system, model=model).items()}[path]
        assert "@@" not in text
        names.append(str(tmp_path / f"of-{model}.yml"))
        Path(names[-1]).write_text(text)
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{SCHEMAS[path]}"]
    done = subprocess.run([*words, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace("steps:", "stepz:").replace("script:", "skript:"))
    assert subprocess.run([*words, str(broken)], capture_output=True, check=False).returncode == 1  # the schema does look


def test_github_gives_no_more_than_is_needed() -> None:
    workflow, action = (yaml.safe_load(text) for text in scaffold_files("github").values())
    assert workflow[True] == {
        "pull_request": {"paths-ignore": ["docs/**", "**.md"]}
    }  # YAML 1.1 reads `on` as true; never pull_request_target
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {"contents": "read", "pull-requests": "write", "statuses": "write"}
    assert job["timeout-minutes"] <= 60
    assert workflow["concurrency"]["cancel-in-progress"] is True
    steps = [*job["steps"], *action["runs"]["steps"]]
    used = [step["uses"] for step in steps if "uses" in step and not step["uses"].startswith("./")]
    assert len(used) == 3
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", item) for item in used)
    assert job["steps"][0]["with"]["persist-credentials"] is False
    with_token = [step for step in action["runs"]["steps"] if "token" in json.dumps(step.get("env", {})).lower()]
    assert len(with_token) == 1
    assert "ci comment" in with_token[0]["run"]
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", ""), "values reach a shell by variables only"


def test_it_is_pinned() -> None:
    for system in SYSTEMS:
        for model, wanted in (("", r"tidegate==\d+\.\d+\.\d+"), ("delay", r"tidegate\[serving\]==\d+\.\d+\.\d+")):
            assert re.search(wanted, "".join(scaffold_files(system, model=model).values()))


@pytest.mark.parametrize("system", SYSTEMS)
def test_nothing_is_overwritten(tmp_path: Path, system: str) -> None:
    written, more = write_scaffold(tmp_path, system)
    assert more
    last = tmp_path / written[-1]
    for path in written[:-1]:
        (tmp_path / path).unlink()
    last.write_text("mine")
    with pytest.raises(ConflictError) as refused:
        write_scaffold(tmp_path, system)
    assert "--print" in refused.value.fix
    assert last.read_text() == "mine"
    assert [path for path in written[:-1] if (tmp_path / path).exists()] == []


def test_odd_names_are_refused() -> None:
    for system, model in (("azure", ""), ("github", "a b"), ("github", 'x"; rm -rf /')):
        with pytest.raises(UsageError):
            scaffold_files(system, model=model)


def test_the_command_writes_prints_and_speaks_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_json(["-C", str(tmp_path), "ci", "init", "gitlab", "--json"], 0)
    assert json.loads(capsys.readouterr().out)["written"] == [".gitlab/tidegate.yml"]
    main_json(["-C", str(tmp_path), "ci", "init", "gitlab", "--json"], 1)
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "ci-file-exists"
    main_json(["-C", str(tmp_path), "ci", "init", "gitlab", "--model", "delay", "--print", "--json"], 0)
    text = json.loads(capsys.readouterr().out)["files"][".gitlab/tidegate.yml"]
    assert yaml.safe_load(text)["tidegate-gate"]["variables"]["CANDIDATE"] == "delay"


def main_json(words: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert (ended.value.code or 0) == code
