from __future__ import annotations

import json
import shutil
import threading
import time

import msgspec
import pytest
from serving_shop import call, tensors

from tidegate.errors import NotFoundError, UnavailableError
from tidegate.records.ledger import RolloutStarted
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.follow import Follower
from tidegate.store.objects import object_key


def test_nothing_promoted_is_a_clear_error(shop):
    with pytest.raises(NotFoundError, match="nothing-promoted"):
        Follower(shop.bucket, "other")


def test_the_pointer_is_followed_there_and_back(shop):
    first, second = shop.versions
    follower = Follower(shop.bucket, "delay")
    before = follower.handle
    follower.look()
    assert follower.handle is before
    shop.promote(second)
    follower.look()
    assert (follower.handle.version, follower.swaps, follower.problem) == (second, 1, "")
    shop.promote(first)
    follower.look()
    assert follower.handle is before  # the one before was kept: a rollback loads nothing
    assert follower.swaps == 2


def test_a_request_keeps_the_version_that_it_began_with(shop):
    app, follower, _ = shop.app()
    handle = follower.handle
    shop.promote(shop.versions[1])
    follower.look()
    answer = handle.predictor.predict({"wind": [12.5], "seats": [100], "carrier": ["UA"]})
    assert answer["label"].shape == (1,)
    assert call(app, "/v2/models/delay/versions/2/infer", {"inputs": tensors()})[0] == 200


@pytest.mark.parametrize("harm", ["missing", "changed", "wrong digest", "absent version"])
def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving(shop, harm):
    first, second = shop.versions
    app, follower, _ = shop.app()
    path = shop.bucket.local(object_key(second.manifest.files[0].digest))
    if harm == "missing":
        path.unlink()
    elif harm == "changed":
        path.chmod(0o644)
        path.write_bytes(b"something else")
    elif harm == "absent version":
        shutil.rmtree(shop.root / "bucket/models/delay/versions/2")
    shop.promote(second, digest="0" * 64 if harm == "wrong digest" else None)
    follower.look()
    follower.look()
    assert follower.handle.version == first
    assert follower.problem
    assert call(app, "/v2/models/delay/infer", {"inputs": tensors()})[0] == 200
    health = call(app, "/health")[2].decode()
    assert '"status":"degraded"' in health
    assert '"pointer":2' in health
    assert 'model_pointer_behind{model="delay"} 1.0' in call(app, "/metrics")[2].decode()
    shop.promote(first)
    follower.look()
    assert follower.problem == ""


def test_the_bucket_may_go_away(shop):
    follower = Follower(shop.bucket, "delay")

    class Away:
        def __getattr__(self, name):
            def refuse(*_arguments):
                raise UnavailableError("bucket-unavailable", "the bucket cannot be reached")

            return refuse

    bucket, follower._bucket = follower._bucket, Away()
    follower.look()
    assert "bucket-unavailable" in follower.problem
    assert follower.handle.version == shop.versions[0]
    follower._bucket = bucket
    shop.promote(shop.versions[1])
    follower.look()
    assert (follower.handle.version, follower.problem) == (shop.versions[1], "")


def test_what_is_gone_while_it_serves_is_told(shop):
    app, follower, _ = shop.app()
    (shop.root / "bucket").rename(shop.root / "away")
    follower.look()
    assert "nothing-promoted" in follower.problem
    assert (follower.handle.version, follower.wanted) == (shop.versions[0], 1)
    assert call(app, "/v2/models/delay/infer", {"inputs": tensors()})[0] == 200
    (shop.root / "away").rename(shop.root / "bucket")
    follower.look()
    assert follower.problem == ""


def test_a_bucket_that_does_not_answer_is_told_while_it_is_waited_for(shop, monkeypatch):
    follower = Follower(shop.bucket, "delay")
    monkeypatch.setattr("tidegate.serving.follow.SILENT_SECONDS", 0.01)

    class Hanging:
        def __init__(self):
            self.asked, self.answer = threading.Event(), threading.Event()

        def find(self, key):
            self.asked.set()
            self.answer.wait(10)
            return shop.bucket.find(key)

    follower._bucket = hanging = Hanging()
    looking = threading.Thread(target=follower.look)
    looking.start()
    hanging.asked.wait(10)
    time.sleep(0.02)
    assert "bucket-unavailable" in follower.problem
    hanging.answer.set()
    looking.join()
    assert follower.problem == ""


def test_a_candidate_that_cannot_be_loaded_degrades_the_server(shop):
    app, follower, _ = shop.app()
    second = shop.versions[1]
    shutil.rmtree(shop.root / "bucket/models/delay/versions/2")
    plan = msgspec.to_builtins(RolloutPolicy(mode="canary"))
    event = RolloutStarted(version=2, digest=second.digest, receipt="r", plan=plan)
    shop.ledger.append("delay", lambda _: event)
    follower.look()
    follower.look()
    health = json.loads(call(app, "/health")[2])
    assert (health["status"], follower.problem) == ("degraded", "")
    assert "no-such-version" in health["models"][0]["rollout"]["problem"]
    follower.stop()
