"""Frozen evaluation snapshots: the rows on which the gate compares two models.

A snapshot is frozen: once taken it never changes, so every candidate answers the same questions. A new one is taken when
the old one has aged, from flights that no candidate was trained on.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from features import LIVE_INPUTS, labelled_rows

from tidegate import Workspace, frames

NAME = "flights-eval"
HELD_OUT = timedelta(days=14)
"""The newest flights: retraining leaves them out (see ``pipelines.retrain``), and they become the new snapshot."""
COLUMNS = ["flight_id", "tailnum", "asked_at", *LIVE_INPUTS, "dep_delay", "late"]
"""``dep_delay`` is no input: the contract says that it is known later. A model that takes it all the same is found out."""


def evaluation_rows(con: frames.Connection, flights: Any, weather: Any, *, start: str, until: str) -> frames.Relation:
    """The flights asked about in [start, until) that had landed by ``until``, with every model's inputs and the label."""
    rows = labelled_rows(con, flights, weather, start=start, until=until)
    return rows.project(", ".join(frames.quote(name) for name in COLUMNS))


def freeze(workspace: Workspace, now: str, *, start: str = "") -> str:
    """Takes a new evaluation snapshot from the newest tables and returns its reference, like ``flights-eval@2``.

    ``tidegate tick`` calls it when it has retrained, with the time of the decision.

    Args:
        workspace: The open project.
        now: The end of the span, ISO 8601 UTC; labels that were not known then are left out.
        start: The beginning of the span; two weeks before ``now`` by default, which is what retraining leaves out.
    """
    until = datetime.fromisoformat(now).replace(tzinfo=None)
    since = datetime.fromisoformat(start) if start else until - HELD_OUT
    datasets = workspace.datasets
    flights, weather = (datasets.path(datasets.get(name)) for name in ("flights@latest", "weather@latest"))
    contract = workspace.project.folder / "contracts" / "evaluation.yaml"
    with frames.connect() as con:
        rows = evaluation_rows(con, flights, weather, start=str(since), until=str(until))
        return datasets.snapshot(rows, NAME, contract=contract, message=f"flights of {since} to {until}").ref


if __name__ == "__main__":  # python evaluation.py NOW START
    project = Workspace.open(Path(__file__).parent, now=sys.argv[1])
    print(freeze(project, sys.argv[1], start=sys.argv[2]))
