"""The shipped suites, run on every implementation in the house."""

import pytest

from tidegate.store.bucket import FolderBucket
from tidegate.testing import BucketSuite, DocumentsSuite, OnlineStoreSuite, RunStoreSuite, StepStoreSuite


class TestFolderBucket(BucketSuite):
    @pytest.fixture
    def bucket(self, tmp_path):
        return FolderBucket(tmp_path / "bucket")


class TestSqliteRuns(RunStoreSuite):
    @pytest.fixture
    def runs(self, store):
        return store.runs


class TestSqliteDocuments(DocumentsSuite):
    @pytest.fixture
    def documents(self, store):
        return store.documents


class TestSqliteSteps(StepStoreSuite):
    @pytest.fixture
    def steps(self, store):
        return store.steps


class TestSqliteOnline(OnlineStoreSuite):
    @pytest.fixture
    def online(self, store):
        return store.online
