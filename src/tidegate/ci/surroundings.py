"""What a CI system says about a job: which change it is about, where that is discussed, and with which token.

The only place that reads the variables of CI systems. GitHub Actions, GitLab CI, Jenkins (multibranch) and CircleCI document them
under "default environment variables", "predefined variables", "branch source" and "built-in environment variables".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

_GITHUB = re.compile(r"/(?P<project>[^/]+/[^/]+)/pull/(?P<number>[0-9]{1,18})/?")
_GITLAB = re.compile(r"/(?P<project>.+?)/-/merge_requests/(?P<number>[0-9]{1,18})/?")
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """One job of a CI system. Nothing is known outside of one."""

    system: str = ""
    """``github``, ``gitlab``, ``jenkins`` or ``circleci``."""
    forge: str = ""
    """Where the change is discussed: ``github`` or ``gitlab``."""
    api: str = ""
    """Address of its REST API, without a slash at the end."""
    project: str = ""
    """``owner/name``, or what GitLab takes for a project in a path."""
    change: int = 0
    """Number of the pull request or merge request; 0 outside of one."""
    head: str = ""
    """The commit that the change proposes, not the merge that the job may run on."""
    base: str = ""
    """The branch that it is to be merged into, or the commit at which it leaves it; as git names them here."""
    pipeline: str = ""
    """GitLab: the pipeline that a status belongs to."""
    link: str = ""
    """The page of this job."""
    actor: str = ""
    """Who started this job, as the CI system names them; Jenkins tells it with its plugin build-user-vars alone."""
    summary: str = ""
    """The file whose Markdown GitHub shows on the job's page."""
    token: str = field(default="", repr=False)


def read_surroundings(variables: Mapping[str, str] | None = None) -> Surroundings:
    """What the variables of the job say; those of this process unless others are given."""
    found: Mapping[str, str] = os.environ if variables is None else variables
    if found.get("GITHUB_ACTIONS") == "true":
        return _github(found)
    if found.get("GITLAB_CI") == "true":
        return _gitlab(found)
    if found.get("JENKINS_URL"):
        return _by_address(
            "jenkins",
            found,
            change=found.get("CHANGE_URL", ""),
            head=found.get("GIT_COMMIT", ""),
            link=found.get("BUILD_URL", ""),
            actor=found.get("BUILD_USER_ID", ""),
            base=found.get("CHANGE_TARGET", ""),
        )
    if found.get("CIRCLECI") == "true":
        return _by_address(
            "circleci",
            found,
            change=found.get("CIRCLE_PULL_REQUEST", ""),
            head=found.get("CIRCLE_SHA1", ""),
            link=found.get("CIRCLE_BUILD_URL", ""),
            actor=found.get("CIRCLE_USERNAME", ""),
        )
    return Surroundings()


def _github(found: Mapping[str, str]) -> Surroundings:
    request = _table(_event(found.get("GITHUB_EVENT_PATH", "")).get("pull_request"))
    server, project = found.get("GITHUB_SERVER_URL", "https://github.com"), found.get("GITHUB_REPOSITORY", "")
    base = found.get("GITHUB_BASE_REF", "")
    return Surroundings(
        system="github",
        forge="github",
        api=found.get("GITHUB_API_URL", "https://api.github.com"),
        project=project,
        change=_number(str(request.get("number"))),
        head=str(_table(request.get("head")).get("sha") or found.get("GITHUB_SHA", "")),
        base=f"origin/{base}" if base else "",
        link=f"{server}/{project}/actions/runs/{found.get('GITHUB_RUN_ID', '')}",
        actor=found.get("GITHUB_TRIGGERING_ACTOR") or found.get("GITHUB_ACTOR", ""),
        summary=found.get("GITHUB_STEP_SUMMARY", ""),
        token=found.get("GITHUB_TOKEN", ""),
    )


def _gitlab(found: Mapping[str, str]) -> Surroundings:
    return Surroundings(
        system="gitlab",
        forge="gitlab",
        api=found.get("CI_API_V4_URL", ""),
        project=found.get("CI_PROJECT_ID", ""),
        change=_number(found.get("CI_MERGE_REQUEST_IID", "")),
        head=found.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or found.get("CI_COMMIT_SHA", ""),
        base=found.get("CI_MERGE_REQUEST_DIFF_BASE_SHA", ""),
        pipeline=str(_number(found.get("CI_PIPELINE_ID", "")) or ""),
        link=found.get("CI_JOB_URL", ""),
        actor=found.get("GITLAB_USER_LOGIN", ""),
        token=found.get("GITLAB_TOKEN", ""),
    )


def _by_address(
    system: str, found: Mapping[str, str], *, change: str, head: str, link: str, actor: str, base: str = ""
) -> Surroundings:
    """A CI system that stands apart from the forge and says no more than the address of the pull request's page."""
    plain = Surroundings(system=system, head=head, link=link, actor=actor, base=f"origin/{base}" if base else "")
    try:
        address = urlsplit(change)
    except ValueError:
        return plain
    origin = f"{address.scheme}://{address.netloc}"
    if match := _GITLAB.fullmatch(address.path):
        forge, api, project, token = "gitlab", f"{origin}/api/v4", quote(match["project"], safe=""), "GITLAB_TOKEN"
    elif match := _GITHUB.fullmatch(address.path):
        api = "https://api.github.com" if address.netloc == "github.com" else f"{origin}/api/v3"
        forge, project, token = "github", match["project"], "GITHUB_TOKEN"
    else:
        return plain
    return Surroundings(
        system=system,
        forge=forge,
        api=api,
        project=project,
        change=int(match["number"]),
        head=plain.head,
        base=plain.base,
        link=plain.link,
        actor=actor,
        token=found.get(token, ""),
    )


def _event(path: str) -> dict[str, Any]:
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return _table(event)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
