"""``tidegate monitor``, ``decision``, ``tick`` and ``doctor`` from a project's folder, as a person types them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cli_caller import Caller

from tidegate.clock import DAY, parse_time
from tidegate.health.questions import QUESTIONS
from tidegate.monitoring import PredictionLog, alerts_of, raise_alert
from tidegate.records.monitoring import Finding, Window
from tidegate.records.serving import Prediction
from tidegate.store import open_store

MONDAY = parse_time("2013-06-03")
POLICY = """
[models.delay]
task = "binary"
[models.delay.gate]
snapshot = "eval@1"
label = "late"
[[models.delay.gate.rules]]
metric = "log_loss"
test = "floor"
value = 0.6
[models.delay.monitoring]
window = "1w"
[models.delay.retrain]
pipeline = "flights:train"
[models.plain]
task = "binary"
"""


@pytest.fixture
def tidegate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Caller:
    monkeypatch.chdir(tmp_path)
    Path("tidegate.toml").write_text(POLICY)
    return Caller(capsys, parse_time("2013-06-20"))


def watched() -> None:
    """A closed window with an alert."""
    worse = Finding(
        kind="performance", subject="log_loss", statistic=0.6, bound=0.5, ratio=2.0, rows=90, version=1, reference=0.4, low=0.55,
        high=0.65, note="labels for 90.0% of 100 rows",
    )  # fmt: skip
    unknown = Finding(kind="nulls", subject="x", statistic=None, bound=None, ratio=None, rows=100, note="too few")
    window = Window(
        model="delay",
        start=MONDAY,
        end=MONDAY + 7 * DAY,
        versions=[1],
        rows=100,
        labelled=90,
        closed_at=1,
        findings=[unknown, worse],
    )
    store = open_store(Path(".tidegate"))
    store.bucket.put_if_absent(f"monitoring/delay/windows/{window.start}-{window.end}.json", msgspec.json.encode(window))
    for alert in alerts_of(window, 1):
        raise_alert(store.documents, alert)
    store.close()


def test_monitor_tells_the_newest_window_worst_first(tidegate: Caller) -> None:
    assert "no window was closed yet" in tidegate("monitor", "status", "delay")
    watched()
    told = tidegate("monitor", "status", "delay")
    assert told.index("log_loss") < told.index("too few")
    assert "0.6 (0.55 to 0.65)" in told
    assert "page: performance: log_loss of version 1 is 0.6 against a bound of 0.5, usually 0.4" in told
    assert "performance log_loss (2.0)" in tidegate("monitor", "windows", "delay")
    value = tidegate.json("monitor", "status", "delay")
    assert value["window"]["labelled"] == 90
    assert value["alerts"][0]["severity"] == "page"
    assert len(tidegate.json("monitor", "windows", "delay")["windows"]) == 1


def test_labels_are_added_once_and_disputes_are_told(tidegate: Caller) -> None:
    Path("labels.csv").write_text("prediction_id,label,known_at\na,1,2013-06-04T10:00:00\nb,0,2013-06-04T11:00:00\n")
    assert tidegate.json("monitor", "labels", "delay", "labels.csv") == {"model": "delay", "added": 2, "conflicts": 0}
    assert "0 labels added" in tidegate("monitor", "labels", "delay", "labels.csv")
    Path("more.csv").write_text("prediction_id,label,known_at\na,0,2013-06-04T12:00:00\n")
    assert "1 labels added" in tidegate("monitor", "labels", "delay", "more.csv")
    Path("bad.csv").write_text("prediction_id,label\na,0\n")
    assert "labels-column-missing" in tidegate("monitor", "labels", "delay", "bad.csv", code=1)
    assert "no-such-model" in tidegate("monitor", "labels", "nobody", "labels.csv", code=1)


def test_a_decision_is_opened_shown_and_declined(tidegate: Caller) -> None:
    assert "none was opened yet" in tidegate("decision", "list")
    assert "delay-0001 is OPEN" in tidegate("decision", "open", "delay", "--reason", "new sensor")
    assert "decision-open" in tidegate("decision", "open", "delay", "--reason", "again", code=1)
    assert "reason-missing" in tidegate("decision", "decline", "delay-0001", code=2)
    assert "DECLINED: not now" in tidegate("decision", "decline", "delay-0001", "--reason", "not now")
    shown = tidegate("decision", "show", "delay-0001")
    assert "new sensor" in shown
    assert "not now" in shown
    assert [item["state"] for item in tidegate.json("decision", "list")["decisions"]] == ["DECLINED"]
    assert "no-such-decision" in tidegate("decision", "show", "delay-0009", code=1)
    assert "not-retrained" in tidegate("decision", "open", "plain", "--reason", "x", code=2)


def test_tick_closes_windows_and_tells_it_once(tidegate: Caller) -> None:
    assert "0 windows closed" in tidegate("tick")
    store = open_store(Path(".tidegate"))
    PredictionLog(store.bucket, "delay").append(
        [
            Prediction(id=f"p{place}", model="delay", version=1, event_at=MONDAY + place, served_at=1, seconds=0.1, inputs={}, outputs={})
            for place in range(5)
        ]
    )  # fmt: skip
    store.close()
    report = tidegate.json("tick")
    assert [(window["rows"], window["labelled"]) for window in report["windows"]] == [(5, 0), (0, 0)]
    assert tidegate.json("tick")["windows"] == []


def test_tick_ends_with_1_when_a_model_could_not_be_looked_after(tidegate: Caller) -> None:
    watched()
    Path("tidegate.toml").write_text(POLICY.replace('window = "1w"', 'window = "6h"'))
    assert "bad-window" in tidegate("tick", code=1)


def test_doctor_tells_level_blocker_and_every_check(tidegate: Caller) -> None:
    told = tidegate("doctor")
    assert told.startswith("level 0 of 4: manual")
    assert "needs: training data are snapshots" in told
    assert "add [models.NAME.retrain]" in told
    value = tidegate.json("doctor")
    assert (value["level"], len(value["checks"])) == (0, len(QUESTIONS))
