"""Releases: what waits for consent, which pointer stands where and how safely, what was moved, and who was told."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request

from tidegate.records.ledger import (
    Frozen,
    Promoted,
    Released,
    RolledBack,
    RolloutMoved,
    RolloutStarted,
    RolloutStopped,
    Unfrozen,
)
from tidegate.release import Standing, read_entries
from tidegate.server.approving import list_asked
from tidegate.server.pages.models import Entry, timeline
from tidegate.server.pages.rendering import Page
from tidegate.server.summary import ServingSince, model_names, serving_since
from tidegate.workspace import Workspace

MOST_MOVES = 30
_MOVES = (Promoted, RolledBack, Released, Frozen, Unfrozen, RolloutStarted, RolloutMoved, RolloutStopped)


class Pointer(NamedTuple):
    """Where the pointer of one model stands, and what keeps its ledger from being rewritten."""

    model: str
    champion: ServingSince
    beside: int
    frozen: str
    entries: int
    problems: list[str]
    checkpoints: list[Standing]


class Move(NamedTuple):
    """One entry that moved a pointer, or what may move it."""

    model: str
    entry: Entry


def show_releases(workspace: Workspace, _request: Request) -> Page:
    """Every model's pointer and ledger in short."""
    names = model_names(workspace)
    pointers: list[Pointer] = []
    moves: list[Move] = []
    for name in names:
        pairs = read_entries(workspace.store.bucket, name)
        state = workspace.release.state(name)
        pointers.append(
            Pointer(
                name,
                serving_since([entry for _, entry in pairs]),
                state.rollout.version if state.rollout else 0,
                state.frozen,
                len(pairs),
                workspace.release.verify(name),
                workspace.checkpoints.standing(name),
            )
        )
        newest = [pair for pair in pairs if isinstance(pair[1].event, _MOVES)][-MOST_MOVES:]
        moves += [Move(name, entry) for entry in timeline(newest)]
    return Page(
        "releases.html",
        "Releases",
        "releases",
        {
            "asked": list_asked(workspace, names),
            "pointers": pointers,
            "moves": sorted(moves, key=lambda move: (move.entry.at, move.entry.seq), reverse=True)[:MOST_MOVES],
            "targets": [target.name for target in workspace.outbox.targets],
            "deliveries": workspace.outbox.deliveries(),
        },
        ("tidegate release verify", "tidegate notify list"),
    )
