"""Which installed distributions a package needs, in exact versions: those that loading it imports, and what these need in turn."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ALWAYS = ("numpy",)


def requirements(modules: Iterable[str]) -> list[str]:
    """Lines for pip, such as ``numpy==2.4.6``, for top-level modules; what nobody installed (the project's own modules) is left out."""
    owners = metadata.packages_distributions()
    waiting = [name for module in [*_ALWAYS, *modules] for name in owners.get(module, [])]
    found: dict[str, str] = {}
    while waiting:
        name = _normal(waiting.pop())
        if name in found or name == "tidegate":
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another platform or Python
            continue
        found[name] = distribution.version
        waiting += [match[0] for line in distribution.requires or [] if "extra ==" not in line and (match := _NAME.match(line))]
    return sorted(f"{name}=={version}" for name, version in found.items())


def differing(lines: Iterable[str]) -> list[str]:
    """What is installed otherwise than a lock says: ``scikit-learn 1.9.1 instead of 1.8.0``, or ``skops is not installed``."""
    found: list[str] = []
    for line in lines:
        name, _, wanted = line.partition("==")
        try:
            present = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(f"{name} is not installed")
            continue
        if present != wanted:
            found.append(f"{name} {present} instead of {wanted}")
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
