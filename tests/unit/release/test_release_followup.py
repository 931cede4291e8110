"""What follows an entry comes after it, and never in its way."""

import subprocess
import sys
import threading
import time

import pytest
from conftest_release_house import POLICY

from tidegate.clock import Clock
from tidegate.notices import DeliveryError, Outbox
from tidegate.records.ledger import Frozen
from tidegate.release import Checkpoints, FollowUp, Release
from tidegate.release.checkpoints import BucketPlace
from tidegate.release.followup import notice_of
from tidegate.release.ledger import append
from tidegate.store.bucket import open_bucket

KEY = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
"""
"""Ed25519, thirty-two bytes that count from 0."""


class Target:
    id = name = "here"

    def __init__(self):
        self.got, self.hold, self.down = [], threading.Event(), False
        self.hold.set()

    def send(self, notice):
        self.hold.wait(10)
        if self.down:
            raise DeliveryError("down")
        self.got.append(notice)


class Scene:
    def __init__(self, house, tmp_path):
        self.house, self.target = house, Target()
        self.place = BucketPlace(str(tmp_path / "elsewhere"))
        self.follow = self.another()

    def another(self):
        checkpoints = Checkpoints(self.house.bucket, Clock(lambda: self.house.now), [self.place], KEY)
        return FollowUp(self.house.bucket, checkpoints, Outbox(self.house.bucket, Clock(lambda: self.house.now), [self.target]))

    def release(self, actor):
        return Release(self.house.bucket, Clock(lambda: self.house.now, "replay"), actor, after=self.follow.after)

    def told(self):
        return [notice.type for notice in self.target.got]


@pytest.fixture
def scene(house, tmp_path):
    return Scene(house, tmp_path)


def test_a_move_is_checkpointed_and_told(scene):
    scene.house.ready(1)
    scene.release("ana").promote("delay", 1, policy=POLICY)
    assert scene.follow.wait()
    assert [seq for seq, _ in scene.place.read("delay")] == [4]
    assert scene.told() == ["release.promoted"]
    notice = scene.target.got[0]
    assert (notice.data["model"], notice.data["version"], notice.data["entry"], notice.text) == ("delay", 1, 4, "by ana")


def test_a_rollback_does_not_wait_for_a_target_that_hangs(scene):
    scene.house.champion(1)
    scene.house.champion(2)
    scene.target.hold.clear()
    began = time.monotonic()
    scene.release("ana").rollback("delay", reason="bad")
    assert time.monotonic() - began < 2
    assert scene.house.release("x").pointer("delay").champion.version == 1
    assert not scene.follow.wait(0.01)
    scene.target.hold.set()
    assert scene.follow.wait()
    assert scene.told() == ["release.rolled_back"]
    assert scene.target.got[0].urgent


def test_a_place_that_is_broken_fails_no_move_and_is_caught_up_with(scene, caplog):
    scene.house.ready(1)
    scene.place.put = lambda *_: 1 / 0
    scene.release("ana").promote("delay", 1, policy=POLICY)
    assert scene.follow.wait()
    assert "ZeroDivisionError" in caplog.text
    assert scene.told() == ["release.promoted"]
    assert "ZeroDivisionError" in scene.follow.catch_up(["delay"])[0]
    del scene.place.put
    assert scene.another().catch_up(["delay"]) == []
    assert [seq for seq, _ in scene.place.read("delay")] == [4]


def test_what_a_dead_process_left_undone_the_next_one_does(scene):
    scene.house.champion(1)
    assert scene.another().catch_up(["delay"]) == []  # the first look: from now on
    scene.house.champion(2)  # by a process that follows nothing up
    assert scene.another().catch_up(["delay"]) == []
    assert scene.told() == ["release.judged", "release.approved", "release.promoted"]
    assert [seq for seq, _ in scene.place.read("delay")] == [4, 8]
    scene.another().catch_up(["delay"])
    assert len(scene.target.got) == 3


def test_a_target_that_is_down_loses_nothing(scene):
    scene.house.ready(1)
    scene.target.down = True
    scene.release("ana").promote("delay", 1, policy=POLICY)
    scene.follow.wait()
    scene.target.down = False
    scene.house.now += 5_000_000
    scene.another().catch_up(["delay"])
    assert scene.told() == ["release.promoted"]


def test_without_anything_configured_nothing_runs(house):
    follow = FollowUp(house.bucket, Checkpoints(house.bucket, Clock(), [], ""), Outbox(house.bucket, Clock(), []))
    house.ready(1)
    before = threading.active_count()
    Release(house.bucket, Clock(lambda: house.now), "ana", after=follow.after).promote("delay", 1, policy=POLICY)
    assert threading.active_count() == before
    assert follow.wait()
    assert follow.catch_up(["delay"]) == []


def test_insiders_alone_hear_of_names(house):
    house.champion(1)
    house.release("ana").names.alias("delay", "best", 1)
    told = [notice_of("delay", "d" * 64, entry) for entry in house.release("x").history("delay")]
    assert [notice.type if notice else "" for notice in told] == [
        "", "release.judged", "release.approved", "release.promoted", "",
    ]  # fmt: skip


ENDING = """
import atexit, sys
from pathlib import Path
from tidegate.release.ledger import read_entries
from tidegate.store.bucket import open_bucket

bucket = open_bucket(Path(sys.argv[1]))
atexit.register(lambda: print(len(read_entries(bucket, "delay"))))
"""


def test_a_long_ledger_is_read_by_a_process_that_ends(tmp_path):
    """There no pool takes work any more."""
    shop = open_bucket(tmp_path / "shop")
    for number in range(12):
        event = Frozen(reason=str(number))
        append(shop, "delay", lambda _state, event=event: event, clock=Clock(), actor="ana")
    done = subprocess.run([sys.executable, "-c", ENDING, str(tmp_path / "shop")], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("12\n", "")
