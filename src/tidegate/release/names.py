"""What people call versions: aliases and stages. None of it moves the pointer."""

from __future__ import annotations

import unicodedata

from tidegate.errors import RefusedError, UsageError
from tidegate.records.ledger import Aliased, Event, LedgerEntry, Staged, Unaliased
from tidegate.release.ledger import Ledger
from tidegate.release.state import ARCHIVED, CHAMPION, PRODUCTION, STAGES, LedgerState, require_version


class Names:
    """Aliases and stages of the models in one bucket."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def alias(self, model: str, alias: str, version: int) -> LedgerEntry | None:
        """Lets a name stand for a version; None if it does already.

        Raises:
            UsageError: the name is ``champion``, which is the pointer (see ``Release.name_champion``).
            NotFoundError: the version is not registered.
        """
        _refuse_pointer(alias, model)

        def decide(state: LedgerState) -> Event | None:
            require_version(state, model, version)
            previous = state.aliases.get(alias, 0)
            return Aliased(alias=alias, version=version, previous=previous) if previous != version else None

        return self._ledger.append_if(model, decide)

    def drop(self, model: str, alias: str) -> LedgerEntry | None:
        """Takes a name away; None if no version has it.

        Raises:
            UsageError: the name is ``champion``: the pointer moves by promotion and rollback alone.
        """
        _refuse_pointer(alias, model)

        def decide(state: LedgerState) -> Event | None:
            version = state.aliases.get(alias, 0)
            return Unaliased(alias=alias, version=version) if version else None

        return self._ledger.append_if(model, decide)

    def stage(self, model: str, version: int, stage: str, *, archive_others: bool = False) -> LedgerEntry | None:
        """Puts a version into the stage None, Staging or Archived; None if it is there already and nothing else changes.

        Raises:
            UsageError: there is no such stage, or it is Production, which is the pointer (see ``Release.name_champion``).
            NotFoundError: the version is not registered.
            RefusedError: the version is the champion.
        """
        if stage not in STAGES or stage == PRODUCTION:
            raise UsageError("bad-stage", f"no version can be put into {stage!r}", fix="choose one of None, Staging, Archived")

        def decide(state: LedgerState) -> Event | None:
            require_version(state, model, version)
            if state.champion.version == version:
                raise RefusedError(
                    "champion-stays",
                    f"{model}@{version} is the champion and stays in Production",
                    why="something must serve: the pointer moves to another version, never to nothing",
                    fix=f"promote another version, or: tidegate rollback {model} --reason TEXT",
                )
            others = [number for number in state.digests if number != version and archive_others]
            archived = sorted(number for number in others if stage != ARCHIVED and state.stage(number) == stage)
            if state.stage(version) == stage and not archived:
                return None
            return Staged(version=version, stage=stage, archived=archived)

        return self._ledger.append_if(model, decide)


def _refuse_pointer(alias: str, model: str) -> None:
    if unicodedata.normalize("NFKC", alias).casefold() == CHAMPION:  # wide and mathematical letters are the same name
        raise UsageError(
            "alias-is-pointer",
            f"the alias {alias!r} of {model} is the pointer to what serves",
            why="it moves by promotion and rollback alone, and is never taken away",
            fix=f"tidegate promote {model}@VERSION, or tidegate rollback {model} --reason TEXT",
        )
