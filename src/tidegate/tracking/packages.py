"""Which packages a process can import, in which version, and which of them come from elsewhere than an index."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tidegate.tracking.redaction import redact_text

_DIST_INFO = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[^-]+)\.dist-info")


def installed_packages() -> tuple[dict[str, str], dict[str, str]]:
    """(version by normalised name, source by name of those that come from a folder, a repository or an address).

    SOURCE: the names of ``.dist-info`` folders (binary distribution format, "The .dist-info directory") and their
    ``direct_url.json`` (PEP 610); reading every METADATA file instead takes ten times as long.
    """
    versions: dict[str, str] = {}
    sources: dict[str, str] = {}
    for place in _folders():
        name, version = _name_and_version(place)
        if not name or name in versions:
            continue
        versions[name] = version
        if place.name.endswith(".dist-info") and (source := _source(place)):
            sources[name] = source
    return dict(sorted(versions.items())), dict(sorted(sources.items()))


def _folders() -> Iterator[Path]:
    """The metadata folders on the import path, in its order: the first of a name is the one that is imported."""
    for place in dict.fromkeys(sys.path):
        try:
            paths = sorted(Path(place or ".").iterdir())
        except OSError:
            continue
        yield from (path for path in paths if path.name.endswith((".dist-info", ".egg-info")))


def _name_and_version(place: Path) -> tuple[str, str]:
    found = _DIST_INFO.fullmatch(place.name)
    if found:
        return _normalised(found["name"]), found["version"]
    try:
        distribution = metadata.Distribution.at(place)
        name = distribution.metadata["Name"]
        return (_normalised(name), distribution.version) if name else ("", "")
    except Exception:  # noqa: BLE001 - a broken folder of somebody else's package must not stop a run
        return "", ""


def _source(place: Path) -> str:
    try:
        found: Any = json.loads((place / "direct_url.json").read_text(encoding="utf-8"))
        url = redact_text(str(found["url"]))
        vcs = found.get("vcs_info")
        if vcs:
            return f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
        if "dir_info" in found:
            editable = "editable " if found["dir_info"].get("editable") else ""
            return f"{editable}{unquote(urlsplit(url).path)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return url


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
