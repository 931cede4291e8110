"""The gate in anybody's CI: its files, one run with its artefacts, one comment and one status, and a plugin for pytest.

The plugin is loaded by every run of pytest, so everything here is loaded when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.lazy import exports

if TYPE_CHECKING:
    from tidegate.ci.gating import Gated, gate_file, gate_version, write_report
    from tidegate.ci.posting import Posted, post_report
    from tidegate.ci.scaffold import SYSTEMS, scaffold_files, write_scaffold
    from tidegate.ci.surroundings import Surroundings, read_surroundings

__all__ = [
    "SYSTEMS",
    "Gated",
    "Posted",
    "Surroundings",
    "gate_file",
    "gate_version",
    "post_report",
    "read_surroundings",
    "scaffold_files",
    "write_report",
    "write_scaffold",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        "gating": ["Gated", "gate_file", "gate_version", "write_report"],
        "posting": ["Posted", "post_report"],
        "scaffold": ["SYSTEMS", "scaffold_files", "write_scaffold"],
        "surroundings": ["Surroundings", "read_surroundings"],
    },
)
