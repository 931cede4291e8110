"""What Prometheus scrapes from a serving process."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.serving.admission import Room
from tidegate.serving.follow import Follower
from tidegate.serving.handle import Handle
from tidegate.serving.log import LogQueue

BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. OpenTelemetry's buckets for HTTP start at 5 ms, above nearly everything that happens here."""


class _Series:
    """The counts of one version. Plain numbers: every request adds to them, a scrape reads them now and then."""

    __slots__ = ("buckets", "failed", "ok", "refused", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.ok = 0
        self.refused = 0
        self.failed = 0

    def took(self, seconds: float) -> None:
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class Metrics(Collector):
    """The metrics of one process: counted on its event loop, and put together at the moment of a scrape."""

    def __init__(self, followers: Mapping[str, Follower], log: LogQueue) -> None:
        self._followers = followers
        self._log = log
        self._series: dict[tuple[str, str], _Series] = {}
        self._rooms: list[Room] = []
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def answered(self, handle: Handle, seconds: float) -> None:
        """Counts a request that was answered."""
        series = self._of(handle)
        series.took(seconds)
        series.ok += 1

    def refused(self, handle: Handle, seconds: float, *, status: int) -> None:
        """Counts a request that was refused (4xx) or failed (5xx)."""
        series = self._of(handle)
        series.took(seconds)
        if status >= 500:
            series.failed += 1
        else:
            series.refused += 1

    def watch(self, room: Room) -> None:
        """Shows what waits for a model from now on."""
        self._rooms.append(room)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What is true now, for the registry."""
        yield from self._requests()
        yield from self._models()
        yield from self._rollouts()
        yield CounterMetricFamily("model_prediction_log_rows", "Rows written to the prediction log.", value=self._log.written)
        yield CounterMetricFamily(
            "model_prediction_log_dropped_rows", "Rows that the prediction log lost: queue or disk full.", value=self._log.dropped
        )

    def _requests(self) -> Iterator[Metric]:
        took = HistogramMetricFamily(
            "model_request_duration_seconds",
            "Time from a predict request's arrival to its answer.",
            labels=["model", "version"],
        )
        outcomes = CounterMetricFamily(
            "model_predictions",
            "Predict requests by outcome: ok, refused (the request is wrong), failed (the server's fault).",
            labels=["model", "version", "status"],
        )
        edges = [*map(str, BUCKETS), "+Inf"]
        for key, series in list(self._series.items()):
            counts = accumulate(series.buckets)
            took.add_metric(key, list(zip(edges, map(float, counts), strict=True)), series.seconds)
            for status, count in (("ok", series.ok), ("refused", series.refused), ("failed", series.failed)):
                outcomes.add_metric([*key, status], count)
        yield from (took, outcomes)
        waiting = GaugeMetricFamily(
            "model_waiting_requests", "Requests that wait for the model now, or are with it.", labels=["model"]
        )
        away = CounterMetricFamily(
            "model_turned_away",
            "Predict requests that were turned away because their answer would come too late.",
            labels=["model"],
        )
        for room in self._rooms:
            waiting.add_metric([room.model], room.requests)
            away.add_metric([room.model], room.turned_away)
        yield from (waiting, away)

    def _models(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("model_info", "1 for the version that serves.", labels=["model", "version", "digest", "format"])
        behind = GaugeMetricFamily(
            "model_pointer_behind", "1 while the pointer cannot be followed and an older version serves.", labels=["model"]
        )
        swaps = CounterMetricFamily("model_swaps", "Swaps of the served version.", labels=["model"])
        for model, follower in self._followers.items():
            version = follower.handle.version
            info.add_metric([model, str(version.version), version.digest, version.manifest.format], 1)
            behind.add_metric([model], 1 if follower.problem else 0)
            swaps.add_metric([model], follower.swaps)
        yield from (info, behind, swaps)

    def _rollouts(self) -> Iterator[Metric]:
        share = GaugeMetricFamily(
            "model_rollout_share", "Share of keys that a version answers beside the champion.", labels=["model", "version"]
        )
        rows = CounterMetricFamily("model_rollout_rows", "Rows of evidence that were written.", labels=["model"])
        lost = CounterMetricFamily("model_rollout_dropped_rows", "Rows of evidence that were lost: queue full.", labels=["model"])
        for model, follower in self._followers.items():
            router = follower.router
            live = router.live
            if live is not None:
                share.add_metric([model, str(live.rollout.version)], live.rollout.share)
            rows.add_metric([model], router.pairing.written)
            lost.add_metric([model], router.pairing.dropped)
        yield from (share, rows, lost)

    def _of(self, handle: Handle) -> _Series:
        key = (handle.version.name, handle.number)
        series = self._series.get(key)
        if series is None:
            self._series[key] = series = _Series()
        return series
