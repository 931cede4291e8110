import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tidegate.models import Candidate
from tidegate.models.formats import find_format
from tidegate.testing import FormatSuite


def boosted():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"carrier": rng.choice(["AA", "UA"], 300), "distance": rng.normal(size=300).astype(np.float32)})
    texts = ColumnTransformer(
        [("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"])], remainder="passthrough"
    )
    estimator = make_pipeline(texts, HistGradientBoostingClassifier(max_iter=5)).fit(rows, rows["distance"] > 0)
    return Candidate("delay", estimator, rows, task="binary")


def linear():
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    return Candidate("minutes", LinearRegression().fit(rows, rows.sum(axis=1)), rows, task="regression")


@pytest.mark.parametrize("candidate", [boosted(), linear()], ids=["boosted", "linear"])
class TestOnnx(FormatSuite):
    @pytest.fixture
    def model_format(self):
        return find_format("onnx")


@pytest.mark.parametrize("candidate", [boosted(), linear()], ids=["boosted", "linear"])
class TestSkops(FormatSuite):
    @pytest.fixture
    def model_format(self):
        return find_format("skops")
