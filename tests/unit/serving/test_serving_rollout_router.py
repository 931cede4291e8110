from __future__ import annotations

import json
import threading

import msgspec
import numpy as np
import pytest
from rollout_shop import Room
from serving_shop import JSON, NOW, call, tensors

from tidegate import frames
from tidegate.clock import DAY, MINUTE
from tidegate.errors import BadInputError, UnavailableError
from tidegate.serving.admission import OverloadedError
from tidegate.serving.handle import Handle
from tidegate.serving.rollout import router
from tidegate.serving.rollout.pairs import read_pairs

PATH = "/v2/models/delay/infer"


@pytest.fixture
def room(shop):
    return Room(shop, NOW + DAY)


@pytest.fixture
def served(room):
    app, follower, log = room.shop.app()
    yield app, follower, log
    follower.stop()


def infer(app, path=PATH, headers=JSON, **parameters):
    status, _, body = call(app, path, {"inputs": tensors(), "parameters": parameters}, headers=headers)
    assert status == 200, body
    answer = json.loads(body)
    return answer["model_version"], answer["outputs"][0]["data"][0]


def pairs(room):
    with frames.connect() as con:
        return frames.to_columns(
            read_pairs(con, room.bucket, "delay", room.release.rollouts.running("delay").seq).order("served_at")
        )


def break_candidate(follower, error):
    class Broken:
        def predict(self, columns):
            if isinstance(error, Short):
                return {"probability": np.ones(0), "label": np.ones(0, dtype=np.int64)}
            raise error

    live = follower.router.live
    broken = Handle(live.candidate.version, Broken(), slow=False)
    follower.router.live = type(live)(live.rollout, live.plan, live.salt, broken)


def test_without_a_rollout_nothing_is_routed(served):
    app, follower, _ = served
    assert follower.router.live is None
    assert infer(app)[0] == "1"
    assert json.loads(call(app, "/v2/models/delay/rollout")[2])["verdict"] == "inconclusive"


def test_a_shadow_answers_nobody_and_is_paired_by_request(room, served):
    app, follower, _ = served
    room.start(mode="shadow")
    follower.look()
    _, first = infer(app)
    assert infer(app)[0] == "1"
    follower.router.pairing.stop()
    found = pairs(room)
    assert found["champion"].tolist() == pytest.approx([first, first])
    assert found["candidate"].tolist() == pytest.approx([1 - first, 1 - first], abs=1e-3)
    assert (found["assigned"].tolist(), found["share"].tolist()) == ([False, False], [0, 0])


def test_a_canary_answers_its_keys_and_no_others(room, served):
    app, follower, log = served
    room.start(steps=[0.4], key="header:X-User-Id")
    follower.look()
    answers = {}
    for _ in range(2):
        for user in range(40):
            version, _ = infer(app, headers=[*JSON, (b"x-user-id", str(user).encode())])
            assert answers.setdefault(user, version) == version
    by_candidate = [user for user, version in answers.items() if version == "2"]
    assert 6 <= len(by_candidate) <= 26
    follower.router.pairing.stop()
    found = pairs(room)
    assert len(np.unique(found["point"])) == 40
    assert found["assigned"].sum() == 2 * len(by_candidate)
    assert np.isfinite(found["champion"]).all()
    assert np.isfinite(found["candidate"]).all()
    assert found["prediction_id"].size == log._waiting == 80


@pytest.mark.parametrize(("key", "spread"), [("parameter:user", 20), ("column:carrier", 1), ("header:X-None", 20), ("", 20)])
def test_keys_come_from_where_the_plan_says(room, served, key, spread):
    app, follower, _ = served
    room.start(steps=[0.5], key=key)
    follower.look()
    for user in range(20):
        infer(app, user=f"user-{user}")
    follower.router.pairing.stop()
    assert len(np.unique(pairs(room)["point"])) == spread


class Short(Exception):
    """Stands for an answer with a row too few."""


@pytest.mark.parametrize("error", [BadInputError("odd", "odd"), RuntimeError("a bug"), MemoryError(), Short()])
def test_a_candidate_that_fails_costs_nobody_an_answer(room, served, error):
    app, follower, _ = served
    room.start(steps=[1.0])
    follower.look()
    break_candidate(follower, error)
    assert infer(app)[0] == "1"
    follower.router.pairing.stop()
    found = pairs(room)
    assert (found["candidate_failed"].tolist(), found["champion_failed"].tolist()) == ([1], [0])
    assert found["assigned"].all()


def test_a_candidate_that_hangs_is_not_waited_for(room, served, monkeypatch):
    app, follower, _ = served
    room.start(steps=[1.0])
    follower.look()
    go_on = threading.Event()
    live = follower.router.live

    class Hanging:
        def predict(self, columns):
            go_on.wait(30)
            return live.candidate.predictor.predict(columns)

    monkeypatch.setattr(router, "_patience", lambda plan: 0.2)
    hanging = Handle(live.candidate.version, Hanging(), slow=True, seconds=0.1)
    follower.router.live = type(live)(live.rollout, live.plan, live.salt, hanging)
    assert infer(app)[0] == "1"
    go_on.set()
    follower.router.pairing.stop()
    assert pairs(room)["candidate_failed"].tolist() == [1]


def test_a_candidate_for_which_too_many_wait_is_no_failure_and_is_asked_beside(room, served, monkeypatch):
    app, follower, _ = served
    room.start(steps=[1.0])
    follower.look()
    ask = app.predictions._ask

    async def full(asking, handle):
        if handle is follower.router.live.candidate:
            raise OverloadedError("too much to do", why="its line is long", retry_after=1)
        return await ask(asking, handle)

    monkeypatch.setattr(app.predictions, "_ask", full)
    assert infer(app)[0] == "1"
    follower.router.pairing.stop()
    found = pairs(room)
    assert (found["assigned"].tolist(), found["candidate_failed"].tolist()) == ([True], [0])


def test_a_bucket_that_is_away_says_nothing_about_the_candidate(room, served, monkeypatch):
    app, follower, _ = served
    load = follower.router._load

    def away(version, digest):
        raise UnavailableError("bucket-unreachable", "nobody answers")

    monkeypatch.setattr(follower.router, "_load", away)
    room.start(steps=[1.0])
    follower.look()
    assert infer(app)[0] == "1"
    assert follower.router.pairing.written + follower.router.pairing._waiting == 0
    health = json.loads(call(app, "/health")[2])["models"][0]["rollout"]
    assert health == {"version": 2, "problem": "nobody answers [bucket-unreachable]"}
    monkeypatch.setattr(follower.router, "_load", load)
    follower.look()
    assert follower.router.live is None, "it is tried again after some seconds"
    monkeypatch.setattr(follower.router, "_retry_at", 0.0)
    follower.look()
    assert infer(app)[0] == "2"


def test_while_the_next_candidate_is_loaded_the_one_before_answers_nobody(room, served, monkeypatch):
    app, follower, _ = served
    room.start(steps=[1.0])
    follower.look()
    assert infer(app)[0] == "2"
    go_on = threading.Event()
    monkeypatch.setattr(router, "QUICK_SECONDS", 0.01)
    monkeypatch.setattr(follower.router, "_load", lambda version, digest: go_on.wait(30))
    rollout = follower.router.live.rollout
    another = msgspec.structs.replace(rollout, seq=rollout.seq + 9, version=3, digest="other")
    follower.router.follow(another, follower.handle)
    assert follower.router.live is None
    go_on.set()


def test_what_the_champion_refuses_is_refused_and_is_no_evidence(room, served):
    app, follower, _ = served
    room.start(steps=[1.0])
    follower.look()
    assert call(app, PATH, {"inputs": tensors(wind=["x"])})[0] == 422
    follower.router.pairing.stop()
    assert follower.router.pairing.written == 0


def test_who_names_a_version_gets_that_one(room, served):
    app, follower, _ = served
    room.start(steps=[1.0])
    follower.look()
    assert infer(app, "/v2/models/delay/versions/1/infer")[0] == "1"
    assert infer(app)[0] == "2"


def test_a_candidate_that_cannot_be_loaded_fails_and_the_champion_answers(room, served):
    app, follower, _ = served
    for file in room.candidate.manifest.files:
        path = next(room.shop.root.rglob(f"*{file.digest[4:]}*"), None) or next(
            found for found in room.shop.root.rglob(file.path) if f"/{room.candidate.version}/" in str(found)
        )
        path.chmod(0o644)
        path.write_bytes(b"not a model")
    room.start(steps=[1.0])
    follower.look()
    assert infer(app)[0] == "1"
    health = json.loads(call(app, "/health")[2])["models"][0]["rollout"]
    assert health["version"] == 2
    assert health["problem"]
    follower.router.pairing.stop()
    assert pairs(room)["candidate_failed"].tolist() == [1]


def test_steps_and_stops_are_followed(room, served):
    app, follower, _ = served
    room.start(steps=[0.0, 1.0])
    follower.look()
    assert infer(app)[0] == "1"
    room.answer(2500)
    room.tick()
    follower.look()
    assert infer(app)[0] == "2"
    room.controller.stop("delay", reason="enough")
    follower.look()
    assert infer(app)[0] == "1"
    assert follower.router.live is None


def test_a_promotion_ends_it_everywhere(room, served):
    app, follower, _ = served
    room.start(steps=[0.0])
    follower.look()
    room.release.promote("delay", 2, policy=room.policy)
    follower.look()
    follower.look()
    assert follower.router.live is None
    assert infer(app)[0] == "2"


def test_the_analysis_is_never_success_by_default(room, served, monkeypatch):
    app, follower, _ = served

    def ask(step=None):
        follower.look()
        follower.router._clock = room.clock
        status, _, body = call_with_query(app, f"step={step}" if step is not None else "")
        assert status == 200
        return json.loads(body)

    room.start(steps=[0.0, 0.5], harm={"brier": 0.05})
    assert ask()["verdict"] == "inconclusive"
    room.tick()
    assert (ask()["verdict"], ask()["value"]) == ("inconclusive", None)
    room.answer(2500)
    room.tick()
    assert (ask(0)["verdict"], ask(0)["value"]) == ("success", 1.0)
    assert ask(1)["verdict"] == "inconclusive"
    room.now += 11 * MINUTE
    assert ask(0)["verdict"] == "inconclusive"
    room.answer(3000, quality=0.5)
    room.tick()
    found = ask(1)
    assert (found["verdict"], found["value"]) == ("failure", 0.0)
    assert found["conditions"]["brier"]["answer"] == "harm"


def call_with_query(app, query):
    import asyncio

    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/v2/models/delay/rollout", "headers": [], "query_string": query.encode()}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_a_candidate_that_loads_slowly_keeps_nobody_waiting(room, served, monkeypatch):
    app, follower, _ = served
    go_on = threading.Event()
    load = follower.router._load

    def slow(version, digest):
        assert go_on.wait(30)
        return load(version, digest)

    monkeypatch.setattr(router, "QUICK_SECONDS", 0.01)
    monkeypatch.setattr(follower.router, "_load", slow)
    room.start(steps=[1.0])
    follower.look()
    follower.look()
    assert follower.router.live is None
    assert infer(app)[0] == "1"
    go_on.set()
    follower.router._loading.thread.join(30)
    follower.look()
    assert infer(app)[0] == "2"


def test_a_promoted_candidate_is_not_loaded_again(room, served, monkeypatch):
    _, follower, _ = served
    room.start(steps=[0.0])
    follower.look()
    candidate = follower.router.live.candidate
    monkeypatch.setattr(follower, "_load_version", None)
    room.release.promote("delay", 2, policy=room.policy)
    follower.look()
    assert follower.handle is candidate
    follower.look()
    assert follower.router.find(candidate.version.digest) is None
