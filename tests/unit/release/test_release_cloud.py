"""Promoting and rolling back from a bucket on S3 alone."""

import pytest
from conftest_release_house import POLICY, House

from tidegate.errors import TidegateError
from tidegate.release import read_pointer, verify_ledger
from tidegate.store.bucket import CloudBucket, open_bucket
from tidegate.testing.expecting import at_once


@pytest.fixture
def cloud(s3_url, tmp_path):
    return House(open_bucket(s3_url, tmp_path / "cache"))


def test_promoting_and_rolling_back_need_the_bucket_alone(cloud, s3_url, tmp_path):
    cloud.champion(1)
    cloud.champion(2)
    cloud.release("ana").rollback("delay", reason="drill")
    elsewhere = CloudBucket(s3_url, tmp_path / "another machine")
    assert read_pointer(elsewhere, "delay").champion.version == 1
    assert verify_ledger(elsewhere, "delay") == []


def test_of_eight_promoters_one_wins(cloud, s3_url, tmp_path):
    cloud.champion(1)
    for number in range(2, 10):
        cloud.ready(number)
    won, refused = [], []

    def promote(number):
        house = House(CloudBucket(s3_url, tmp_path / str(number)))
        try:
            house.release("ana").promote("delay", number + 2, policy=POLICY)
            won.append(number + 2)
        except TidegateError as error:
            refused.append(error)

    at_once(8, promote)
    assert (len(won), len(refused)) == (1, 7)
    assert {error.code for error in refused} == {"pointer-moved"}
    assert read_pointer(cloud.bucket, "delay").champion.version == won[0]
    assert verify_ledger(cloud.bucket, "delay") == []
