"""One comment on the change, found again by its hidden mark and written anew, and one status on its commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

from tidegate.ci.forges import Forge, open_forge
from tidegate.ci.rest import refused
from tidegate.ci.surroundings import Surroundings
from tidegate.errors import TidegateError
from tidegate.gate.render import render_markdown, sticky_marker
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict


class Posted(NamedTuple):
    """What became of the comment and of the status; each with the reason where it is not there."""

    comment: str
    """``created``, ``edited``, or empty."""
    status: str
    """``success``, ``failure``, or empty."""
    why: list[str]


def post_report(
    report: Report, place: Surroundings, *, allow_inconclusive: bool = False, wait: Callable[[float], None] = time.sleep
) -> Posted:
    """Tells a change what the gate found. Never raises for what the outside refuses: the gate's verdict does not depend on it.

    ``wait`` sleeps for so many seconds. With ``allow_inconclusive`` the status of an INCONCLUSIVE verdict is a success that says so.
    """
    missing = _missing(place)
    if missing:
        return Posted("", "", [missing])
    good = report.verdict is Verdict.PASS or (allow_inconclusive and report.verdict is Verdict.INCONCLUSIVE)
    why: list[str] = []
    comment = status = ""
    try:
        forge = open_forge(place, wait=wait)
    except TidegateError as error:
        return Posted("", "", [_told(error)])
    try:
        comment = _upsert(forge, report, place)
    except TidegateError as error:
        why.append(_told(error))
    try:
        name = f"tidegate/{report.candidate.partition('@')[0]}"[:255]
        answer = forge.set_status(name, good=good, text=f"{report.verdict}: {report.sentence}")
        if not answer.ok:
            raise refused("setting the status", answer)
        status = "success" if good else "failure"
    except TidegateError as error:
        why.append(_told(error))
    return Posted(comment, status, why)


def _missing(place: Surroundings) -> str:
    if not place.system:
        return "this is no CI job, so there is no change to comment on"
    if not place.change:
        return "this job runs for no pull request or merge request, so there is nothing to comment on"
    if not place.token:
        name = "GITLAB_TOKEN" if place.forge == "gitlab" else "GITHUB_TOKEN"
        more = " (a project access token: CI_JOB_TOKEN cannot write notes)" if place.forge == "gitlab" else ""
        return f"the variable {name} is not set{more}; a change from a fork is given none"
    return ""


def _upsert(forge: Forge, report: Report, place: Surroundings) -> str:
    """Writes the earlier comment of the same model anew, if the token's owner wrote it; else adds one."""
    marker = sticky_marker(report)
    body = render_markdown(report)
    body = body if body.startswith(marker) else f"{marker}\n{body}"
    body += f"\n<sub>[the job]({_target(place)}) has the whole report as a page</sub>\n" if place.link else ""
    me = forge.me()
    mine = next((item for item in forge.comments() if item.body.startswith(marker) and item.author == me), None)
    for text in (body, _short(report, marker, place)):
        answer = forge.edit(mine, text) if mine else forge.create(text)
        if mine and answer.status in {404, 410}:  # somebody has just removed it
            mine, answer = None, forge.create(text)
        if answer.ok:
            return "edited" if mine else "created"
        if answer.status != 422 and not (answer.status == 400 and place.forge == "gitlab"):
            break
    raise refused("the comment", answer)


def _short(report: Report, marker: str, place: Surroundings) -> str:
    """What is said where the whole report is not taken: the verdict, and where the rest stands."""
    where = f" [The job]({_target(place)}) has the report." if place.link else ""
    return f"{marker}\n## {report.verdict}\n\nThe report is among the artefacts of the job.{where}\n"


def _target(place: Surroundings) -> str:
    """The job's address as the target of a link: nothing in it can end the link."""
    return quote(place.link, safe="/:?&=#%@+,;~")


def _told(error: TidegateError) -> str:
    return ": ".join(text for text in (error.what, error.why) if text) + (f" ({error.fix})" if error.fix else "")
