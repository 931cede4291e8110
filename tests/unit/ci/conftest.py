"""A forge on loopback, and no variables of a CI that the tests themselves run in."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from forge_server import ForgeServer


@pytest.fixture
def forge():
    server = ForgeServer()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _no_ci_around(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("GITHUB_", "GITLAB_", "CI_", "CIRCLE", "JENKINS_", "CHANGE_", "GIT_COMMIT", "BUILD_URL")):
            monkeypatch.delenv(name)
