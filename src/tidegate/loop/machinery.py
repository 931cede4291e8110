"""What a tick is handed: everything that it does is one of these calls."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from tidegate.clock import Clock
from tidegate.monitoring import Monitor
from tidegate.records.names import check_name
from tidegate.records.policy import ModelPolicy
from tidegate.records.report import Report
from tidegate.records.rollout import Look
from tidegate.records.verdict import Verdict
from tidegate.release import Release
from tidegate.store.ports import Documents


class TrainingOutcome(NamedTuple):
    """What a training pipeline gave: its run and the number of the candidate's version."""

    run_id: str
    version: int


class Judgement(Protocol):
    """What the gate found about a candidate; its receipt is in the ledger."""

    @property
    def verdict(self) -> Verdict:
        """PASS, FAIL, INCONCLUSIVE or INVALID."""
        ...

    @property
    def receipt_digest(self) -> str:
        """The receipt's digest."""
        ...

    @property
    def report(self) -> Report:
        """Everything that was found."""
        ...


@dataclass(frozen=True)
class Machinery:
    """Everything that a tick works with. ``train``, ``freeze_evaluation`` and ``judge`` may be repeated after a crash and give
    the same result when they are: training by the pipeline's cache and the registry, which knows equal content; a snapshot by
    its content; the gate is not asked again where the ledger has its answer.
    """

    policies: Mapping[str, ModelPolicy]
    documents: Documents
    monitor: Callable[[str], Monitor]
    release: Release
    clock: Clock
    actor: str
    train: Callable[[str, Mapping[str, str | int | float | bool]], TrainingOutcome]
    """Pipeline ``module:function``, params: runs it and registers the candidate that it returns."""
    freeze_evaluation: Callable[[str, int], str]
    """``module:function``, time of the decision: takes the evaluation snapshot and returns its reference."""
    judge: Callable[[str, str], Judgement]
    """Candidate ``name@version``, snapshot (empty: the policy's): runs the gate, keeps receipt and ledger entry."""
    exclusive: Callable[[str], AbstractContextManager[bool]]
    """A lock by name: gives False at once if somebody else holds it; a process that dies lets go of it."""
    roll: Callable[[str], Look | None] = lambda _model: None
    """A model: looks at its running rollout, and moves or stops it as the look says; None if none runs."""


def folder_lock(folder: Path) -> Callable[[str], AbstractContextManager[bool]]:
    """``Machinery.exclusive`` by locked files in a folder: for processes of one machine."""

    @contextmanager
    def exclusive(name: str) -> Generator[bool]:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{check_name(name, 'lock')}.lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    return exclusive
