"""Plain values as YAML that is the same every time, and headers that say where a file comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from tidegate.records.deployment import Deployment


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks; no anchors, which people and tools misread."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def dump(values: Sequence[Any]) -> str:
    """YAML documents, in the order of their keys."""
    return yaml.dump_all(values, Dumper=_Dumper, sort_keys=False, width=1000, explicit_start=len(values) > 1, allow_unicode=True)


def header(deployment: Deployment, target: str) -> str:
    """The first lines of a rendered file."""
    released = f"{deployment.model}@{deployment.champion.version}, sha256:{deployment.champion.digest}"
    return f"# tidegate deploy render {deployment.model} --target {target}\n# when {released} was the champion\n"
