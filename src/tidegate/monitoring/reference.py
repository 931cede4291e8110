"""What healthy looks like: profiles and metrics of the reference's own temporal windows, computed once and kept in the bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate import digest, frames
from tidegate import digest as digests
from tidegate.clock import DAY
from tidegate.data import Datasets
from tidegate.gate.metrics import parse_metric
from tidegate.models import Models
from tidegate.monitoring.performance import WindowMetric, window_metric
from tidegate.monitoring.profile import ColumnProfile, Profile, profile_column, window_index
from tidegate.monitoring.scoring import label_numbers, score
from tidegate.monitoring.windows import MONDAY, window_length
from tidegate.records.dataset import Snapshot
from tidegate.records.model import ModelVersion, Tensor
from tidegate.records.policy import ModelPolicy
from tidegate.store.ports import Bucket

ENOUGH_WINDOWS = 4
"""A reference with fewer windows of the policy's length is cut into days instead."""

_Record = TypeVar("_Record", bound=msgspec.Struct)


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One version on a reference: per metric the value and standard error of each temporal window, and its outputs' profiles."""

    snapshot: str
    metrics: dict[str, list[list[float]]]
    outputs: dict[str, ColumnProfile]

    def windows(self, metric: str) -> list[WindowMetric]:
        """The metric's windows."""
        return [WindowMetric(value, error) for value, error in self.metrics.get(metric, [])]


class References:
    """Profiles of snapshots and evaluations of versions on them. What was computed once is read from the bucket."""

    def __init__(self, bucket: Bucket, *, datasets: Datasets, models: Models, name: str, policy: ModelPolicy) -> None:
        self._bucket = bucket
        self._datasets = datasets
        self._models = models
        self._name = name
        self._policy = policy

    def profile(self, ref: str, inputs: Sequence[Tensor]) -> Profile:
        """The profile of a snapshot's columns that are inputs; columns that it does not have are absent."""
        assert self._policy.monitoring is not None
        snapshot = self._datasets.get(ref)
        wanted = sorted((tensor.name, tensor.dtype == "string") for tensor in inputs)
        cut = [self._policy.monitoring.time, window_length(self._policy.monitoring)]
        key = digest.of_json(["profile", snapshot.digest, wanted, cut])
        return self._kept(key, Profile) or self._keep(key, self._profile(snapshot, dict(wanted)))

    def evaluation(self, ref: str, version: ModelVersion) -> Evaluation:
        """What the version does on a labelled snapshot, window by window.

        Raises:
            BadInputError: the snapshot lacks an input of the model.
        """
        assert self._policy.monitoring is not None
        monitoring = self._policy.monitoring
        snapshot = self._datasets.get(ref)
        cut = [monitoring.time, window_length(monitoring), sorted(monitoring.metrics), self._label]
        key = digest.of_json(["evaluation", snapshot.digest, version.digest, cut])
        return self._kept(key, Evaluation) or self._keep(key, self._evaluation(snapshot, version))

    @property
    def _label(self) -> str:
        return self._policy.gate.label if self._policy.gate else ""

    def _profile(self, snapshot: Snapshot, wanted: Mapping[str, bool]) -> Profile:
        columns = self._columns(snapshot, list(wanted))
        windows = self._windows(columns)
        profiles = {
            name: profile_column(name, columns[name], windows, text=text) for name, text in wanted.items() if name in columns
        }
        return Profile(snapshot=snapshot.ref, rows=windows.size, windows=_count(windows), columns=profiles)

    def _evaluation(self, snapshot: Snapshot, version: ModelVersion) -> Evaluation:
        assert self._policy.monitoring is not None
        columns = self._columns(snapshot, [*version.manifest.signature.input_names, self._label])
        predictor = self._models.load(version, allow_code=self._policy.serving.allow_code)
        outputs = scalar_outputs(
            predictor.predict({name: columns[name] for name in version.manifest.signature.input_names if name in columns})
        )
        windows = self._windows(columns)
        metrics: dict[str, list[list[float]]] = {}
        if self._label in columns:
            labels = label_numbers(columns[self._label], version.manifest.classes)
            for name in self._policy.monitoring.metrics:
                metrics[name] = self._metric(name, labels, outputs, windows)
        profiles = {
            name: profile_column(name, values, windows, text=_is_text(name, values)) for name, values in told(outputs).items()
        }
        return Evaluation(snapshot=snapshot.ref, metrics=metrics, outputs=profiles)

    def _metric(
        self, name: str, labels: NDArray[np.float64], outputs: Mapping[str, NDArray[Any]], windows: NDArray[np.int64]
    ) -> list[list[float]]:
        metric = parse_metric(name, self._policy.task)
        found: list[list[float]] = []
        for number in range(_count(windows)):
            rows = (windows == number) & ~np.isnan(labels)
            estimate = score(metric, self._policy.task, labels[rows], {key: values[rows] for key, values in outputs.items()})
            measured = window_metric(estimate)
            if measured is not None:
                found.append([measured.value, measured.error])
        return found

    def _columns(self, snapshot: Snapshot, names: Sequence[str]) -> frames.Columns:
        assert self._policy.monitoring is not None
        with frames.connect() as con:
            rows = self._datasets.read(con, snapshot)
            wanted = [name for name in dict.fromkeys([*names, self._policy.monitoring.time]) if name in rows.columns]
            return frames.to_columns(rows.project(", ".join(map(frames.quote, wanted)))) if wanted else {}

    def _windows(self, columns: frames.Columns) -> NDArray[np.int64]:
        """Each row's temporal window; all rows are one window where there is no time."""
        assert self._policy.monitoring is not None
        times = columns.get(self._policy.monitoring.time)
        rows = len(next(iter(columns.values()))) if columns else 0
        if times is None or times.dtype.kind != "M" or np.isnat(times).any():
            return np.zeros(rows, dtype=np.int64)
        length = window_length(self._policy.monitoring)
        whole = window_index(times, length, MONDAY if length % (7 * DAY) == 0 else 0)
        return whole if _count(whole) >= ENOUGH_WINDOWS else window_index(times, DAY, 0)

    def _kept(self, key: str, kind: type[_Record]) -> _Record | None:
        blob = self._bucket.find(self._key(key))
        return digests.parsed(blob.data, kind) if blob else None

    def _keep(self, key: str, record: _Record) -> _Record:
        self._bucket.put_if_absent(self._key(key), msgspec.json.encode(record))
        return record

    def _key(self, key: str) -> str:
        return f"monitoring/{self._name}/reference/{key}.json"


def scalar_outputs(outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The outputs with one value per row, flat."""
    return {name: values.reshape(-1) for name, values in outputs.items() if values.ndim == 1 or values.shape[1:] == (1,)}


def told(outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The outputs that say everything: a label adds nothing to the probability that it is made of."""
    return {name: values for name, values in outputs.items() if name != "label" or "probability" not in outputs}


def _is_text(name: str, values: NDArray[Any]) -> bool:
    return name == "label" or values.dtype.kind not in "biuf"


def _count(windows: NDArray[np.int64]) -> int:
    return int(windows.max()) + 1 if windows.size else 0
