"""The files by which a CI system runs the gate, from the one template of each system."""

from __future__ import annotations

import re
from importlib.metadata import version as installed_version
from importlib.resources import files
from pathlib import Path

from tidegate.errors import ConflictError, UnavailableError, UsageError
from tidegate.records.names import check_name

_FILES = {
    "github": {
        ".github/workflows/tidegate.yml": "github-workflow.yml",
        ".github/actions/tidegate/action.yml": "github-action.yml",
    },
    "gitlab": {".gitlab/tidegate.yml": "gitlab.yml"},
    "jenkins": {"Jenkinsfile": "Jenkinsfile"},
    "circleci": {".circleci/config.yml": "circleci.yml"},
}
SYSTEMS = tuple(_FILES)
_MORE = {
    "gitlab": "add to .gitlab-ci.yml: include: [{ local: .gitlab/tidegate.yml }]; and a project access token as the masked variable GITLAB_TOKEN",
    "jenkins": "make it a multibranch pipeline, with the credential tidegate-forge-token",
    "circleci": "a project with a config.yml already takes the job and the workflow over by hand; add GITHUB_TOKEN to a context",
    "github": "commit both files; nothing else is needed for a file of predictions",
}
_PLACE = re.compile(r"@@([A-Z]+)@@")


def scaffold_files(system: str, *, model: str = "") -> dict[str, str]:
    """The files of a CI system, by their path in the repository.

    With ``model`` the job judges the version that the change registered; without, predictions.parquet by gate.toml.

    Raises:
        UsageError: there is no template for this system, or the name cannot be a model's.
    """
    if system not in _FILES:
        raise UsageError("unknown-ci", f"there is no template for {system!r}", fix=f"choose one of {', '.join(SYSTEMS)}")
    version = installed_version("tidegate")
    words = {
        "CANDIDATE": check_name(model, "model") if model else "predictions.parquet",
        "POLICY": "" if model else "gate.toml",
        "REQUIREMENT": f"tidegate[serving]=={version}" if model else f"tidegate=={version}",
    }
    folder = files("tidegate.ci") / "templates"
    return {
        path: _PLACE.sub(lambda found: words[found[1]], (folder / name).read_text(encoding="utf-8"))
        for path, name in _FILES[system].items()
    }


def write_scaffold(folder: Path, system: str, *, model: str = "") -> tuple[list[str], str]:
    """Writes the files of a CI system into a repository; returns their paths and what is left to do by hand.

    Raises:
        UsageError: see ``scaffold_files``.
        ConflictError: one of them exists; then none is written.
    """
    found = scaffold_files(system, model=model)
    there = [path for path in found if (folder / path).exists()]
    if there:
        raise ConflictError(
            "ci-file-exists",
            f"{there[0]} exists",
            why="ci init overwrites nothing",
            fix=f"move it away to have a new one; or copy what you need from what this prints: tidegate ci init {system} --print",
        )
    try:
        for path, text in found.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnavailableError("cannot-write", f"cannot write into {folder}", why=str(error), fix="check the folder") from None
    return list(found), _MORE[system]
