"""The standalone gate: a file of predictions and a policy in, a report out. No store, no project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidegate.errors import BadInputError, NotFoundError
from tidegate.gate.evidence import read_evidence
from tidegate.gate.policy import check_anchor, load_check_policy, parse_check_policy, policy_digest
from tidegate.gate.report import Heading, as_problem, build_report, refused, warn_of_loosening
from tidegate.gate.streaming import MOST_IN_MEMORY, Progress, footer_of, stream, why_not_streamed
from tidegate.records.policy import CheckPolicy
from tidegate.records.report import Report


def check(
    source: Any,
    policy: CheckPolicy | str | Path | Mapping[str, Any],
    *,
    champion: Any = None,
    labels: Any = None,
    anchor: Any = None,
    loosened: Sequence[str] = (),
    progress: Progress | None = None,
) -> Report:
    """Judges the columns that ``policy`` names in any frame or file (see ``tidegate.frames``).

    The policy may be a file of TOML, or the same keys as a mapping. Whatever is wrong with the input makes the report
    INVALID, with every problem named; nothing wrong ever passes. Predictions of the champion and of the anchor, and labels with
    what belongs to them, may stand in frames or files of their own: they are joined by the policy's ``key``. ``loosened`` says in
    which ways the policy asks for less than before.
    A Parquet file of more than five million rows is judged in portions, in bounded memory, if all its rules allow it; ``progress`` is
    then told how many rows are done, and of how many.

    Raises:
        NotFoundError: there is no such policy file.
        UsageError: the policy cannot be understood; the error names the key and the nearest valid one. An anchor is given, and no
            rule is asked against it.
    """
    if not isinstance(policy, CheckPolicy):
        policy = parse_check_policy(policy) if isinstance(policy, Mapping) else load_check_policy(Path(policy))
    given = {"champion": champion, "labels": labels, "anchor": anchor}
    others = {role: frame for role, frame in given.items() if frame is not None}
    if anchor is not None:
        check_anchor(policy)
    heading = _heading(source, policy, others)
    rows, columns = (None if others else footer_of(source)) or (0, [])
    needed = why_not_streamed(policy, columns) if rows > MOST_IN_MEMORY else ""
    try:
        if rows > MOST_IN_MEMORY and not needed:
            streamed = stream(source, policy, progress=progress)
            if streamed.rules:
                streamed.reading.warn(
                    "rows-streamed",
                    f"{rows:,} rows were judged in portions: there are no curves, no rows that changed sides, no tipping points",
                )
            warn_of_loosening(streamed.reading, loosened)
            return build_report(streamed.reading, policy, heading, streamed=streamed)
        reading = read_evidence(source, policy, others)
    except (BadInputError, NotFoundError) as error:
        return refused(policy, heading, [as_problem(error)])
    if needed:
        reading.warn("rows-in-memory", f"{rows:,} rows were held in memory at once, as {needed}", "give less rows, or mend that")
    warn_of_loosening(reading, loosened)
    return build_report(reading, policy, heading)


def _heading(source: Any, policy: CheckPolicy, others: Mapping[str, Any]) -> Heading:
    name = _name(source, "a frame")
    candidate, champion = policy.candidate, policy.champion
    if policy.preference and not candidate:
        candidate, champion = "candidate", "champion"
    if "champion" in others:  # both columns may bear the same name
        candidate, champion = _name(source, "the candidate's rows"), _name(others["champion"], "the champion's rows")
        name = _name(others["labels"], "a frame") if "labels" in others else f"{policy.key!r} in common"
    return Heading(
        title=f"{candidate}{f' against {champion}' if champion else ''} on {name}",
        candidate=candidate,
        champion=champion,
        policy_digest=policy_digest(policy),
        anchor=_name(others["anchor"], "the anchor's rows") if "anchor" in others else policy.anchor,
    )


def _name(source: Any, otherwise: str) -> str:
    return Path(source).name if isinstance(source, (str, Path)) else otherwise
