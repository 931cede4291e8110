"""The policy before this one: the one that the champion had to pass, and the one of the branch that this change leaves."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.errors import IntegrityError, NotFoundError, TidegateError
from tidegate.gate.loosening import loosened, loosened_rules
from tidegate.gate.policy import parse_check_policy, parse_model_policy, policy_digest
from tidegate.gate.receipt import read_policy, read_receipt
from tidegate.records.policy import CheckPolicy, ModelPolicy
from tidegate.settings import table_at
from tidegate.store.ports import Bucket
from tidegate.tracking.branch import Beginning, find_beginning

_FILES = ("tidegate.toml", "pyproject.toml")


class Loosening(NamedTuple):
    """In which ways a policy asks for less than before, in sentences, and who changed it since, as far as git tells."""

    sentences: list[str]
    authors: list[str]


def find_loosening(
    bucket: Bucket, model: str, policy: ModelPolicy, *, champion_receipt: str, folder: Path, base: str = ""
) -> Loosening:
    """Holds a model's policy against the one before, wherever that is kept. What cannot be compared counts as loosened.

    Args:
        bucket: holds the receipt that the champion was promoted on, with its policy.
        model: the model's name.
        policy: the policy that the candidate is judged by.
        champion_receipt: digest of that receipt; empty if there is no champion or it passed no gate.
        folder: the project's folder, which may lie in a git repository.
        base: the branch that the change is to be merged into, such as ``origin/main``; empty: git's default branch.
    """
    sentences = _since_champion(bucket, model, policy, champion_receipt) if champion_receipt else []
    beginning = find_beginning(folder, _FILES, base)
    if beginning is None:
        return Loosening(sentences, [])
    earlier = _since_branch(model, policy, beginning)
    return Loosening(list(dict.fromkeys([*sentences, *earlier])), beginning.authors if sentences or earlier else [])


def find_loosening_of_file(policy: CheckPolicy, path: Path, *, base: str = "") -> list[str]:
    """The same for the policy file of a standalone check: only git can know what it was."""
    beginning = find_beginning(path.resolve().parent, [path.name], base)
    if beginning is None:
        return []
    if not beginning.commit:
        return [f"the policies cannot be compared: {beginning.note}"]
    if path.name not in beginning.files:
        return []
    try:
        before = parse_check_policy(_toml(beginning.files[path.name]))
    except TidegateError as error:
        return [_unreadable(error)]
    return loosened_rules(before, policy, before.task)


def _since_champion(bucket: Bucket, model: str, policy: ModelPolicy, digest: str) -> list[str]:
    try:
        receipt = read_receipt(bucket, model, digest)
        before = read_policy(bucket, model, digest)
    except (NotFoundError, IntegrityError) as error:
        return [f"the policies cannot be compared: {error.what}"]
    if before is not None:
        return loosened(before, policy)
    if receipt.policy_digest == policy_digest(policy):
        return []
    return ["the policies cannot be compared: the champion's was not kept, and this one is another"]


def _since_branch(model: str, policy: ModelPolicy, beginning: Beginning) -> list[str]:
    if not beginning.commit:
        return [f"the policies cannot be compared: {beginning.note}"]
    try:
        for name in _FILES:
            table = _toml(beginning.files.get(name, b""))
            table = table if name == _FILES[0] else table_at(table, "tool", "tidegate")
            policies = table_at(table, "models")
            if model in policies:
                return loosened(parse_model_policy(model, policies[model], table.get("roles")), policy)
    except TidegateError as error:
        return [_unreadable(error)]
    return []


def _toml(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise IntegrityError("bad-toml", "it is no TOML", why=str(error)) from None


def _unreadable(error: TidegateError) -> str:
    return f"the policies cannot be compared: the one before cannot be understood ({error.what})"
