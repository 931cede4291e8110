from __future__ import annotations

from rollout_shop import evidence

from tidegate.clock import DAY
from tidegate.records.ledger import Rollout
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.rollout.decide import decide
from tidegate.serving.rollout.picture import picture


def looks(*counts):
    rollout = Rollout(seq=7, version=2, digest="d", receipt="r", plan={}, started_at=DAY, moved_at=DAY)
    plan = RolloutPolicy(steps=[0.0], harm={"brier": 0.1})
    return [decide("delay", rollout, plan, evidence(count, step=0, share=0.0), task="binary", now=2 * DAY) for count in counts]


def test_each_condition_has_its_sentence_and_a_bar_for_each_look():
    lines = picture(looks(100, 1000, 3000), width=40)
    errors = lines[: lines.index("")]
    assert errors[0].startswith("held: errors is 0 % (0 to 0.00")
    assert [line.split()[0] for line in errors[1:]] == ["100", "1,000", "3,000"]
    assert all(":" in line and "o" in line for line in errors[1:])
    assert len(errors[1]) - len(errors[3]) >= 0
    assert "  no label has matured yet" in lines


def test_an_end_that_is_not_known_is_open():
    latency = picture(looks(50), width=40)
    assert any(">" in line for line in latency)


def test_nothing_is_drawn_of_nothing():
    assert picture([]) == []
    assert all("no rows yet" in line or "?" in line or not line or "label" in line for line in picture(looks(0)))
