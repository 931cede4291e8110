"""How the models of flight delay are trained: plain functions, from snapshots to a candidate.

    tidegate pipeline run pipelines:schedule      the first model: timetable and weather
    tidegate pipeline run pipelines:live          the second: also what is going on right now
    tidegate pipeline run pipelines:retrain --param now=2013-07-02

``peeking`` and ``misjoined`` are two ways to fool yourself. They are here to be stopped by the gate.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from evaluation import HELD_OUT
from features import CATEGORIES, LIVE_INPUTS, SCHEDULE_INPUTS, VIEWS, labelled_rows
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from tidegate import Candidate, Dataset, frames, pipeline, step

START = "2013-01-01"
EXAMPLE_ROWS = 2000
TREES: dict[str, Any] = {
    "max_iter": 100,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 200,
    "l2_regularization": 5.0,
    "early_stopping": False,
    "random_state": 0,
}

Table: TypeAlias = Path | Dataset
"""A dataset where a pipeline names it, the local path of its table where a step runs."""


@step
def training_rows(flights: Table, weather: Table, *, start: str, until: str) -> pd.DataFrame:
    """One row per flight with its features as known when asked and its label, for labels known at ``until``."""
    with frames.connect() as con:
        rows = labelled_rows(con, flights, weather, start=start, until=until)
        return rows.df()[["flight_id", "asked_at", "tailnum", *LIVE_INPUTS, "dep_delay", "late"]]


@step
def fit_schedule(rows: pd.DataFrame) -> Candidate:
    """A logistic regression on the timetable and the weather."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    estimator = _with_categories(SCHEDULE_INPUTS, numbers, LogisticRegression(max_iter=500))
    return _fitted(estimator, rows, SCHEDULE_INPUTS, "logistic regression: timetable, weather")


@step
def fit_live(rows: pd.DataFrame, *, description: str = "boosted trees: timetable, weather, recent delays") -> Candidate:
    """Boosted trees on everything that is known an hour before."""
    return _fitted(_trees(LIVE_INPUTS), rows, LIVE_INPUTS, description)


@step
def fit_peeking(rows: pd.DataFrame) -> Candidate:
    """Boosted trees that also see the delay at departure: nobody knows it an hour before."""
    inputs = [*LIVE_INPUTS, "dep_delay"]
    return _fitted(_trees(inputs), rows, inputs, "boosted trees that peek at the departure delay")


@step
def misjoin(rows: pd.DataFrame) -> pd.DataFrame:
    """A classic: features sorted by aircraft, pasted beside flights sorted by time, by position instead of by key."""
    features = [name for view in VIEWS for name in view.names]
    by_aircraft = rows.sort_values(["tailnum", "asked_at"])
    return rows.assign(**{name: by_aircraft[name].to_numpy() for name in features})


@pipeline
def schedule(
    flights: Dataset = Dataset("flights@latest"),
    weather: Dataset = Dataset("weather@latest"),
    start: str = START,
    until: str = "2013-05-01",
) -> Candidate:
    """The first model."""
    return fit_schedule(training_rows(flights, weather, start=start, until=until))


@pipeline
def live(
    flights: Dataset = Dataset("flights@latest"),
    weather: Dataset = Dataset("weather@latest"),
    start: str = START,
    until: str = "2013-05-01",
) -> Candidate:
    """The second model."""
    return fit_live(training_rows(flights, weather, start=start, until=until))


@pipeline
def retrain(
    now: str,
    flights: Dataset = Dataset("flights@latest"),
    weather: Dataset = Dataset("weather@latest"),
    start: str = START,
) -> Candidate:
    """The second model again, on everything up to two weeks before ``now`` (ISO 8601)."""
    until = (datetime.fromisoformat(now).replace(tzinfo=None) - HELD_OUT).isoformat(sep=" ")
    return fit_live(training_rows(flights, weather, start=start, until=until))


@pipeline
def peeking(
    flights: Dataset = Dataset("flights@latest"),
    weather: Dataset = Dataset("weather@latest"),
    start: str = START,
    until: str = "2013-05-01",
) -> Candidate:
    """INVALID at the gate: an input is not available at prediction time."""
    return fit_peeking(training_rows(flights, weather, start=start, until=until))


@pipeline
def misjoined(
    flights: Dataset = Dataset("flights@latest"),
    weather: Dataset = Dataset("weather@latest"),
    start: str = START,
    until: str = "2013-05-01",
) -> Candidate:
    """FAIL at the gate: trained on other flights' features."""
    rows = misjoin(training_rows(flights, weather, start=start, until=until))
    return fit_live(rows, description="boosted trees on a broken join")


def _trees(inputs: list[str]) -> Pipeline:
    return _with_categories(inputs, "passthrough", HistGradientBoostingClassifier(**TREES))


def _with_categories(inputs: list[str], numbers: object, model: object) -> Pipeline:
    """Texts as one column per value (none for a value that training never saw), numbers through ``numbers``, then the model."""
    rest = [name for name in inputs if name not in CATEGORIES]
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(ColumnTransformer([("texts", texts, CATEGORIES), ("numbers", numbers, rest)]), model)


def _fitted(estimator: Pipeline, rows: pd.DataFrame, inputs: list[str], description: str) -> Candidate:
    """Fits in single precision, which is what the compiled model computes in."""
    numbers = {name: np.float32 for name in inputs if name not in CATEGORIES}
    table = rows[inputs].astype(numbers)
    # One thread: the same bits everywhere, and on a busy machine ten times faster than threads that wait for each other.
    with threadpool_limits(limits=1):
        estimator.fit(table, rows["late"])
    example = table.sample(min(EXAMPLE_ROWS, len(table)), random_state=0)
    return Candidate("delay", estimator, example, task="binary", description=description)
