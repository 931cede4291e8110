"""Conformance suites, one per port, for whoever writes an implementation of it.

A suite is a class of pytest tests. Derive from it in a test module and define its fixture::

    class TestMyBucket(BucketSuite):
        @pytest.fixture
        def bucket(self, tmp_path):
            return MyBucket(tmp_path)

The suites use plain ``assert`` and import neither pytest nor anything that is not in the core.
"""

from tidegate.testing.artifacts import ArtifactIndexSuite
from tidegate.testing.bucket import BucketSuite
from tidegate.testing.documents import DocumentsSuite
from tidegate.testing.experiments import ExperimentsSuite
from tidegate.testing.formats import FormatSuite
from tidegate.testing.online import OnlineStoreSuite
from tidegate.testing.runs import RunStoreSuite
from tidegate.testing.search import SearchSuite
from tidegate.testing.series import SeriesStoreSuite
from tidegate.testing.steps import StepStoreSuite

__all__ = [
    "ArtifactIndexSuite",
    "BucketSuite",
    "DocumentsSuite",
    "ExperimentsSuite",
    "FormatSuite",
    "OnlineStoreSuite",
    "RunStoreSuite",
    "SearchSuite",
    "SeriesStoreSuite",
    "StepStoreSuite",
]
