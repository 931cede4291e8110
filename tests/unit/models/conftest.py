"""Real estimators on a small, honest table: numbers with gaps, whole numbers, text, and a label that they explain."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from tidegate.models import Candidate, Models

ROWS = 400


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Small fits on shared cores: pools of threads would only wait for each other."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="session")
def flights():
    rng = np.random.default_rng(7)
    table = pd.DataFrame(
        {
            "wind": rng.normal(10, 4, ROWS),
            "seats": rng.integers(50, 300, ROWS),
            "previous_delay": rng.normal(0, 20, ROWS),
            "carrier": rng.choice(["AA", "UA", "DL"], ROWS),
        }
    )
    table.loc[::7, "previous_delay"] = np.nan
    return table


@pytest.fixture(scope="session")
def late(flights):
    score = flights["previous_delay"].fillna(0) + (flights["carrier"] == "UA") * 10 + flights["wind"] - 12
    return (score > 0).astype(int)


def logistic(*, unknown="ignore"):
    return make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), ["wind", "seats", "previous_delay"]),
            (OneHotEncoder(handle_unknown=unknown), ["carrier"]),
        ),
        LogisticRegression(),
    )


@pytest.fixture(scope="session")
def fitted(flights, late):
    return logistic().fit(flights, late)


@pytest.fixture(scope="session")
def strict(flights, late):
    """It was told to refuse a carrier that it has never seen."""
    return logistic(unknown="error").fit(flights, late)


@pytest.fixture(scope="session")
def boosted(flights, late):
    return HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(flights[["wind", "seats", "previous_delay"]], late)


@pytest.fixture(scope="session")
def categorical(flights, late):
    """Gradient boosting with a categorical column: the converter gets it wrong, so it stays native."""
    from sklearn.preprocessing import OrdinalEncoder

    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), ["carrier"]), remainder="passthrough"
    )
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features=[0], random_state=0)
    return make_pipeline(encode, model).fit(flights, late)


@pytest.fixture
def candidate(fitted, flights):
    return Candidate("delay", fitted, flights, "binary", description="logistic regression", trained_on=["flights@1"])


@pytest.fixture
def models(store, clock):
    return Models(store.bucket, store.catalog, clock, author="ana")


@pytest.fixture
def columns(flights):
    return {name: flights[name].to_numpy() for name in flights}
