"""Tries the gate's own rules in worlds whose truth is known, and writes docs/explanation/gate-simulation.md.

Run it in the project's environment: .venv/bin/python tests/simulation/study.py (make simulate). ``--trials``, ``--minutes`` and
``--only`` make it shorter; the page is written only by a whole run or with ``--page``.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from simulation_page import TOLERANCE, judge, limit, write_page
from worlds import ALL, WORLDS, World

from tidegate.errors import UsageError
from tidegate.gate.case import Case
from tidegate.gate.metrics import metric_names, parse_metric, shortage
from tidegate.gate.rules import decide
from tidegate.records.policy import Rule
from tidegate.records.verdict import Verdict

CONFIDENCE = 0.95
TRIALS = 500
AGAIN = 1000
SURE = 4
"""Times ``AGAIN`` trials, for what then still stands outside of what was promised: of 400 cells, chance alone puts some there."""
DOUBT = 0.013
BATCH = 25
CHUNKS = 10
"""Of 100,000 rows each: what chance leaves of a true difference is a fourteenth of what it is on 5,000 rows."""
SEED = 20_260
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "gate-simulation.md"
PARAMETERS = {
    "regression": {"pinball": "pinball@0.9"},
    "ranking": {"hit_rate": "hit_rate@1", "precision": "precision@3", "recall": "recall@3"},
}
"""By task, how deep or where a metric is tried. The ten best of a dozen documents hold all that is good in any order: there nothing differs."""
ALIKE = {"f0.5": "f1", "f2": "f1", "utility": "expected_cost"}
"""Metrics that are left out, as they are measured like another, with other weights."""


@dataclass
class Tally:
    """What happened to one metric in one world with so many rows. ``answered``: trials with enough rows for an interval."""

    world: str
    rows: int
    metric: str
    trials: int = 0
    answered: int = 0
    covered: int = 0
    passed: int = 0
    failed: int = 0
    error: str = ""

    def add(self, other: Tally) -> None:
        """Takes in the trials of another batch."""
        for name in ("trials", "answered", "covered", "passed", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.error = self.error or other.error

    @property
    def coverage(self) -> float:
        """Share of the answered trials whose interval held the true difference."""
        return self.covered / self.answered if self.answered else float("nan")

    @property
    def false_pass(self) -> float:
        """Share of all trials that passed although the candidate stood exactly on the bound."""
        return self.passed / self.trials if self.trials else float("nan")


def names_of(world: World, rows: int = 0) -> list[str]:
    """The metrics that are tried in a world on so many rows (0: on any number); those of one class for the class ``b``."""
    everything = [
        _usable(PARAMETERS.get(world.task, {}).get(name, name), world) for name in metric_names(world.task) if name not in ALIKE
    ]
    asked = [world.tried[rows]] if rows else list(world.tried.values())
    if any(names == ALL for names in asked):
        return everything
    return [name for name in everything if any(name in names for names in asked)]


def _usable(name: str, world: World) -> str:
    try:
        parse_metric(name, world.task, world.keys.get(name, {}).get("costs", ()))
    except UsageError:
        return f"{name}[b]"
    return name


def true_differences(number: int, chunk: int) -> dict[str, float]:
    """Candidate minus champion of each metric on 100,000 rows (10,000 lists); 0 where the two are exchangeable."""
    world = WORLDS[number]
    if world.noise == 1:
        return dict.fromkeys(names_of(world), 0.0)
    rng = np.random.default_rng([SEED, zlib.crc32(world.name.encode()), 1, chunk])
    evidence = world.draw(rng, 10_000 if world.task == "ranking" else 100_000, world.noise)
    found: dict[str, float] = {}
    for name in names_of(world):
        rule = Rule(test="superior", metric=name, **world.keys.get(name, {}))
        try:
            result = decide(rule, Case(evidence=evidence), confidence=CONFIDENCE, seed=chunk)
            found[name] = _number(result.difference.estimate if result.difference else None)
        except Exception:  # noqa: BLE001 - the trials tell it
            found[name] = float("nan")
    return found


def run_batch(number: int, rows: int, truths: dict[str, float], batch: int) -> list[Tally]:
    """A batch of trials in world ``number`` of the list."""
    world = WORLDS[number]
    tallies = {name: Tally(world.name, rows, name) for name in truths}
    for trial in range(BATCH):
        rng = np.random.default_rng([SEED, zlib.crc32(world.name.encode()), rows, batch, trial])
        evidence = world.draw(rng, rows, world.noise)
        case = Case(evidence=evidence)
        for name, truth in truths.items():
            tally = tallies[name]
            tally.trials += 1
            keys = world.keys.get(name, {})
            metric = parse_metric(name, world.task, keys.get("costs", ()))
            gain = metric.sign * truth
            rule = (
                Rule(test="superior", metric=name, margin=gain, **keys)
                if gain >= 0
                else Rule(test="not_worse", metric=name, margin=-gain, **keys)
            )
            try:
                result = decide(rule, case, confidence=CONFIDENCE, seed=trial)
            except Exception as error:  # noqa: BLE001 - it is shown on the page
                tally.error = f"{type(error).__name__}: {error}"
                continue
            interval = result.difference
            low, high = (_number(interval.low), _number(interval.high)) if interval else (float("nan"), float("nan"))
            if np.isfinite(low) and np.isfinite(high) and not shortage(metric, evidence)[0]:
                tally.answered += 1
                tally.covered += low <= truth <= high
            tally.passed += result.verdict is Verdict.PASS
            tally.failed += result.verdict is Verdict.FAIL
    return list(tallies.values())


def study(worlds: Iterable[int], *, trials: int, again: int, workers: int, minutes: float = math.inf) -> list[Tally]:
    """All trials of some worlds, over several processes. The same arguments give the same tallies.

    What looks odd after ``trials`` is tried ``again`` so often, anew: only the new trials count then; and what still misses what was
    promised ``SURE`` times as often once more. After ``minutes`` it ends with fewer trials: half of the time is for the first ones.
    """
    chosen = list(worlds)
    started = time.monotonic()
    with ProcessPoolExecutor(workers) as pool:
        chunks = [(number, chunk) for number in chosen for chunk in range(CHUNKS if WORLDS[number].noise != 1 else 1)]
        parts = list(zip(chunks, pool.map(true_differences, *zip(*chunks, strict=True)), strict=True))
        truths = {
            number: {
                name: float(np.mean([part[name] for (owner, _), part in parts if owner == number]))
                for name in names_of(WORLDS[number])
            }
            for number in chosen
        }
        wanted = {
            (number, rows): {name: truths[number][name] for name in names_of(WORLDS[number], rows)}
            for number in chosen
            for rows in WORLDS[number].tried
        }
        found = _run(pool, wanted, range(trials // BATCH), started + 30 * minutes)
        done = trials // BATCH
        for more, odd, ends in ((again, _looks_odd, 45), (SURE * again, _misses, 60)):
            asked = {
                (number, rows): {name: truth for name, truth in names.items() if odd(found[number, rows, name])}
                for (number, rows), names in wanted.items()
            }
            anew = _run(pool, asked, range(done, done + more // BATCH), started + ends * minutes)
            done += more // BATCH
            for cell, tally in anew.items():
                if tally.trials < found[cell].trials:  # time was up: better all than few
                    tally.add(found[cell])
            found |= anew
    return list(found.values())


def _looks_odd(tally: Tally) -> bool:
    """Whether so few trials leave a doubt; errors and cells without an interval need no more of them."""
    if tally.error or not tally.answered:
        return False
    return abs(tally.coverage - CONFIDENCE) > DOUBT or tally.false_pass > (1 - CONFIDENCE) / 2 + DOUBT


def _misses(tally: Tally) -> bool:
    """Whether it is worse or wider than promised: chance may have done that."""
    if tally.error or judge(tally, CONFIDENCE) == "none":
        return False
    return abs(tally.coverage - CONFIDENCE) > TOLERANCE or tally.false_pass > limit(tally.trials)


def _run(
    pool: ProcessPoolExecutor, wanted: dict[tuple[int, int], dict[str, float]], batches: range, ends: float
) -> dict[tuple[int, int, str], Tally]:
    """Batch after batch over all cells, so that each has as many trials as the others whenever time is up (at ``ends``)."""
    done: dict[tuple[int, int, str], Tally] = {}
    cells = [(number, rows, names) for (number, rows), names in wanted.items() if names]
    for place, batch in enumerate(batches, start=1):
        if not cells or time.monotonic() > ends:
            break
        jobs = [(number, rows, names, batch) for number, rows, names in cells]
        for (number, rows, _, _), found in zip(jobs, pool.map(run_batch, *zip(*jobs, strict=True)), strict=True):
            for tally in found:
                done.setdefault((number, rows, tally.metric), Tally(tally.world, rows, tally.metric)).add(tally)
        print(f"{place * BATCH:,} of {len(batches) * BATCH:,} trials in {len(cells)} places", file=sys.stderr)
    return done


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def main() -> None:
    """Runs what was asked for, prints what missed, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--again", type=int, default=AGAIN)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end sooner, with fewer trials")
    parser.add_argument("--only", default="", help="worlds whose name contains this")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--page", action="store_true", help="write the page although only a part was run")
    chosen = parser.parse_args()
    numbers = [number for number, world in enumerate(WORLDS) if chosen.only in world.name and names_of(world)]
    tallies = study(numbers, trials=chosen.trials, again=chosen.again, workers=chosen.workers, minutes=chosen.minutes)
    text = write_page([WORLDS[number] for number in numbers], tallies, alike=ALIKE, confidence=CONFIDENCE)
    if chosen.page or not chosen.only:  # a part would look like the whole
        PAGE.write_text(text, encoding="utf-8")
        print(f"wrote {PAGE}")
    else:
        print(text)


if __name__ == "__main__":
    main()
