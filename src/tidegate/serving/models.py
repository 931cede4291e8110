"""The models of one serving process: by name and version to what answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tidegate.errors import NotFoundError, UsageError
from tidegate.records.names import nearest
from tidegate.records.policy import ServingPolicy
from tidegate.serving.follow import Follower
from tidegate.serving.handle import Handle
from tidegate.serving.rollout.router import Router


class Target(NamedTuple):
    """What answers a request: pinned, so that a swap meanwhile changes nothing for it. No router where a version was named."""

    handle: Handle
    router: Router | None
    policy: ServingPolicy


class ServedModels:
    """Finds what answers. Reading is safe from any thread."""

    def __init__(self, followers: Mapping[str, Follower], policies: Mapping[str, ServingPolicy]) -> None:
        self.followers = followers
        self._policies = {name: policies.get(name) or ServingPolicy() for name in followers}
        self._only = next(iter(followers)) if len(followers) == 1 else ""

    def find(self, model: str, version: str = "") -> Target:
        """What answers for a model, or for one of its versions. Without a name: the one model, if there is just one.

        Raises:
            NotFoundError: the model or the version is not served here.
            UsageError: no model is named, and several are served.
        """
        follower = self.follower(model)
        policy = self._policies[follower.model]
        if not version:
            return Target(follower.handle, follower.router, policy)
        handle = follower.find(version)
        if handle is None:
            served = ", ".join(follower.served())
            raise NotFoundError(
                "version-not-served",
                f"version {version[:20]!r} of {follower.model} is not served here",
                why=f"{follower.handle.version.ref} answers; of it can be asked: {served}",
                fix=f"leave the version out, or start the server with --pin {follower.model}@N",
            )
        return Target(handle, None, policy)

    def follower(self, model: str) -> Follower:
        """Who follows a model's pointer. Errors: those of ``find``."""
        follower = self.followers.get(model or self._only)
        if follower is not None:
            return follower
        names = sorted(self.followers)
        if not model:
            raise UsageError(
                "model-not-named",
                f"{len(names)} models are served here: {', '.join(names)}",
                why="the path names none",
                fix=f"name one in the header X-Model, or in the address: ?model={names[0]}",
            )
        raise NotFoundError("model-not-served", f"no model {model[:100]!r} is served here", fix=nearest(model, names))

    def index(self) -> list[dict[str, str]]:
        """Every version that can be asked, as the repository extension lists it."""
        return [
            {"name": name, "version": version, "state": "READY", "reason": ""}
            for name, follower in sorted(self.followers.items())
            for version in follower.served()
        ]
