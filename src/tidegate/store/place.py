"""A store that is open: its ports, wherever they lead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.store.ports import (
    ArtifactIndex,
    Bucket,
    Catalog,
    Documents,
    Experiments,
    OnlineStore,
    RunStore,
    SeriesStore,
    StepStore,
)

if TYPE_CHECKING:
    from tidegate.store.sql.database import Database


@dataclass(frozen=True)
class Store:
    """The one metadata store. ``root`` is a local folder: for journals, locks and copies, and embedded for all the rest."""

    root: Path
    bucket: Bucket
    experiments: Experiments
    runs: RunStore
    series: SeriesStore
    artifacts: ArtifactIndex
    catalog: Catalog
    documents: Documents
    steps: StepStore
    online: OnlineStore
    close: Callable[[], None]
    """Closes the connections; the store cannot be used after that."""
    database: Database | None = None
    """None where a server stands before it."""
