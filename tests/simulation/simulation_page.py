"""The page of the simulation study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Protocol

from worlds import World

ALPHA = 0.025
TOLERANCE = 0.015
SHORT = 400
"""Fewer trials than that are called a short run."""


class Counted(Protocol):
    """What the study counted about one metric in one world."""

    world: str
    rows: int
    metric: str
    trials: int
    answered: int
    failed: int
    error: str

    @property
    def coverage(self) -> float: ...
    @property
    def false_pass(self) -> float: ...


def limit(trials: int) -> float:
    """The most false PASSes that chance explains: alpha + 3 standard errors."""
    return ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / trials)


def tolerance(trials: int, confidence: float) -> float:
    """How far a coverage may be from what was promised: 1.5 points, or what chance explains in fewer than some 2,000 trials."""
    return max(TOLERANCE, 3 * sqrt(confidence * (1 - confidence) / trials))


def judge(tally: Counted, confidence: float) -> str:
    """``ok``; ``wide``: it covers more than it says; ``BROKEN``: false PASSes, or it covers less; ``none``: never enough rows."""
    if tally.error:
        return "BROKEN"
    if tally.answered < tally.trials / 20:
        return "none"
    if tally.false_pass > limit(tally.trials) or tally.coverage < confidence - tolerance(tally.answered, confidence):
        return "BROKEN"
    return "wide" if tally.coverage > confidence + TOLERANCE else "ok"


def write_page(worlds: Sequence[World], tallies: Sequence[Counted], *, alike: Mapping[str, str], confidence: float) -> str:
    """The page as Markdown."""
    found = {kind: [tally for tally in tallies if judge(tally, confidence) == kind] for kind in ("ok", "wide", "BROKEN", "none")}
    answered = len(tallies) - len(found["none"])
    least, most = min(tally.trials for tally in tallies), max(tally.trials for tally in tallies)
    lines = [
        "# How often the gate is wrong",
        "",
        "Written by `make simulate`; do not edit.",
        "",
        "A gate that passes a model wrongly is worse than none. So its own rules, with the code that judges real models, are tried in",
        "worlds whose truth is known: rows are drawn, both models predict, the gate judges, and what it says is compared with",
        "what is so. Seeds are fixed: the same command gives the same page.",
        "",
        f'Intervals are two-sided at {confidence:.0%}, so a PASS at the bound may be wrong in {ALPHA:.1%} of cases. In a world "equal" the rule is',
        '`superior`; in a world "worse" it is `not_worse` with a margin that is exactly what the candidate truly loses: there every PASS is',
        "wrong. Any other truth is easier.",
        "",
        f"Each number stands on {least:,} to {most:,} trials, more where the first ones left a doubt. A cell shows the share of intervals that held",
        "the truth, and after the slash the share of false PASSes, in percent. **BROKEN** is a cell with more false PASSes than alpha + 3 standard",
        f"errors ({100 * limit(1000):.1f}% of 1,000 trials), or with a coverage more than {100 * TOLERANCE:.1f} points too low (3 standard errors, where these are more);",
        f"*wide* one with a coverage above {100 * (confidence + TOLERANCE):.1f}%: careful where little can be seen, at the price of power, not of wrong",
        "passes. A dash: the gate gives no interval on so few rows, and so never passes.",
        "",
        f"Left out: {', '.join(f'`{name}` (measured as `{other}` is)' for name, other in alike.items())}; `latency` and other rules that are no",
        "metric of rows.",
        "",
        *(
            ["**A short run: so few trials show only what is grossly wrong. Run `make simulate` without `--minutes`.**", ""]
            if least < SHORT
            else []
        ),
        f"**{answered} cells with an interval: {len(found['ok'])} as promised, {len(found['wide'])} wide, {len(found['BROKEN'])} BROKEN.**",
        "",
    ]
    if found["BROKEN"]:
        lines += ["## BROKEN", "", "| world | metric | rows | coverage | false PASS | note |", "|---|---|---:|---:|---:|---|"]
        lines += [
            f"| {tally.world} | `{tally.metric}` | {tally.rows:,} | {100 * tally.coverage:.1f} | {100 * tally.false_pass:.1f} | {tally.error} |"
            for tally in found["BROKEN"]
        ]
        lines.append("")
    for world in worlds:
        lines += _table(world, [tally for tally in tallies if tally.world == world.name], confidence)
    return "\n".join(lines)


def _table(world: World, tallies: list[Counted], confidence: float) -> list[str]:
    unit = "lists" if world.task == "ranking" else "rows"
    lines = [f"## {world.name}", "", f"{world.about[0].upper()}{world.about[1:]}.", ""]
    lines += ["| metric | " + " | ".join(f"{size:,} {unit}" for size in world.sizes) + " |", "|---|" + "---:|" * len(world.sizes)]
    for metric in dict.fromkeys(tally.metric for tally in tallies):
        cells = {tally.rows: _cell(tally, confidence) for tally in tallies if tally.metric == metric}
        lines.append(f"| `{metric}` | " + " | ".join(cells.get(size, "") for size in world.sizes) + " |")
    return [*lines, ""]


def _cell(tally: Counted, confidence: float) -> str:
    kind = judge(tally, confidence)
    if kind == "none":
        return "-"
    text = f"{100 * tally.coverage:.1f} / {100 * tally.false_pass:.1f}"
    return {"ok": text, "wide": f"{text} *wide*", "BROKEN": f"**{text} BROKEN**"}[kind]
