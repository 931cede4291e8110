"""A short run of the simulation study, and its page."""

from __future__ import annotations

import re
from math import sqrt

import pytest
from simulation_page import ALPHA, judge, limit, write_page
from study import ALIKE, CONFIDENCE, PAGE, Tally, names_of, run_batch, study
from worlds import WORLDS

from tidegate.gate.metrics import metric_names

TASKS = sorted({world.task for world in WORLDS})
SHORT = ("binary, equal", "binary, 30 even clusters, worse", "multiclass, equal", "regression, worse", "scores, worse")


def test_the_page_names_every_metric() -> None:
    named = set(re.findall(r"`([^`]+)`", PAGE.read_text(encoding="utf-8")))
    stems = {name.partition("[")[0].partition("@")[0] for name in named}
    assert {name for task in TASKS for name in metric_names(task)} - stems == set(), "write it anew: make simulate"


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_is_tried_somewhere(task: str) -> None:
    tried = {name for world in WORLDS if world.task == task for rows in world.tried for name in names_of(world, rows)}
    stems = {name.partition("[")[0].partition("@")[0] for name in tried}
    assert set(metric_names(task)) - stems - set(ALIKE) == set()


def test_the_same_batch_gives_the_same_tallies() -> None:
    first, again = (run_batch(0, 200, {"accuracy": 0.0, "roc_auc": 0.0}, 3) for _ in range(2))
    assert first == again
    assert all(tally.trials == tally.answered for tally in first)


def test_cells_are_judged_by_what_was_promised() -> None:
    def tally(covered: int, passed: int, answered: int = 1000) -> Tally:
        return Tally("w", 100, "m", trials=1000, answered=answered, covered=covered, passed=passed)

    assert judge(tally(950, 25), CONFIDENCE) == "ok"
    assert judge(tally(900, 25), CONFIDENCE) == "BROKEN"
    assert judge(tally(950, 60), CONFIDENCE) == "BROKEN"
    assert judge(tally(990, 2), CONFIDENCE) == "wide"
    assert judge(tally(0, 0, answered=0), CONFIDENCE) == "none"
    assert limit(1000) == pytest.approx(ALPHA + 3 * sqrt(ALPHA * 0.975 / 1000))
    page = write_page([], [tally(900, 25)], alike=ALIKE, confidence=CONFIDENCE)
    assert "1 BROKEN" in page


@pytest.mark.slow
def test_no_metric_passes_more_often_than_promised() -> None:
    numbers = [number for number, world in enumerate(WORLDS) if world.name in SHORT]
    tallies = study(numbers, trials=100, again=400, workers=2)
    broken = [tally for tally in tallies if tally.error or tally.false_pass > limit(tally.trials)]
    assert broken == []
