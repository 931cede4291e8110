"""The bucket's suite against a real S3 server."""

import pytest

from tidegate.store.bucket import CloudBucket
from tidegate.testing import BucketSuite


class TestS3Bucket(BucketSuite):
    @pytest.fixture
    def bucket(self, s3_url, tmp_path):
        return CloudBucket(s3_url, tmp_path / "cache", patience_s=20)
