from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from monitoring_world import MONDAY, World, make_stream

from tidegate.clock import DAY
from tidegate.errors import UsageError
from tidegate.monitoring import Monitor, list_alerts
from tidegate.records.monitoring import Finding, Severity, Window

CLOSING = MONDAY + 200 * DAY


def finding(window: Window, kind: str, subject: str) -> Finding:
    return next(item for item in window.findings if (item.kind, item.subject) == (kind, subject))


def crossed(window: Window) -> list[tuple[str, str]]:
    return [(item.kind, item.subject) for item in window.findings if (item.ratio or 0) > 1]


def test_healthy_windows_seldom_alarm_and_everything_is_judged(world: World) -> None:
    rng = np.random.default_rng(11)
    world.serve(make_stream(rng, 12_000, MONDAY, 84))
    windows = world.monitor().close_windows(MONDAY + 85 * DAY)
    assert len(windows) == 12
    judged = [item for window in windows for item in window.findings if item.kind != "volume"]
    assert all(item.ratio is not None for item in judged)
    assert all(window.labelled == window.rows for window in windows)
    # At most 5% of healthy windows may have a drift alarm, and 5% a false page.
    drifted = [window for window in windows if any(kind.endswith("drift") for kind, _ in crossed(window))]
    paged = [window for window in windows if any(not kind.endswith("drift") for kind, _ in crossed(window))]
    assert len(drifted) <= 2
    assert len(paged) <= 2


def test_a_shifted_input_drifts_and_only_that_one(world: World) -> None:
    rng = np.random.default_rng(12)
    stream = make_stream(rng, 1000, MONDAY, 7)
    stream.inputs["rain"] = stream.inputs["rain"] + 0.6
    world.serve(stream)
    window = world.monitor().close_windows(MONDAY + 8 * DAY)[0]
    assert ("input_drift", "rain") in crossed(window)
    assert ("input_drift", "wind") not in crossed(window)
    alerts = list_alerts(world.store.documents, "delay")
    assert {alert.severity for alert in alerts if alert.kind == "input_drift"} == {Severity.INFO}


def test_a_broken_relation_is_a_performance_page(world: World) -> None:
    rng = np.random.default_rng(13)
    stream = make_stream(rng, 1000, MONDAY, 7)
    stream.labels = 1 - stream.labels
    world.serve(stream)
    window = world.monitor().close_windows(MONDAY + 8 * DAY)[0]
    worse = finding(window, "performance", "log_loss")
    assert worse.ratio is not None
    assert worse.ratio > 2
    assert worse.low is not None
    assert worse.bound is not None
    assert worse.low > worse.bound
    page = next(alert for alert in list_alerts(world.store.documents, "delay") if alert.kind == "performance")
    assert page.severity is Severity.PAGE
    assert page.version == 1


def test_an_improvement_never_alarms(world: World) -> None:
    rng = np.random.default_rng(14)
    stream = make_stream(rng, 1000, MONDAY, 7)
    stream.labels = (stream.odds > 0).astype(np.int64)
    world.serve(stream)
    better = finding(world.monitor().close_windows(MONDAY + 8 * DAY)[0], "performance", "log_loss")
    assert better.ratio is not None
    assert better.ratio < 0


def test_without_labels_performance_is_unknown_not_fine(world: World) -> None:
    world.serve(make_stream(np.random.default_rng(15), 1000, MONDAY, 7), labelled=False)
    window = world.monitor().close_windows(MONDAY + 8 * DAY)[0]
    unknown = finding(window, "performance", "log_loss")
    assert (unknown.statistic, unknown.ratio) == (None, None)
    assert "labels for 0.0%" in unknown.note
    assert window.labelled == 0


def test_labels_that_come_after_the_wait_do_not_count(world: World) -> None:
    world.serve(make_stream(np.random.default_rng(16), 1000, MONDAY, 7), lag=9 * DAY)
    # Even when the pass itself runs late: the same window is the same whoever closes it, and when.
    window = world.monitor().close_windows(CLOSING)[0]
    assert window.labelled == 0


def test_disputed_labels_are_counted(world: World) -> None:
    stream = make_stream(np.random.default_rng(17), 300, MONDAY, 7)
    world.serve(stream)
    stream.labels = 1 - stream.labels
    world.serve(stream, lag=4 * 3_600_000_000)
    window = world.monitor().close_windows(MONDAY + 8 * DAY)[0]
    assert window.label_conflicts == 300


def test_nulls_and_unseen_values_page(world: World) -> None:
    rng = np.random.default_rng(18)
    stream = make_stream(rng, 1000, MONDAY, 7)
    carrier = stream.inputs["carrier"].copy()
    carrier[:300] = None
    stream.inputs["carrier"] = carrier
    world.serve(stream)
    other = make_stream(rng, 1000, MONDAY + 7 * DAY, 7)
    world.serve(other)
    window = world.monitor().close_windows(MONDAY + 8 * DAY)[0]
    assert ("nulls", "carrier") in crossed(window)
    assert ("nulls", "wind") not in crossed(window)


def test_silence_pages(world: World) -> None:
    rng = np.random.default_rng(19)
    world.serve(make_stream(rng, 2000, MONDAY, 42))
    windows = world.monitor().close_windows(CLOSING)
    assert [window.rows > 0 for window in windows] == [True] * 6 + [False] * 3
    assert all(("volume", "rows") in crossed(window) for window in windows[6:])
    assert all(finding(window, "performance", "log_loss").ratio is None for window in windows[6:])


def test_few_rows_are_not_judged(world: World) -> None:
    world.serve(make_stream(np.random.default_rng(20), 50, MONDAY, 7))
    window = world.monitor().close_windows(MONDAY + 8 * DAY)[0]
    assert all(item.ratio is None for item in window.findings)


def test_a_reference_without_time_calibrates_nothing(world: World) -> None:
    world.serve(make_stream(np.random.default_rng(21), 500, MONDAY, 7))
    window = world.monitor(time="").close_windows(MONDAY + 8 * DAY)[0]
    assert finding(window, "input_drift", "rain").ratio is None
    assert "not calibrated" in finding(window, "performance", "log_loss").note


def test_an_unregistered_version_is_unknown(world: World) -> None:
    world.serve(make_stream(np.random.default_rng(22), 500, MONDAY, 7), version=9)
    window = world.monitor().close_windows(MONDAY + 8 * DAY)[0]
    assert finding(window, "performance", "log_loss").ratio is None
    assert window.versions == [9]


def test_windows_close_once(world: World) -> None:
    rng = np.random.default_rng(23)
    stream = make_stream(rng, 600, MONDAY, 7)
    stream.labels = 1 - stream.labels
    world.serve(stream)
    monitor = world.monitor()
    first = monitor.close_windows(MONDAY + 8 * DAY)
    alerts = list_alerts(world.store.documents)
    assert len(first) == 1
    assert alerts
    assert monitor.close_windows(MONDAY + 8 * DAY) == []
    assert monitor.windows() == first
    assert list_alerts(world.store.documents) == alerts


def test_two_passes_at_once_close_each_window_once(world: World) -> None:
    world.serve(make_stream(np.random.default_rng(24), 1200, MONDAY, 28))

    def close(_: int) -> list[Window]:
        return world.monitor().close_windows(MONDAY + 29 * DAY)

    with ThreadPoolExecutor(3) as pool:
        closed = [window for windows in pool.map(close, range(3)) for window in windows]
    assert sorted(window.start for window in closed) == [MONDAY + week * 7 * DAY for week in range(4)]
    assert len(world.monitor().windows()) == 4


def test_alerts_come_before_their_window_so_that_a_crash_loses_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = make_stream(np.random.default_rng(25), 600, MONDAY, 7)
    stream.labels = 1 - stream.labels
    world.serve(stream)
    put = world.store.bucket.put_if_absent

    def killed(key: str, source: Any) -> bool:
        if "/windows/" in key:
            raise KeyboardInterrupt
        return put(key, source)

    monkeypatch.setattr(world.store.bucket, "put_if_absent", killed)
    with pytest.raises(KeyboardInterrupt):
        world.monitor().close_windows(MONDAY + 8 * DAY)
    raised = list_alerts(world.store.documents)
    assert raised
    monkeypatch.undo()
    assert len(world.monitor().close_windows(MONDAY + 9 * DAY)) == 1
    assert list_alerts(world.store.documents) == raised


def test_the_reference_is_profiled_once(world: World) -> None:
    world.serve(make_stream(np.random.default_rng(26), 300, MONDAY, 14))
    world.monitor().close_windows(MONDAY + 8 * DAY)
    kept = list(world.store.bucket.keys("monitoring/delay/reference/"))
    assert len(kept) == 2
    world.monitor().close_windows(MONDAY + 15 * DAY)
    assert list(world.store.bucket.keys("monitoring/delay/reference/")) == kept


def test_a_model_without_monitoring_is_refused(world: World) -> None:
    policy = msgspec.structs.replace(world.policy, monitoring=None)
    with pytest.raises(UsageError) as caught:
        Monitor(
            world.store.bucket, world.store.documents, datasets=world.datasets, models=world.models, name="delay", policy=policy
        )
    assert caught.value.code == "not-monitored"


def test_a_metric_of_another_task_is_refused(world: World) -> None:
    with pytest.raises(UsageError):
        world.monitor(metrics=["rmse"])
