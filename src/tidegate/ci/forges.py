"""Where changes are discussed: comments and statuses of GitHub and GitLab, behind one port.

GitHub REST API (2022-11-28): issues/comments, commits/statuses. GitLab REST API v4: notes of merge requests, commits/statuses.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from tidegate.ci.rest import Answer, RestApi
from tidegate.ci.surroundings import Surroundings

_ACTIONS_BOT = "github-actions[bot]"
_QUICK_ACTION = re.compile(r"^(\s*)/", re.MULTILINE)


class Comment(NamedTuple):
    """One comment on a change."""

    id: int
    author: str
    body: str


class Forge(Protocol):
    """One change on one forge. Answers are returned as they come; only what cannot be reached or listed raises."""

    def me(self) -> str:
        """The name under which the token comments."""
        ...

    def comments(self) -> Iterator[Comment]:
        """The comments on the change, oldest first."""
        ...

    def create(self, body: str) -> Answer:
        """Adds a comment."""
        ...

    def edit(self, comment: Comment, body: str) -> Answer:
        """Writes a comment anew."""
        ...

    def set_status(self, name: str, *, good: bool, text: str) -> Answer:
        """Sets the status of the proposed commit; one of each name."""
        ...


def open_forge(place: Surroundings, *, wait: Callable[[float], None] = time.sleep) -> Forge:
    """The forge of a job. ``wait`` sleeps for so many seconds.

    Raises:
        UnavailableError: the token would travel in the open.
    """
    return _GitLab(place, wait) if place.forge == "gitlab" else _GitHub(place, wait)


class _GitHub:
    def __init__(self, place: Surroundings, wait: Callable[[float], None]) -> None:
        self._place = place
        headers = {
            "Authorization": f"Bearer {place.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        self._api = RestApi(place.api, headers, wait=wait)
        self._change = f"/repos/{place.project}/issues/{place.change}/comments"

    def me(self) -> str:
        answer = self._api.call("GET", "/user")
        return answer.body["login"] if answer.ok else _ACTIONS_BOT  # a job's own token may not ask who it is

    def comments(self) -> Iterator[Comment]:
        for item in self._api.pages(f"{self._change}?per_page=100"):
            yield Comment(item["id"], (item.get("user") or {}).get("login", ""), item.get("body") or "")

    def create(self, body: str) -> Answer:
        return self._api.call("POST", self._change, {"body": body})

    def edit(self, comment: Comment, body: str) -> Answer:
        return self._api.call("PATCH", f"/repos/{self._place.project}/issues/comments/{comment.id}", {"body": body})

    def set_status(self, name: str, *, good: bool, text: str) -> Answer:
        body = {"state": "success" if good else "failure", "context": name, "description": text[:140]}
        body |= {"target_url": self._place.link} if self._place.link else {}
        return self._api.call("POST", f"/repos/{self._place.project}/statuses/{self._place.head}", body)


class _GitLab:
    def __init__(self, place: Surroundings, wait: Callable[[float], None]) -> None:
        self._place = place
        self._api = RestApi(place.api, {"PRIVATE-TOKEN": place.token}, wait=wait)
        self._notes = f"/projects/{place.project}/merge_requests/{place.change}/notes"

    def me(self) -> str:
        answer = self._api.call("GET", "/user")
        return answer.body["username"] if answer.ok else ""

    def comments(self) -> Iterator[Comment]:
        for item in self._api.pages(f"{self._notes}?per_page=100&sort=asc&order_by=created_at"):
            yield Comment(item["id"], (item.get("author") or {}).get("username", ""), item.get("body") or "")

    def create(self, body: str) -> Answer:
        return self._api.call("POST", self._notes, {"body": _without_quick_actions(body)})

    def edit(self, comment: Comment, body: str) -> Answer:
        return self._api.call("PUT", f"{self._notes}/{comment.id}", {"body": _without_quick_actions(body)})

    def set_status(self, name: str, *, good: bool, text: str) -> Answer:
        body = {"state": "success" if good else "failed", "name": name, "description": text[:255]}
        body |= {"target_url": self._place.link} if self._place.link else {}
        body |= {"pipeline_id": int(self._place.pipeline)} if self._place.pipeline else {}
        return self._api.call("POST", f"/projects/{self._place.project}/statuses/{self._place.head}", body)


def _without_quick_actions(body: str) -> str:
    """A line of a note that begins with a slash is a command, such as ``/merge``, with the rights of the token."""
    return _QUICK_ACTION.sub("\\1\u200b/", body)
