"""One run of the gate in a job: of a version that the change registered, or of a file of predictions that the job made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tidegate.ci.surroundings import Surroundings
from tidegate.errors import NotFoundError, TidegateError, UnavailableError
from tidegate.gate import check, find_loosening_of_file, load_check_policy, render_html, render_markdown, report_bytes
from tidegate.gate.report import as_problem
from tidegate.records.names import parse_reference
from tidegate.records.report import SCHEMA, Report
from tidegate.records.verdict import Verdict
from tidegate.tracking import git_state

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

REPORT, MARKDOWN, PAGE = "report.json", "report.md", "report.html"


class Gated(NamedTuple):
    """What the gate found, and the digest of its receipt; a file of predictions has none."""

    report: Report
    receipt: str = ""


def gate_version(workspace: Workspace, candidate: str, place: Surroundings) -> Gated:
    """Judges ``delay@12``; or, for ``delay``, the newest version that was registered from the commit of this change.

    Raises:
        NotFoundError: no version was registered from this commit.
    """
    reference = parse_reference(candidate, "model")
    ref = candidate if "@" in candidate else _of_this_commit(workspace, reference.name, place)
    judged = workspace.judge(ref, base=place.base)
    return Gated(judged.report, judged.receipt_digest)


def gate_file(predictions: Path, policy: Path, place: Surroundings) -> Gated:
    """Judges columns of a file by a policy file, which is held against the one that stood where the change begins.

    Raises:
        NotFoundError: there is no such policy file.
        UsageError: it cannot be understood.
    """
    rules = load_check_policy(policy)
    return Gated(check(predictions, rules, loosened=find_loosening_of_file(rules, policy, base=place.base)))


def not_judged(candidate: str, error: TidegateError) -> Report:
    """The report of a gate that could not run at all, so that nobody takes an older comment for the answer."""
    problem = as_problem(error)
    return Report(
        schema=SCHEMA,
        title=f"{candidate} was not judged",
        verdict=Verdict.INVALID,
        sentence=f"Do not ship: the gate could not run: {error.what}.",
        task="",
        candidate=candidate,
        champion="",
        rows=0,
        clusters=None,
        confidence=0.0,
        seed=0,
        rules=[],
        problems=[problem],
    )


def write_report(report: Report, folder: Path, *, summary: str = "") -> dict[str, str]:
    """Writes report.json, report.md and report.html into ``folder``, and the Markdown to the file of a job's summary; returns where.

    Raises:
        UnavailableError: they cannot be written.
    """
    text = render_markdown(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT).write_bytes(report_bytes(report))
        (folder / MARKDOWN).write_text(text, encoding="utf-8")
        (folder / PAGE).write_text(render_html(report), encoding="utf-8")
        if summary:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise UnavailableError(
            "cannot-write", f"cannot write the report into {folder}", why=str(error), fix="check the folder"
        ) from None
    return {name.rpartition(".")[2]: str(folder / name) for name in (REPORT, MARKDOWN, PAGE)}


def _of_this_commit(workspace: Workspace, model: str, place: Surroundings) -> str:
    state = git_state(workspace.project.folder)
    commits = {commit for commit in (place.head, state.commit if state else "") if commit}
    versions = [version for version in workspace.models.list(model) if version.manifest.lineage.git_commit in commits]
    if not versions:
        known = ", ".join(sorted(commit[:12] for commit in commits)) or "none: this is no git repository"
        raise NotFoundError(
            "no-candidate-of-commit",
            f"no version of {model} was registered from this change",
            why=f"the candidate of a change is the version whose run recorded its commit ({known})",
            fix=f"train and register on this commit, into the store that this job uses, or name the version: {model}@12",
        )
    return max(versions, key=lambda version: version.version).ref
