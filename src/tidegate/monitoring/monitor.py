"""Closing windows: each span of the prediction log is examined once, when its labels have had time to come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.clock import format_time, parse_duration
from tidegate.data import Datasets
from tidegate.errors import NotFoundError, UsageError
from tidegate.gate.metrics import parse_metric
from tidegate.models import Models
from tidegate.monitoring.alerts import alerts_of, raise_alert
from tidegate.monitoring.drift import drift_findings
from tidegate.monitoring.labels import Labels
from tidegate.monitoring.performance import performance_finding
from tidegate.monitoring.prediction_log import INPUT, OUTPUT, PredictionLog
from tidegate.monitoring.profile import ColumnProfile, Profile
from tidegate.monitoring.quality import (
    EARLIER_WINDOWS,
    latency_finding,
    null_findings,
    type_findings,
    unseen_findings,
    volume_finding,
)
from tidegate.monitoring.reference import References, told
from tidegate.monitoring.scoring import label_numbers, score
from tidegate.monitoring.thresholds import Thresholds
from tidegate.monitoring.windows import Span, closed_spans, due_spans, read_windows, window_key
from tidegate.records.model import ModelVersion, Tensor
from tidegate.records.monitoring import Finding, Window
from tidegate.records.policy import ModelPolicy, MonitoringPolicy
from tidegate.store.ports import Bucket, Documents


@dataclass(frozen=True)
class _Rows:
    """One window's predictions with the labels that were known in time."""

    span: Span
    columns: frames.Columns
    versions: NDArray[np.int64]
    labelled: NDArray[np.bool_]
    conflicts: int

    @property
    def count(self) -> int:
        return self.versions.size


class Monitor:
    """Closes the windows of one model's prediction log and raises what they found.

    Any number of monitors may run at once: a window is written once, an alert is raised once, whoever is first. Alerts are
    written before the window, so a crash in between is made up for by the next pass.
    """

    def __init__(
        self,
        bucket: Bucket,
        documents: Documents,
        *,
        datasets: Datasets,
        models: Models,
        name: str,
        policy: ModelPolicy,
        evaluated_on: Callable[[int], str] = lambda _: "",
    ) -> None:
        """``evaluated_on`` tells for a version the snapshot that it passed the gate on; without one the policy's is taken.

        Raises:
            UsageError: the policy declares no monitoring, or a metric that its task does not have.
        """
        if policy.monitoring is None:
            raise UsageError(
                "not-monitored",
                f"the policy of {name} declares no monitoring",
                fix=f"add [models.{name}.monitoring] to tidegate.toml",
            )
        self._metrics = {metric: parse_metric(metric, policy.task) for metric in policy.monitoring.metrics}
        self._bucket = bucket
        self._documents = documents
        self._models = models
        self._name = name
        self._policy = policy
        self._evaluated_on = evaluated_on
        self._log = PredictionLog(bucket, name)
        self._labels = Labels(bucket, name)
        self._references = References(bucket, datasets=datasets, models=models, name=name, policy=policy)
        self._versions: dict[int, ModelVersion | None] = {}

    @property
    def policy(self) -> MonitoringPolicy:
        """What is declared about windows and bounds."""
        assert self._policy.monitoring is not None
        return self._policy.monitoring

    def windows(self, *, limit: int = 0) -> list[Window]:
        """The closed windows: see ``tidegate.monitoring.read_windows``."""
        return read_windows(self._bucket, self._name, limit=limit)

    def due(self, now: int) -> list[Span]:
        """The windows that ``close_windows`` would close."""
        closed = set(closed_spans(self._bucket, self._name))
        return [span for span in due_spans(self._log.days(), self.policy, now) if span not in closed]

    def close_windows(self, now: int) -> list[Window]:
        """Closes every window that is due at ``now`` (microseconds UTC) and raises its alerts; returns those that this call closed."""
        due = self.due(now)
        if not due:
            return []
        volumes = {Span(window.start, window.end): window.rows for window in self.windows(limit=EARLIER_WINDOWS)}
        thresholds = Thresholds(self._name)
        closed: list[Window] = []
        with frames.connect() as con:
            for span in due:
                earlier = [rows for other, rows in sorted(volumes.items()) if other < span]
                window = self._examine(self._read(con, span), earlier, thresholds, now)
                volumes[span] = window.rows
                for alert in alerts_of(window, now):
                    raise_alert(self._documents, alert)
                if self._bucket.put_if_absent(window_key(self._name, span), msgspec.json.encode(window)):
                    closed.append(window)
        return closed

    def _read(self, con: frames.Connection, span: Span) -> _Rows:
        # Labels count if they were known when the waiting time was over, not when this pass happens to run.
        until = span.end + parse_duration(self.policy.label_wait)
        predictions = self._log.read(con, span.start, span.end).sql_query()
        labels = self._labels.read(con, span.start, until).sql_query()
        joined = con.sql(
            f"SELECT p.*, l.prediction_id IS NOT NULL AS _labelled, l.label AS _label, l.disputed AS _disputed FROM ({predictions}) p "
            f"LEFT JOIN ({labels}) l ON l.prediction_id = p.prediction_id"
        )
        columns = frames.to_columns(joined)
        labelled = columns.pop("_labelled").astype(np.bool_)
        disputed = columns.pop("_disputed")
        return _Rows(
            span=span,
            columns=columns,
            versions=columns["version"].astype(np.int64),
            labelled=labelled,
            conflicts=int(np.count_nonzero(disputed[labelled])),
        )

    def _examine(self, rows: _Rows, earlier: list[int], thresholds: Thresholds, now: int) -> Window:
        findings = [volume_finding(rows.count, earlier, alpha=self.policy.false_alarms)]
        if rows.count:
            seconds = rows.columns["seconds"]
            findings.append(latency_finding(seconds, self.policy.latency_p99_ms, minimum_rows=self.policy.minimum_rows))
            findings += self._input_findings(rows, thresholds)
            for number in np.unique(rows.versions).tolist():
                findings += self._version_findings(rows, number, thresholds)
        else:
            findings += [_unknown("performance", metric, 0, "no predictions") for metric in self._metrics]
        return Window(
            model=self._name,
            start=rows.span.start,
            end=rows.span.end,
            versions=np.unique(rows.versions).tolist(),
            rows=rows.count,
            labelled=int(rows.labelled.sum()),
            closed_at=now,
            findings=findings,
            label_conflicts=rows.conflicts,
        )

    def _input_findings(self, rows: _Rows, thresholds: Thresholds) -> list[Finding]:
        inputs = self._inputs(rows)
        reference = self.policy.reference or (self._policy.gate.snapshot if self._policy.gate else "")
        if not inputs or not reference:
            note = "no reference is declared" if inputs else "the served versions are not registered"
            return [_unknown("input_drift", "all inputs", rows.count, note)]
        profile = self._references.profile(reference, [tensor for tensor, _ in inputs.values()])
        columns = {name: _column(rows, INPUT + name)[taken] for name, (_, taken) in inputs.items()}
        absent = [
            _unknown("input_drift", name, rows.count, f"{profile.snapshot} has no such column")
            for name in columns
            if name not in profile.columns
        ]
        return [*self._quality(profile, columns, thresholds), *absent]

    def _quality(self, profile: Profile, columns: frames.Columns, thresholds: Thresholds) -> list[Finding]:
        minimum, shared = self.policy.minimum_rows, self.policy.false_alarms / max(len(columns), 1)
        known = {name: profile.columns[name] for name in columns if name in profile.columns}
        return [
            *null_findings(known, columns, thresholds, alpha=shared / 2, minimum_rows=minimum),
            *unseen_findings(known, columns, alpha=shared / 2, minimum_rows=minimum),
            *type_findings(known, columns),
            *drift_findings("input_drift", known, columns, thresholds, alpha=shared / 2, minimum_rows=minimum),
        ]

    def _inputs(self, rows: _Rows) -> dict[str, tuple[Tensor, NDArray[np.bool_]]]:
        """Each input with the rows whose version takes it: what another version does not take is not missing there."""
        found: dict[str, tuple[Tensor, NDArray[np.bool_]]] = {}
        for number in np.unique(rows.versions).tolist():
            version = self._version(number)
            for tensor in version.manifest.signature.inputs if version else []:
                taken = found[tensor.name][1] if tensor.name in found else np.zeros(rows.count, dtype=np.bool_)
                found[tensor.name] = (tensor, taken | (rows.versions == number))
        return found

    def _version_findings(self, rows: _Rows, number: int, thresholds: Thresholds) -> list[Finding]:
        mine = rows.versions == number
        version = self._version(number)
        if version is None:
            note = f"version {number} is not registered"
            return [_unknown("performance", metric, int(mine.sum()), note, number) for metric in self._metrics]
        gate = self._policy.gate.snapshot if self._policy.gate else ""
        reference = self._evaluated_on(number) or gate or self.policy.reference
        outputs = {name.removeprefix(OUTPUT): values[mine] for name, values in rows.columns.items() if name.startswith(OUTPUT)}
        evaluation = self._references.evaluation(reference, version) if reference else None
        profiles: dict[str, ColumnProfile] = evaluation.outputs if evaluation else {}
        alpha = self.policy.false_alarms / 2 / max(len(profiles), 1)
        findings = drift_findings(
            "prediction_drift",
            profiles,
            told(outputs),
            thresholds,
            alpha=alpha,
            minimum_rows=self.policy.minimum_rows,
            version=number,
        )
        labelled = rows.labelled[mine]
        labels = label_numbers(rows.columns["_label"][mine][labelled], version.manifest.classes)
        scored = {name: values[labelled] for name, values in outputs.items()}
        note = f"labels for {labelled.sum() / max(labelled.size, 1):.1%} of {labelled.size:,} rows"
        for name, metric in self._metrics.items():
            if labels.size < self.policy.minimum_rows:
                until = format_time(rows.span.end + parse_duration(self.policy.label_wait))
                why = f"{note} by {until}, fewer than minimum_rows = {self.policy.minimum_rows}"
                findings.append(_unknown("performance", name, labels.size, why, number))
                continue
            findings.append(
                performance_finding(
                    name,
                    score(metric, self._policy.task, labels, scored),
                    evaluation.windows(name) if evaluation else [],
                    alpha=self.policy.false_alarms / len(self._metrics),
                    higher_is_better=metric.better == "higher",
                    rows=labels.size,
                    version=number,
                    note=note,
                )
            )
        return findings

    def _version(self, number: int) -> ModelVersion | None:
        if number not in self._versions:
            try:
                self._versions[number] = self._models.get(f"{self._name}@{number}")
            except NotFoundError:
                self._versions[number] = None
        return self._versions[number]


def _column(rows: _Rows, name: str) -> NDArray[Any]:
    """A column of the window; one that is not in the log is missing in every row."""
    found = rows.columns.get(name)
    return np.full(rows.count, None, dtype=object) if found is None else found


def _unknown(kind: str, subject: str, rows: int, note: str, version: int = 0) -> Finding:
    return Finding(kind=kind, subject=subject, statistic=None, bound=None, ratio=None, rows=rows, note=note, version=version)
