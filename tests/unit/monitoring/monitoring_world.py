"""A small world: a logistic model, its reference of eight weeks, and streams of predictions that are healthy or not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tidegate.clock import DAY, HOUR, Clock, parse_time
from tidegate.data import Datasets
from tidegate.models import Candidate, Models
from tidegate.monitoring import Labels, Monitor, PredictionLog
from tidegate.records.policy import GatePolicy, ModelPolicy, MonitoringPolicy, Rule
from tidegate.records.serving import Prediction
from tidegate.store import Store, open_store

MONDAY = parse_time("2013-06-03T00:00:00+00:00")
REFERENCE_START = MONDAY - 56 * DAY
CARRIERS = np.array(["AA", "B6", "DL", "UA"], dtype=object)
WEIGHTS = np.array([1.5, -1.0])


@dataclass
class Stream:
    """Events with their inputs and labels; a test may spoil them before they are served."""

    times: NDArray[np.int64]
    inputs: dict[str, NDArray[Any]]
    labels: NDArray[np.int64]
    odds: NDArray[np.float64]


def make_stream(rng: np.random.Generator, rows: int, start: int, days: int) -> Stream:
    """A healthy stream: two numbers and a text, of which the model knows what is to be known."""
    times = np.sort(rng.integers(0, days * DAY, rows)) + start
    x = rng.normal(size=(rows, 2))
    carrier = CARRIERS[rng.integers(0, 4, rows)]
    odds = x @ WEIGHTS - 0.5
    labels = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    return Stream(times, {"wind": x[:, 0], "rain": x[:, 1], "carrier": carrier}, labels, odds)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model delay@1 and the snapshot flights@1."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    folder = tmp_path_factory.mktemp("world") / "store"
    store = open_store(folder)
    clock = Clock.replay(MONDAY)
    rng = np.random.default_rng(7)
    past = make_stream(rng, 4000, REFERENCE_START - 60 * DAY, 60)
    encode = make_column_transformer((OneHotEncoder(), ["carrier"]), remainder="passthrough")
    frame = pl.DataFrame(past.inputs)
    estimator = make_pipeline(encode, LogisticRegression()).fit(frame, past.labels)
    Models(store.bucket, store.catalog, clock, "ann").register(Candidate("delay", estimator, frame.head(200), "binary"))
    reference = make_stream(rng, 8000, REFERENCE_START, 56)
    columns = {**reference.inputs, "time": reference.times.astype("datetime64[us]"), "late": reference.labels}
    Datasets(store.bucket, store.catalog, clock, "ann").snapshot(columns, "flights")
    store.close()
    return folder


POLICY = ModelPolicy(
    task="binary",
    gate=GatePolicy(snapshot="flights@1", label="late", rules=[Rule(metric="log_loss", test="floor", value=0.7)]),
    monitoring=MonitoringPolicy(window="1w", label_wait="1d", metrics=["log_loss"], time="time", minimum_rows=100),
)


@dataclass
class World:
    """The store of one test, and how predictions come into it."""

    store: Store
    datasets: Datasets
    models: Models
    policy: ModelPolicy = POLICY

    def monitor(self, **changes: Any) -> Monitor:
        """A monitor, with changes to the monitoring policy."""
        monitoring = msgspec.structs.replace(self.policy.monitoring, **changes)
        policy = msgspec.structs.replace(self.policy, monitoring=monitoring)
        return Monitor(
            self.store.bucket, self.store.documents, datasets=self.datasets, models=self.models, name="delay", policy=policy
        )

    def serve(self, stream: Stream, *, version: int = 1, labelled: bool = True, lag: int = 3 * HOUR, tag: str = "p") -> None:
        """Predicts a stream, logs it, and brings its labels after a lag."""
        known = {name: values for name, values in stream.inputs.items() if not any(value is None for value in values)}
        complete = {name: known.get(name, np.where(values == None, "AA", values)) for name, values in stream.inputs.items()}  # noqa: E711
        answers = self.models.load("delay@1").predict(complete)["probability"].reshape(-1)
        ids = [f"{tag}-{version}-{time}-{place}" for place, time in enumerate(stream.times.tolist())]
        columns = {name: values.tolist() for name, values in stream.inputs.items()}
        rows = [
            Prediction(
                id=ids[place], model="delay", version=version, event_at=time, served_at=time, seconds=0.004,
                inputs={name: values[place] for name, values in columns.items()},
                outputs={"probability": float(answers[place]), "label": int(answers[place] > 0.5)},
            )
            for place, time in enumerate(stream.times.tolist())
        ]  # fmt: skip
        PredictionLog(self.store.bucket, "delay").append(rows)
        if labelled:
            Labels(self.store.bucket, "delay").add(
                {
                    "prediction_id": np.array(ids, dtype=object),
                    "label": stream.labels,
                    "known_at": (stream.times + lag).astype("datetime64[us]"),
                }
            )


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Iterator[World]:
    """A fresh copy of the template."""
    folder = tmp_path / "store"
    shutil.copytree(template, folder)
    store = open_store(folder)
    clock = Clock.replay(MONDAY)
    yield World(store, Datasets(store.bucket, store.catalog, clock, "ann"), Models(store.bucket, store.catalog, clock, "ann"))
    store.close()
