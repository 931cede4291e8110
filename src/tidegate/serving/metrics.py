"""What Prometheus scrapes from a serving process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.serving.follow import Follower
from tidegate.serving.handle import Handle
from tidegate.serving.log import LogQueue

BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. OpenTelemetry's buckets for HTTP start at 5 ms, above nearly everything that happens here."""


class _Series(NamedTuple):
    """The time series of one version, looked up once."""

    seconds: Any
    ok: Any
    refused: Any
    failed: Any


class _State(Collector):
    """What is true at the moment of a scrape; nothing has to be kept up to date in between."""

    def __init__(self, followers: Mapping[str, Follower], log: LogQueue) -> None:
        self._followers = followers
        self._log = log

    def collect(self) -> Iterator[Metric]:
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
        yield CounterMetricFamily("model_prediction_log_rows", "Rows written to the prediction log.", value=self._log.written)
        yield CounterMetricFamily(
            "model_prediction_log_dropped_rows", "Rows that the prediction log lost: queue or disk full.", value=self._log.dropped
        )


class Metrics:
    """The metrics of one process. Counting is safe from any thread."""

    def __init__(self, followers: Mapping[str, Follower], log: LogQueue) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "model_request_duration_seconds",
            "Time from a predict request's arrival to its answer.",
            ["model", "version"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._requests = Counter(
            "model_predictions",
            "Predict requests by outcome: ok, refused (the request is wrong), failed (the server's fault).",
            ["model", "version", "status"],
            registry=self._registry,
        )
        self._registry.register(_State(followers, log))
        self._series: dict[tuple[str, str], _Series] = {}

    def answered(self, handle: Handle, seconds: float) -> None:
        """Counts a request that was answered."""
        series = self._of(handle)
        series.seconds.observe(seconds)
        series.ok.inc()

    def refused(self, handle: Handle, seconds: float, *, status: int) -> None:
        """Counts a request that was refused (4xx) or failed (5xx)."""
        series = self._of(handle)
        series.seconds.observe(seconds)
        (series.failed if status >= 500 else series.refused).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _of(self, handle: Handle) -> _Series:
        key = (handle.version.name, handle.number)
        series = self._series.get(key)
        if series is None:
            self._series[key] = series = _Series(
                self._seconds.labels(*key), *(self._requests.labels(*key, status) for status in ("ok", "refused", "failed"))
            )
        return series
