"""The standalone gate: a file of predictions and a policy in, a report out. No store, no project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidegate.errors import BadInputError, NotFoundError
from tidegate.gate.evidence import read_evidence
from tidegate.gate.policy import load_check_policy, parse_check_policy, policy_digest
from tidegate.gate.report import Heading, as_problem, build_report, refused
from tidegate.records.policy import CheckPolicy
from tidegate.records.report import Report


def check(source: Any, policy: CheckPolicy | str | Path | Mapping[str, Any]) -> Report:
    """Judges the columns that ``policy`` names in any frame or file (see ``tidegate.frames``).

    The policy may be a file of TOML, or the same keys as a mapping. Whatever is wrong with the input makes the report
    INVALID, with every problem named; nothing wrong ever passes.

    Raises:
        NotFoundError: there is no such policy file.
        UsageError: the policy cannot be understood; the error names the key and the nearest valid one.
    """
    if not isinstance(policy, CheckPolicy):
        policy = parse_check_policy(policy) if isinstance(policy, Mapping) else load_check_policy(Path(policy))
    name = Path(source).name if isinstance(source, (str, Path)) else "a frame"
    against = f" against {policy.champion}" if policy.champion else ""
    heading = Heading(
        title=f"{policy.candidate}{against} on {name}",
        candidate=policy.candidate,
        champion=policy.champion,
        policy_digest=policy_digest(policy),
    )
    try:
        reading = read_evidence(source, policy)
    except (BadInputError, NotFoundError) as error:
        return refused(policy, heading, [as_problem(error)])
    return build_report(reading, policy, heading)
