"""A store with a promoted model, and servers over it."""

from __future__ import annotations

import shutil
import signal

import numpy as np
import pandas as pd
import pytest
from serving_shop import Server, Shop
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


@pytest.fixture(scope="session")
def estimators():
    """Two models of the same inputs: the second says the opposite of the first."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {"wind": rng.normal(10, 4, 300), "seats": rng.integers(50, 300, 300), "carrier": rng.choice(["AA", "UA"], 300)}
    )
    table.loc[::9, "wind"] = np.nan
    label = ((table["wind"].fillna(10) > 10) ^ (table["carrier"] == "UA")).astype(int)
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encode = make_column_transformer((numbers, ["wind", "seats"]), (OneHotEncoder(handle_unknown="ignore"), ["carrier"]))
    return table, [make_pipeline(encode, LogisticRegression()).fit(table, answer) for answer in (label, 1 - label)]


@pytest.fixture(scope="session")
def _stocked(tmp_path_factory, estimators):
    return Shop(tmp_path_factory.mktemp("stocked") / "store", estimators)


@pytest.fixture
def shop(tmp_path, estimators, _stocked):
    """A store of its own with two versions; the first is promoted."""
    shutil.copytree(_stocked.root, tmp_path / "store")
    shop = Shop(tmp_path / "store", estimators, _stocked.versions)
    shop.promote(shop.versions[0])
    return shop


@pytest.fixture
def server(shop, tmp_path):
    started = []

    def start(*extra, **more):
        started.append(Server(shop.root, *extra, folder=tmp_path, **more))
        return started[-1]

    yield start
    for each in started:
        each.stop(signal.SIGKILL)
