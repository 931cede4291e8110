"""Why a step runs again: the parts of its fingerprint that differ from those of its latest execution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from tidegate.pipelines.graph import Node
from tidegate.records.pipeline import Fingerprint, StepRun


class Outlook(StrEnum):
    """What a run would do with a step now."""

    CACHED = "cached"
    RUNS = "runs"
    WAITS = "waits"
    """An upstream step runs first; if it gives the same result as before, this one may still be cached."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a fingerprint that differs; ``before`` or ``now`` is empty where the part was not there."""

    kind: str
    """``code``, ``input`` or ``package``."""
    part: str
    before: str
    now: str

    def __str__(self) -> str:
        if not self.before:
            return f"{self.part} is new ({_short(self.now)})"
        if not self.now:
            return f"{self.part} is gone"
        return f"{self.part} changed: {_short(self.before)} -> {_short(self.now)}"


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The outlook of one step, the reason in a sentence, and what changed since its latest execution."""

    step: str
    outlook: Outlook
    reason: str
    changes: list[Change]
    compared_with: str = ""
    """The run of the latest execution; empty if there is none."""


def explain(
    node: Node, now: Fingerprint, before: StepRun | None, *, hit: StepRun | None, damage: str, waits: Sequence[str]
) -> Why:
    """Puts what was found about a step into one record.

    Args:
        node: the step.
        now: its fingerprint as it stands.
        before: its latest execution.
        hit: the stored result that would be used.
        damage: why a recorded result cannot be used.
        waits: upstream steps that run first.
    """
    changes = changes_between(before.fingerprint, now) if before else []
    outlook = Outlook.CACHED if hit else Outlook.WAITS if waits and not _own(changes, waits) and before else Outlook.RUNS
    return Why(
        step=node.id,
        outlook=outlook,
        reason=_reason(node, now, before, hit, damage, waits, changes),
        changes=changes,
        compared_with=before.run if before else "",
    )


def changes_between(before: Fingerprint, now: Fingerprint) -> list[Change]:
    """Every part that differs: code first, then inputs, then packages."""
    return [
        *_differences("code", before.code, now.code),
        *_differences("input", before.inputs, now.inputs),
        *_differences("package", before.packages, now.packages),
    ]


def _differences(kind: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    prefix = "" if kind == "code" else f"{kind} "
    return [
        Change(kind=kind, part=f"{prefix}{name}", before=before.get(name, ""), now=now.get(name, ""))
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _own(changes: Sequence[Change], waits: Sequence[str]) -> list[Change]:
    """The changes that are not merely a result that is not known yet."""
    return [change for change in changes if not any(f"of {name}, which runs first" in change.now for name in waits)]


def _reason(
    node: Node,
    now: Fingerprint,
    before: StepRun | None,
    hit: StepRun | None,
    damage: str,
    waits: Sequence[str],
    changes: Sequence[Change],
) -> str:
    if now.unhashable:
        return f"it is never cached, because this cannot be hashed: {'; '.join(now.unhashable)}"
    if not node.cache:
        return "it is never cached: @step(cache=False)"
    if damage:
        return damage
    if hit:
        return f"the result of run {hit.run} is still true"
    if before is None:
        return "it has never run"
    own = _own(changes, waits)
    if own:
        return f"{own[0]}{f' (and {len(own) - 1} more)' if len(own) > 1 else ''}"
    if not waits:
        return "its last result was never cacheable"
    return f"{' and '.join(waits)} {'runs' if len(waits) == 1 else 'run'} first"


def _short(part: str) -> str:
    return " ".join(
        word.removeprefix("sha256:")[:12] if len(word.removeprefix("sha256:")) == 64 else word for word in part.split(" ")
    )
