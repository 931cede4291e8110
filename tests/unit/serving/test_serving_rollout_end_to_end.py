"""A rollout from end to end: a server process, a project with a plan, ``tick``, labels that come after the answers."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

import numpy as np
import pytest
from rollout_shop import Room
from serving_shop import SETTLED, NoCatalog, tensors
from sklearn.base import clone

from tidegate.clock import Clock
from tidegate.models import Candidate, Models
from tidegate.records.ledger import RolloutStopped
from tidegate.workspace import Workspace

PLAN = """
[models.delay]
task = "binary"
[models.delay.release]
approvals = 0
[models.delay.rollout]
steps = [0, 0.5]
key = "header:X-User-Id"
minimum_samples = 200
minimum_duration = "0s"
harm = { brier = 0.15 }
label_maturity = "1s"
max_error_increase = 0.05
max_disagreement = 0.95
latency_p99_ms = 2000
"""


class Traffic:
    """Requests of many users on one connection, and the labels of what was answered."""

    def __init__(self, server, room, table):
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SETTLED)
        self._room, self._table = room, table.dropna().reset_index(drop=True)
        self._sent = 0

    def close(self) -> None:
        self._connection.close()

    def send(self, count: int) -> set[str]:
        """Which versions answered. The truth is what version 1 was trained on."""
        ids, labels, versions = [], [], set()
        for _ in range(count):
            row = self._table.iloc[self._sent % len(self._table)]
            body = json.dumps({"inputs": tensors([row["wind"]], [int(row["seats"])], [row["carrier"]])})
            headers = {"content-type": "application/json", "x-user-id": f"user-{self._sent}"}
            self._connection.request("POST", "/v2/models/delay/infer", body, headers)
            answer = self._connection.getresponse()
            found = json.loads(answer.read())
            assert answer.status == 200, found
            versions.add(found["model_version"])
            ids += found["parameters"]["prediction_ids"]
            labels.append(int((row["wind"] > 10) ^ (row["carrier"] == "UA")))
            self._sent += 1
        known = np.full(len(ids), time.time_ns() // 1000, dtype="datetime64[us]")
        self._room.labels().add({"prediction_id": np.array(ids, dtype=object), "label": np.array(labels), "known_at": known})
        return versions


@pytest.fixture
def project(shop, tmp_path):
    Path(tmp_path, "tidegate.toml").write_text(PLAN, encoding="utf-8")
    return Workspace.open(tmp_path, store=str(shop.root), actor="ana")


def until(workspace, done):
    """Ticks as cron would, until a look is as wanted."""
    end = time.monotonic() + 2 * SETTLED
    while True:
        report = workspace.tick()
        assert report.problems == []
        if report.looks and done(report.looks[0]):
            return report.looks[0]
        assert time.monotonic() < end, report.looks
        time.sleep(0.2)


def test_a_harmful_candidate_is_stopped_and_a_harmless_one_goes_through(shop, estimators, server, project):
    again = clone(shop.estimator).set_params(logisticregression__C=0.9)
    table = shop.table.dropna()
    again.fit(table, ((table["wind"] > 10) ^ (table["carrier"] == "UA")).astype(int))
    harmless = Models(shop.bucket, NoCatalog(), Clock()).register(Candidate("delay", again, shop.table, "binary"))
    room = Room(shop, time.time_ns() // 1000)
    running = server()
    traffic = Traffic(running, room, shop.table)

    project.rollouts.start("delay", 2, policy=project.policy("delay"))
    running.wait(lambda: b'"rollout"' in running.get("/health")[1])
    assert traffic.send(300) == {"1"}  # the shadow answers nobody
    look = until(project, lambda look: look.action != "continue")
    assert (look.action, look.outcome) == ("stop", "harmful")
    stopped = project.release.history("delay")[-1].event
    assert isinstance(stopped, RolloutStopped)
    running.wait(lambda: b'"rollout"' not in running.get("/health")[1])

    room.release.register(harmless)
    room.candidate, room.now = harmless, time.time_ns() // 1000
    room.judge()
    project.rollouts.start("delay", 3, policy=project.policy("delay"))
    running.wait(lambda: b'"rollout"' in running.get("/health")[1])
    assert traffic.send(900) == {"1"}
    assert until(project, lambda look: look.action != "continue").action == "advance"
    running.wait(lambda: b'"share":0.5' in running.get("/health")[1])
    assert traffic.send(500) == {"1", "3"}
    assert until(project, lambda look: look.action != "continue").action == "done"
    project.release.promote("delay", 3, policy=project.policy("delay"))
    running.wait(lambda: traffic.send(1) == {"3"})
    assert project.release.verify("delay") == []
    traffic.close()
    code, errors = running.stop()
    assert code == 0, errors
