"""Which targets there are."""

from __future__ import annotations

from tidegate.errors import UsageError
from tidegate.records.names import nearest
from tidegate.serving.deploy.argo import ArgoTarget
from tidegate.serving.deploy.compose import ComposeTarget
from tidegate.serving.deploy.helm import HelmTarget
from tidegate.serving.deploy.kserve import KserveTarget
from tidegate.serving.deploy.kubernetes import KubernetesTarget
from tidegate.serving.deploy.port import Target
from tidegate.serving.deploy.systemd import SystemdTarget

_TARGETS: tuple[Target, ...] = (ComposeTarget(), KubernetesTarget(), HelmTarget(), ArgoTarget(), KserveTarget(), SystemdTarget())


def targets() -> tuple[Target, ...]:
    """All of them, the simplest first."""
    return _TARGETS


def find_target(name: str) -> Target:
    """The target with this name.

    Raises:
        UsageError: there is none.
    """
    for target in _TARGETS:
        if target.name == name:
            return target
    raise UsageError("unknown-target", f"no target is called {name!r}", fix=nearest(name, [target.name for target in _TARGETS]))
