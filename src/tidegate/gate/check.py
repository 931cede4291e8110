"""The standalone gate: a file of predictions and a policy in, a report out. No store, no project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tidegate.errors import BadInputError, NotFoundError
from tidegate.gate.evidence import read_evidence
from tidegate.gate.policy import policy_digest
from tidegate.gate.report import Heading, as_problem, build_report, refused
from tidegate.records.policy import CheckPolicy
from tidegate.records.report import Report


def check(source: Any, policy: CheckPolicy) -> Report:
    """Judges the columns that ``policy`` names in any frame or file (see ``tidegate.frames``).

    Whatever is wrong with the input makes the report INVALID, with every problem named; nothing wrong ever passes.
    """
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
