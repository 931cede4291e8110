"""kill -9 of ``tidegate server`` before, in and after each kind of call that it makes on files, and of two servers in turn:
nothing acknowledged is lost, and what was not acknowledged can be asked again.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
from fault_server import STREAMS, Book, Client, NoAnswer, ServerProcess, begin

from tidegate.store.remote import connection
from tidegate.workspace import Workspace

CALLS = ["write", "pwrite", "fdatasync", "fsync", "rename", "unlink", "link", "ftruncate"]
POINTS = [
    *[(call, side) for call in ("write", "pwrite") for side in ("before", "half", "after")],
    *[(call, side) for call in ("fdatasync", "fsync", "rename", "unlink", "link") for side in ("before", "after")],
]
# Between requests, in seconds: what there is of each kind is looked at again and again.
PAUSES = dict.fromkeys(STREAMS, 0.05) | {"registry": 0.25}


@pytest.fixture(autouse=True)
def _no_retries(monkeypatch):
    """The client says at once that it got no answer: here the test itself repeats."""
    monkeypatch.setattr(connection, "_RETRY", connection._RETRY.new(total=0))


def clients_of(url, book, folder):
    return {stream: Client(url, book.run_id, folder) for stream in STREAMS}


def close(clients):
    for client in clients.values():
        client.close()


def repeat(book, clients):
    """Asks again what was not answered: that succeeds."""
    for stream in list(book.open):
        if not book.work(stream, clients[stream], 1):
            raise NoAnswer


def verified(folder, **settings):
    """What ``tidegate store verify`` says of it."""
    workspace = Workspace.open(folder, **settings)
    try:
        return workspace.verify().problems
    finally:
        workspace.store.close()


@pytest.fixture
def template(killer, tmp_path):
    """A store with a run and a model; and how often each kind of call is made by a session on it in which nothing is killed."""
    folder, counts = tmp_path / "counting", tmp_path / "counts"
    folder.mkdir()
    server = ServerProcess(folder, LD_PRELOAD=str(killer), KILL_COUNTS=str(counts))
    try:
        book = begin(server.url, tmp_path / "client")
        shutil.copytree(folder, tmp_path / "template")  # nothing is being written
        os.truncate(counts, 0)
        clients = clients_of(lambda: server.url, book, tmp_path / "client")
        for stream in STREAMS:
            assert book.work(stream, clients[stream], 10)
        totals = {call: counts.read_bytes().count(str(kind).encode()) for kind, call in enumerate(CALLS)}
        book.check(clients["points"])
        close(clients)
    finally:
        killed = server.kill()
    assert not killed
    return tmp_path / "template", book.run_id, totals


def chain(killer, template, tmp_path, point, repeats):
    """Kills one server after the other on one store at one point; the next one repeats what was not answered, and is checked.

    Returns how many servers were killed there, before they listened and after, and how many answers did not come.
    """
    source, run_id, totals = template
    call, side = point
    folder = tmp_path / f"{call}-{side}"
    shutil.copytree(source, folder)
    chosen, book, told = random.Random(f"{call} {side}"), Book(run_id), Counter()
    for turn in range(repeats + 1):
        orders = {}
        if turn < repeats:
            least = turn * totals[call] // repeats + 1
            number = chosen.randint(least, max(least, (turn + 1) * totals[call] // repeats))
            orders = {"LD_PRELOAD": str(killer), "KILL_CALL": call, "KILL_SIDE": side, "KILL_NUMBER": str(number)}
        server = ServerProcess(folder, **orders)
        clients = clients_of(lambda server=server: server.url, book, tmp_path / f"client-{call}-{side}")
        until = time.monotonic() + 20
        try:
            if server.answers:
                book.check(clients["points"])
                repeat(book, clients)
                assert not book.open
                if turn == repeats:  # else the next server is asked, which finds more
                    book.check(clients["points"])
                assert verified(folder) == []
                told["checks"] += 1
                if turn < repeats:
                    book.load(clients, lambda until=until: time.monotonic() < until)
        except NoAnswer:
            pass
        finally:
            close(clients)
            killed = server.kill(patience=5.0 if turn < repeats else 0.0)
        told["kills"] += killed
        told["at the start"] += not server.answers
        assert killed is True or turn == repeats or time.monotonic() > until, "an answer did not come from a server that lives"
    assert server.answers
    assert not killed
    assert not book.open
    told["acknowledged"] = len(book.done)
    told["without answer"] = book.repeated.total()
    shutil.rmtree(folder)
    return told


def sweep(killer, template, tmp_path, points, repeats):
    assert all(template[2][call] for call, _ in points), template[2]
    told = Counter()
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(partial(chain, killer, template, tmp_path, repeats=repeats), points):
            told += found
    print(dict(told), template[2])
    return told


def test_a_server_killed_at_any_call_loses_nothing(killer, template, tmp_path):
    told = sweep(killer, template, tmp_path, [("pwrite", "half"), ("link", "after")], 1)
    assert told["kills"] == 2
    assert told["without answer"] >= 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_killed_at_every_kind_of_call_ten_times(killer, template, tmp_path):
    told = sweep(killer, template, tmp_path, POINTS, 10)
    assert told["kills"] >= 9 * len(POINTS)
    assert told["without answer"] >= 9 * len(POINTS)


@contextmanager
def two_servers(folder, **variables):
    """Two servers of one store, as a list in which one may be replaced."""
    with ThreadPoolExecutor(2) as pool:
        servers = list(pool.map(lambda _: ServerProcess(folder, **variables), range(2)))
    try:
        yield servers
    finally:
        for server in servers:
            server.kill()


def in_turn(folder, postgres_url, kills):
    """Kills one of two servers of one store, again and again, while clients that lose their server go to the other one."""
    folder.mkdir()
    with two_servers(folder, TIDEGATE_DATABASE=postgres_url) as servers:
        book = begin(servers[0].url, folder / "client")
        sides = {stream: random.Random(stream).randint(0, 1) for stream in STREAMS}

        def url(stream):
            sides[stream] = 1 - sides[stream]
            return servers[sides[stream]].url

        clients = {stream: Client(partial(url, stream), book.run_id, folder / "client") for stream in STREAMS}
        over, chosen = threading.Event(), random.Random(7)
        busy = threading.Thread(target=book.load, args=(clients, lambda: not over.is_set()), kwargs={"pauses": PAUSES})
        busy.start()
        try:
            for turn in range(kills):
                assert not book.failures, book.failures
                time.sleep(chosen.uniform(0.1, 0.5))
                assert not servers[turn % 2].kill(), "it ended by itself"
                servers[turn % 2] = ServerProcess(folder, TIDEGATE_DATABASE=postgres_url)
        finally:
            over.set()
            busy.join()
            close(clients)
        assert not book.failures, book.failures
        views = [clients_of(lambda server=server: server.url, book, folder / "client") for server in servers]
        try:
            book.check(views[0]["points"])
            repeat(book, views[0])
            for view in views:
                book.check(view["points"])
            assert seen(views[0]["points"]) == seen(views[1]["points"])
        finally:
            for view in views:
                close(view)
        assert verified(folder, database=postgres_url) == []
    told = Counter(kills=kills, acknowledged=len(book.done)) + Counter({"without answer": book.repeated.total()})
    print(dict(told))
    return told


def seen(client):
    """What one server tells of everything."""
    run = client.get("runs/get", run_id=client.run_id)
    for kind in ("params", "tags", "metrics"):
        run["run"]["data"][kind].sort(key=lambda item: item["key"])
    return run, client.versions(), client.history("loss"), client.history("bulk"), client.get("registered-models/search")


def test_two_servers_killed_in_turn_lose_nothing(postgres_url, tmp_path):
    told = in_turn(tmp_path / "two", postgres_url, 2)
    assert told["without answer"] >= 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_servers_killed_in_turn_fifty_times(postgres_url, tmp_path):
    told = in_turn(tmp_path / "two", postgres_url, 50)
    assert told["without answer"] >= 50
