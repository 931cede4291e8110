"""Nothing that was put is lost, nothing is sent twice at once, and one dead target holds up nobody."""

import threading

import pytest

from tidegate.clock import HOUR, MINUTE, SECOND, Clock
from tidegate.notices import DeliveryError, Outbox
from tidegate.notices.outbox import PAUSES
from tidegate.records.notice import Notice


class Target:
    """Takes what comes unless it is down."""

    def __init__(self, name="one"):
        self.id = self.name = name
        self.down, self.got, self.wait = False, [], 0

    def send(self, notice):
        if self.down:
            raise DeliveryError("down", self.wait)
        self.got.append(notice.id)


class Post:
    def __init__(self, bucket):
        self.bucket, self.now = bucket, HOUR
        self.targets = [Target("one"), Target("two")]
        self.outbox = self.another()

    def another(self):
        return Outbox(self.bucket, Clock(lambda: self.now, "replay"), self.targets)


@pytest.fixture
def post(bucket):
    return Post(bucket)


def notice(name="n1"):
    return Notice(id=name, type="t", at=1, title=name)


def test_every_target_gets_it_once(post):
    post.outbox.put(notice())
    post.outbox.put(notice())  # the same one again
    assert post.outbox.send() == 2
    assert post.outbox.send() == 0
    assert [target.got for target in post.targets] == [["n1"], ["n1"]]
    assert post.outbox.waiting() == []


def test_a_target_that_is_down_is_tried_again_later_and_holds_up_nobody(post):
    post.targets[0].down = True
    post.outbox.put(notice())
    assert post.outbox.send() == 1
    assert post.targets[1].got == ["n1"]
    (waiting,) = post.outbox.waiting()
    assert (waiting.attempts, waiting.error, waiting.next_at) == (1, "down", post.now + PAUSES[0])
    post.targets[0].down = False
    assert post.outbox.send() == 0  # not yet
    post.now += 5 * SECOND
    assert post.another().send() == 1  # whoever comes next
    assert post.targets[0].got == ["n1"]


def test_who_asks_to_be_left_alone_is(post):
    post.targets.pop()
    post.outbox = post.another()
    post.targets[0].down, post.targets[0].wait = True, 7200
    post.outbox.put(notice())
    post.outbox.send()
    assert post.outbox.waiting()[0].next_at == post.now + 2 * HOUR


def test_after_the_last_attempt_it_is_given_up_kept_and_can_be_sent_again(post):
    post.targets[0].down = True
    post.outbox.put(notice())
    for _ in range(len(PAUSES) + 3):
        post.outbox.send()
        post.now += PAUSES[-1] + MINUTE
    assert post.outbox.waiting() == []
    assert [item.attempts for item in post.outbox.failed()] == [len(PAUSES) + 1]
    post.targets[0].down = False
    assert post.outbox.again() == 1
    post.outbox.send()
    assert (post.targets[0].got, post.outbox.failed()) == (["n1"], [])


def test_a_sender_that_died_is_followed_by_another(post):
    class Killed(BaseException):
        pass

    def die(_notice):
        raise Killed

    alive, post.targets[0].send = post.targets[0].send, die
    post.outbox.put(notice())
    with pytest.raises(Killed):
        post.outbox.send()
    post.targets[0].send = alive
    post.another().send()
    assert post.targets[0].got == []  # it may still be at it
    post.now += MINUTE
    post.another().send()
    assert post.targets[0].got == ["n1"]


def test_of_many_senders_at_once_each_notice_is_sent_once(post):
    for number in range(20):
        post.outbox.put(notice(f"n{number}"))
    threads = [threading.Thread(target=post.another().send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(target.got) for target in post.targets] == [sorted(f"n{number}" for number in range(20))] * 2


def log(*names):
    entries = list(enumerate(names, start=1))
    return lambda seen: [(seq, notice(name) if name else None) for seq, name in entries if seq > seen]


def test_a_log_is_noted_once_from_where_it_is_first_looked_at(post):
    post.outbox.collect("delay", log("a", "b"), first=1)
    post.outbox.collect("delay", log("a", "b"), first=0)
    post.outbox.collect("delay", log("a", "b", "", "d"), first=0)
    post.another().collect("delay", log("a", "b", "", "d"), first=0)
    post.outbox.send()
    assert post.targets[0].got == ["b", "d"]


def test_who_dies_between_noting_and_remembering_tells_the_same_again(post):
    class Full(Exception):
        pass

    def full(*_arguments):
        raise Full

    swap, post.bucket.compare_and_swap = post.bucket.compare_and_swap, full
    with pytest.raises(Full):
        post.outbox.collect("delay", log("a"), first=0)
    post.bucket.compare_and_swap = swap
    post.outbox.collect("delay", log("a"), first=0)
    assert post.outbox.send() == 2
    assert post.targets[0].got == ["a"]


@pytest.mark.parametrize("planted", [b"{", b'{"notice": 1}', b"\xff", b"[" * 100_000])
def test_what_somebody_put_beside_the_notices_holds_up_nothing(post, planted):
    for place in ("waiting/one/a", "failed/one/a", "seen/delay"):
        post.bucket.put_if_absent(f"notices/{place}.json", planted)
    post.outbox.collect("delay", log("x", "y"), first=1)
    assert [item.notice.id for item in post.outbox.waiting()] == ["y", "y"]
    assert (post.outbox.failed(), post.outbox.again(), post.outbox.send()) == ([], 0, 2)
    post.outbox.collect("delay", log("x", "y", "z"), first=0)
    post.outbox.send()
    assert post.targets[0].got == ["y", "z"]


def test_a_number_that_nobody_noted_does_not_silence_a_log(post):
    post.bucket.put_if_absent("notices/seen/delay.json", b"-7")
    post.outbox.collect("delay", log("x"), first=0)
    assert post.outbox.send() == 2


def test_without_targets_nothing_is_written(bucket):
    outbox = Outbox(bucket, Clock(), [])
    outbox.put(notice())
    outbox.collect("delay", log("a"), first=0)
    assert list(bucket.keys("notices/")) == []
