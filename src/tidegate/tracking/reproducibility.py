"""Whether a run can be run again: a list of plain answers, each of them yes or no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tidegate.records.run import Environment, RunInput
from tidegate.tracking.lock_files import is_exact


class Answer(NamedTuple):
    """One condition of running a run again: whether it holds, and what was found."""

    ok: bool
    sentence: str


def reproducibility(
    environment: Environment | None, inputs: Sequence[RunInput], params: Mapping[str, str] | None = None
) -> list[Answer]:
    """The conditions in the order of their weight: code, its base, completeness, packages, seed, data, command."""
    if environment is None:
        return [Answer(False, "Nothing was recorded about code, packages or machine.")]
    return [
        _code(environment),
        *([_base(environment)] if environment.git_tree else []),
        *_completeness(environment),
        _packages(environment),
        *_sources(environment),
        _seed(environment, params or {}),
        _inputs(inputs),
    ]


def grade(answers: Sequence[Answer]) -> str:
    """All of them in one line: ``5 of 6 conditions to run it again are met``."""
    met = sum(answer.ok for answer in answers)
    return f"{met} of {len(answers)} conditions to run it again are met"


def _code(environment: Environment) -> Answer:
    if environment.git_tree:
        changes = "with its uncommitted changes" if environment.git_dirty else "exactly as committed"
        return Answer(True, f"The code is recorded, {changes} (tree {environment.git_tree[:12]}).")
    if environment.git_commit and not environment.patch_note and environment.git_dirty is False:
        return Answer(True, f"The code is commit {environment.git_commit[:12]}, with nothing uncommitted.")
    if environment.git_commit and environment.patch_digest:
        return Answer(True, f"The code is commit {environment.git_commit[:12]} with a kept patch.")
    return Answer(False, f"The code is not recorded: {environment.patch_note or 'this folder is in no git repository'}.")


def _base(environment: Environment) -> Answer:
    if environment.git_remote:
        return Answer(True, f"It starts from commit {environment.git_base[:12]}, which {environment.git_remote} has.")
    if not environment.git_base:
        return Answer(True, "All of it is in the store: no repository is needed.")
    return Answer(False, f"It starts from commit {environment.git_base[:12]}, which no remote is known to have: push it.")


def _completeness(environment: Environment) -> list[Answer]:
    answers: list[Answer] = []
    if environment.left_out:
        answers.append(Answer(False, f"Files were left out: {_some(environment.left_out)}."))
    if environment.redacted:
        answers.append(Answer(False, f"Secrets were taken out, and have to be given again: {_some(environment.redacted)}."))
    return answers or ([Answer(True, "Nothing was left out or taken out.")] if environment.git_tree else [])


def _packages(environment: Environment) -> Answer:
    exact = [name for name in environment.lock_files if is_exact(name)]
    if exact:
        return Answer(True, f"The packages are locked by {_some(exact)}.")
    if environment.lock_files:
        return Answer(False, f"{_some(list(environment.lock_files))} is kept; it may leave versions open.")
    known = f"the versions of {len(environment.packages)} installed packages are known, not their digests"
    return Answer(False, f"No lock file was found; {known}.")


def _sources(environment: Environment) -> list[Answer]:
    own = environment.directory
    places = {name: source.removeprefix("editable ") for name, source in environment.package_sources.items()}
    # The project itself, installed as editable, is in the captured code.
    local = [
        name for name, place in places.items() if "+" not in place.partition("://")[0] and not f"{own}/".startswith(f"{place}/")
    ]
    return [Answer(False, f"Packages come from a folder or address of this machine: {_some(local)}.")] if local else []


def _seed(environment: Environment, params: Mapping[str, str]) -> Answer:
    named = [f"{name}={value}" for name, value in params.items() if name.rpartition(".")[2] in _SEEDS]
    seen = [f"{name} {seed}" for name, seed in environment.seeds.items()]
    if named or seen:
        return Answer(True, f"A seed is recorded: {_some([*named, *seen])}.")
    return Answer(False, "No seed is recorded: set seeds before the run starts, or log the parameter seed.")


_SEEDS = {"seed", "random_state", "random_seed", "np_seed", "torch_seed"}


def _inputs(inputs: Sequence[RunInput]) -> Answer:
    inputs = [item for item in inputs if item.is_data]
    if not inputs:
        return Answer(False, "No input data is recorded.")
    without = [item.name for item in inputs if not item.digest]
    if without:
        return Answer(False, f"Inputs have no digest: {_some(without)}.")
    return Answer(True, f"The inputs are recorded with digests: {_some([item.name for item in inputs])}.")


def _some(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
