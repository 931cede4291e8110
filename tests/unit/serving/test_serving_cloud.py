"""Serving from a bucket on S3: the process opens nothing else."""

import pytest
from serving_shop import Server, Shop, tensors


@pytest.fixture
def shop(estimators, s3_url, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return Shop(s3_url, estimators)


def test_a_server_follows_the_pointer_in_the_bucket(shop, s3_url, tmp_path):
    first, second = shop.versions
    shop.promote(first)
    server = Server(tmp_path / "elsewhere", "--bucket", s3_url, folder=tmp_path)
    try:
        status, before = server.infer()
        assert (status, server.line.split()[1]) == (200, "delay@1")
        shop.promote(second)
        server.wait(lambda: b'"version":2' in server.get("/health")[1].replace(b" ", b""))
        status, after = server.infer()
        assert status == 200
        assert before != after
    finally:
        code, errors = server.stop()
    assert (code, errors) == (0, "")
    assert not (tmp_path / "elsewhere" / "metadata.db").exists()
    assert list((tmp_path / "elsewhere" / "cache").iterdir())
    assert list(shop.bucket.keys("monitoring/delay/"))


def test_the_application_answers_from_the_bucket(shop, s3_server):
    shop.promote(shop.versions[0])
    _, follower, _ = shop.app()
    shop.promote(shop.versions[1])
    follower.look()
    assert (follower.handle.version, follower.problem) == (shop.versions[1], "")
    assert tensors()
