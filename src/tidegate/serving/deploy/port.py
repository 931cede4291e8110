"""What rendering asks of a target."""

from __future__ import annotations

from typing import Protocol

from tidegate.records.deployment import Deployment


class Target(Protocol):
    """A system that runs containers or services. Stateless; equal deployments give equal texts."""

    name: str
    about: str
    """One sentence: what is rendered."""
    contained: bool
    """Whether it runs an image."""

    def render(self, deployment: Deployment) -> dict[str, str]:
        """Texts of files by their paths in a folder, none of them with a secret in it.

        Raises:
            UsageError: the deployment asks for what this target has not.
        """
        ...

    def apply(self, deployment: Deployment, folder: str) -> str:
        """The command that brings the files of ``folder`` into being."""
        ...
