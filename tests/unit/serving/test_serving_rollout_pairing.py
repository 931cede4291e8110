from __future__ import annotations

import itertools
import threading
from time import monotonic, sleep

import numpy as np
import pytest
from serving_shop import NOW

from tidegate import frames
from tidegate.clock import SECOND
from tidegate.errors import BadInputError, UnavailableError
from tidegate.models import load_version
from tidegate.records.ledger import Rollout
from tidegate.records.rollout import RolloutPolicy
from tidegate.serving.handle import Handle
from tidegate.serving.rollout import pairing as pairs_beside
from tidegate.serving.rollout.live import Live
from tidegate.serving.rollout.pairing import Answered, Pairing, flush_seconds
from tidegate.serving.rollout.pairs import read_pairs, write_pairs

ROLLOUT = Rollout(seq=7, version=2, digest="d", receipt="r", plan={}, started_at=NOW, moved_at=NOW, share=0.5)


class Broken:
    def predict(self, columns):
        raise BadInputError("bad-row", "it does not like this row")


class Short:
    def predict(self, columns):
        return {"probability": np.ones(1), "label": np.ones(1, dtype=np.int64)}


class Empty:
    def predict(self, columns):
        return {}


@pytest.fixture
def handles(shop):
    return [Handle(version, load_version(shop.bucket, version, allow_code=False), slow=False) for version in shop.versions]


@pytest.fixture
def columns(shop):
    return {name: shop.table[name].to_numpy()[:2] for name in shop.table} | {"carrier": np.array(["AA", "UA"], dtype=object)}


def answered(handles, columns, number=0, *, mode="canary", candidate=None, **known):
    live = Live(ROLLOUT, RolloutPolicy(mode=mode), "salt", candidate or handles[1])
    ids = [f"{number}-0", f"{number}-1"]
    return Answered(live, handles[0], ids, NOW + number, 0.3, "by_candidate" in known, columns, **known)


def rows(shop):
    with frames.connect() as con:
        found = read_pairs(con, shop.bucket, "delay", ROLLOUT.seq)
        return frames.to_columns(found.order("prediction_id")) if found else None


def pairing(shop, **options):
    from functools import partial

    return Pairing(partial(write_pairs, shop.bucket, "delay"), lambda: NOW + SECOND, **options)


def test_the_model_that_did_not_answer_is_asked_and_both_are_kept(shop, handles, columns):
    outputs = [handle.predictor.predict(columns) for handle in handles]
    queue = pairing(shop)
    queue.put(answered(handles, columns, 0, by_champion=outputs[0], champion_failed=0.0))
    queue.put(answered(handles, columns, 1, by_candidate=outputs[1], candidate_failed=0.0, seconds=0.5))
    queue.flush()
    found = rows(shop)
    for name, which in (("champion", 0), ("candidate", 1)):
        assert found[name] == pytest.approx(np.tile(outputs[which]["probability"], 2))
        assert found[f"{name}_failed"].tolist() == [0, 0, 0, 0]
    assert (found["assigned"].tolist(), found["place"].tolist()) == ([False, False, True, True], [0, 1, 0, 1])
    assert found["seconds"][2] == 0.5
    assert 0 < found["seconds"][0] < 5
    assert (queue.written, queue.dropped, queue.problem) == (4, 0, "")


@pytest.mark.parametrize("failing", [Broken(), Short(), Empty()])
def test_a_failure_off_the_path_is_evidence_and_no_more(shop, handles, columns, failing):
    broken = Handle(shop.versions[1], failing, slow=False)
    queue = pairing(shop)
    outputs = handles[0].predictor.predict(columns)
    queue.put(answered(handles, columns, candidate=broken, by_champion=outputs, champion_failed=0.0))
    queue.flush()
    found = rows(shop)
    assert found["candidate_failed"].tolist() == [1, 1]
    assert np.isnan(found["candidate"]).all()


def test_in_an_ab_test_nobody_else_is_asked(shop, handles, columns):
    queue = pairing(shop)
    queue.put(answered(handles, columns, mode="ab", by_champion=handles[0].predictor.predict(columns), champion_failed=0.0))
    queue.flush()
    found = rows(shop)
    assert np.isnan(found["candidate_failed"]).all()
    assert np.isnan(found["seconds"]).all()


def test_a_full_queue_drops_and_counts_and_never_waits(shop, handles, columns):
    stuck, go_on = threading.Event(), threading.Event()

    class Slow:
        def predict(self, columns):
            stuck.set()
            go_on.wait(30)
            return handles[1].predictor.predict(columns)

    queue = pairing(shop, max_waiting=6)
    queue.start()
    slow = Handle(shop.versions[1], Slow(), slow=False)
    by_champion = handles[0].predictor.predict(columns)

    def put(number):
        return queue.put(answered(handles, columns, number, candidate=slow, by_champion=by_champion, champion_failed=0.0))

    assert put(0)
    assert stuck.wait(30)  # the candidate hangs in the first request; the next three wait, the others are dropped
    assert [put(number) for number in range(1, 8)] == [True] * 3 + [False] * 4
    assert queue.dropped == 8
    go_on.set()
    queue.stop()
    assert len(rows(shop)["prediction_id"]) == 8
    assert rows(shop)["dropped"].sum() == 8  # what was lost is told by the next part


def test_a_bucket_that_is_away_costs_rows_and_nothing_else(shop, handles, columns):
    def away(rollout, pairs, *, dropped):
        raise UnavailableError("bucket-away", "nobody answers")

    queue = Pairing(away, lambda: NOW)
    queue.put(answered(handles, columns, by_champion=handles[0].predictor.predict(columns), champion_failed=0.0))
    queue.flush()
    assert (queue.written, queue.dropped, queue.problem) == (0, 2, "nobody answers [bucket-away]")


def test_the_same_part_is_written_once(shop, handles, columns):
    queue = pairing(shop)
    request = answered(handles, columns, by_champion=handles[0].predictor.predict(columns), champion_failed=0.0)
    for _ in range(2):
        queue.put(request)
        queue.flush()
    assert len(rows(shop)["prediction_id"]) == 2


def test_pairs_are_written_soon_at_first_and_seldom_later():
    assert [flush_seconds(age) for age in (0, 50, 500, 86_400)] == [1, 1, 5, 60]


def test_answers_that_cannot_be_compared_cost_their_own_rows_alone(shop, handles, columns):
    queue = pairing(shop)
    outputs = handles[0].predictor.predict(columns)
    queue.put(answered(handles, columns, 0, by_champion={}, champion_failed=0.0))
    queue.put(answered(handles, columns, 1, by_champion=outputs, champion_failed=0.0))
    queue.flush()
    assert (queue.written, queue.dropped) == (2, 2)
    assert rows(shop)["dropped"].sum() == 2


def test_a_candidate_that_never_answers_keeps_no_server_from_its_end(shop, handles, columns, monkeypatch):
    stuck, go_on = threading.Event(), threading.Event()

    class Hanging:
        def predict(self, columns):
            stuck.set()
            go_on.wait(30)
            return handles[1].predictor.predict(columns)

    monkeypatch.setattr(pairs_beside, "STOP_SECONDS", -0.9)
    queue = pairing(shop)
    hanging = Handle(shop.versions[1], Hanging(), slow=False)
    by_champion = handles[0].predictor.predict(columns)
    queue.put(answered(handles, columns, 0, by_champion=by_champion, champion_failed=0.0))
    queue.put(answered(handles, columns, 1, candidate=hanging, by_champion=by_champion, champion_failed=0.0))
    queue.put(answered(handles, columns, 2, candidate=hanging, by_champion=by_champion, champion_failed=0.0))
    queue.start()
    assert stuck.wait(30)
    queue.stop()
    assert (queue.written, queue.dropped) == (2, 2), "what was paired is written, what waits is dropped"
    go_on.set()


def test_what_is_known_is_written_while_more_comes_than_a_slow_model_answers(shop, handles, columns):
    queue, by_champion = pairing(shop), handles[0].predictor.predict(columns)

    def put(number, candidate):
        queue.put(answered(handles, columns, number, candidate=candidate, by_champion=by_champion, champion_failed=0.0))

    class Slow:
        def predict(self, columns):  # by the time that it has answered, the next request is there
            if not queue.written:
                put(next(numbers), slow)
            return handles[1].predictor.predict(columns)

    numbers = itertools.count(1)
    slow = Handle(shop.versions[1], Slow(), slow=False)
    put(0, slow)
    queue.start()
    end = monotonic() + 30
    while not queue.written and monotonic() < end:
        sleep(0.02)
    assert queue.written
    queue.stop()
