"""The shipped suites on the ports behind a server: a real one, in a thread of its own, on loopback."""

import socket
import threading
import time
from dataclasses import replace

import pytest
import uvicorn
from starlette.applications import Starlette

from tidegate.server.native import native_routes
from tidegate.store import open_remote, open_store
from tidegate.store.bucket import FolderBucket
from tidegate.testing import (
    ArtifactIndexSuite,
    BucketSuite,
    DocumentsSuite,
    ExperimentsSuite,
    OnlineStoreSuite,
    RunStoreSuite,
    SearchSuite,
    SeriesStoreSuite,
    StepStoreSuite,
)


@pytest.fixture
def behind(tmp_path):
    """The ports of a store behind a server."""
    served = replace(open_store(tmp_path / "store"), bucket=FolderBucket(tmp_path / "values"))
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=native_routes(served))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    store = open_remote(tmp_path / "client", f"http://127.0.0.1:{listener.getsockname()[1]}")
    yield store
    store.close()
    server.should_exit = True
    thread.join()
    listener.close()
    served.close()


class TestRemoteBucket(BucketSuite):
    @pytest.fixture
    def bucket(self, behind):
        return behind.bucket


class TestRemoteRuns(RunStoreSuite):
    @pytest.fixture
    def runs(self, behind):
        return behind.runs


class TestRemoteDocuments(DocumentsSuite):
    @pytest.fixture
    def documents(self, behind):
        return behind.documents


class TestRemoteSteps(StepStoreSuite):
    @pytest.fixture
    def steps(self, behind):
        return behind.steps


class TestRemoteOnline(OnlineStoreSuite):
    @pytest.fixture
    def online(self, behind):
        return behind.online


class TestRemoteExperiments(ExperimentsSuite):
    @pytest.fixture
    def experiments(self, behind):
        return behind.experiments

    @pytest.fixture
    def runs(self, behind):
        return behind.runs


class TestRemoteSeries(SeriesStoreSuite):
    @pytest.fixture
    def series(self, behind):
        return behind.series

    @pytest.fixture
    def runs(self, behind):
        return behind.runs


class TestRemoteArtifacts(ArtifactIndexSuite):
    @pytest.fixture
    def artifacts(self, behind):
        return behind.artifacts


class TestRemoteSearch(SearchSuite):
    @pytest.fixture
    def runs(self, behind):
        return behind.runs

    @pytest.fixture
    def series(self, behind):
        return behind.series
