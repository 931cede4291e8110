"""What several tests of the command line begin with."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tidegate.models import Candidate
from tidegate.workspace import Workspace


@pytest.fixture(scope="session")
def delay_project(tmp_path_factory):
    """A project with delay@1, to be copied."""
    folder = tmp_path_factory.mktemp("delay")
    matrix = np.random.default_rng(0).normal(size=(50, 3))
    estimator = LogisticRegression().fit(matrix, matrix[:, 0] > 0)
    workspace = Workspace.open(folder)
    workspace.register(Candidate("delay", estimator, matrix, "binary", description="three numbers"))
    workspace.store.close()
    return folder
