"""The shipped suites, run on every implementation in the house."""

import pytest

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


class TestFolderBucket(BucketSuite):
    @pytest.fixture
    def bucket(self, tmp_path):
        return FolderBucket(tmp_path / "bucket")


class TestSqlArtifacts(ArtifactIndexSuite):
    @pytest.fixture
    def artifacts(self, any_store):
        return any_store.artifacts


class TestSqlDocuments(DocumentsSuite):
    @pytest.fixture
    def documents(self, any_store):
        return any_store.documents


class TestSqlExperiments(ExperimentsSuite):
    @pytest.fixture
    def experiments(self, any_store):
        return any_store.experiments

    @pytest.fixture
    def runs(self, any_store):
        return any_store.runs


class TestSqlOnline(OnlineStoreSuite):
    @pytest.fixture
    def online(self, any_store):
        return any_store.online


class TestSqlRuns(RunStoreSuite):
    @pytest.fixture
    def runs(self, any_store):
        return any_store.runs


class TestSqlSeries(SeriesStoreSuite):
    @pytest.fixture
    def series(self, any_store):
        return any_store.series

    @pytest.fixture
    def runs(self, any_store):
        return any_store.runs


class TestSqlSteps(StepStoreSuite):
    @pytest.fixture
    def steps(self, any_store):
        return any_store.steps


class TestSqlSearch(SearchSuite):
    @pytest.fixture
    def runs(self, any_store):
        return any_store.runs

    @pytest.fixture
    def series(self, any_store):
        return any_store.series
