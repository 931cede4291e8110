"""The API gives the store's records, and nothing else."""

from __future__ import annotations

import json

import msgspec
import pytest

from tidegate.records.dataset import Snapshot
from tidegate.records.decision import Decision
from tidegate.records.health import Health
from tidegate.records.ledger import LedgerEntry
from tidegate.records.model import ModelVersion
from tidegate.records.monitoring import Alert, Window
from tidegate.records.report import Report
from tidegate.records.run import Run
from tidegate.workspace import Workspace


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("runs?experiment=delay", list[Run]),
        ("models/delay/versions/2", ModelVersion),
        ("models/delay/windows", list[Window]),
        ("alerts?model=delay", list[Alert]),
        ("decisions", list[Decision]),
        ("decisions/delay-0001", Decision),
        ("data", list[Snapshot]),
        ("data/flights-eval", list[Snapshot]),
        ("data/flights-eval/1", Snapshot),
        ("health", Health),
    ],
)
def test_answers_are_records(client, path: str, kind: type) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert msgspec.json.decode(answer.text, type=kind)


def test_every_endpoint_is_listed(client) -> None:
    listed = client.get("/api/v1").json["endpoints"]
    assert "/api/v1/models/{model}/ledger" in listed
    assert len(listed) >= 15


def test_the_ledger_comes_with_digests_and_the_state_of_its_chain(client, project: Workspace) -> None:
    found = client.get("/api/v1/models/delay/ledger").json
    assert found["problems"] == []
    entries = msgspec.convert([item["entry"] for item in found["entries"]], list[LedgerEntry])
    assert entries == project.release.history("delay")
    assert [item["entry"]["before"] for item in found["entries"][1:]] == [item["digest"] for item in found["entries"][:-1]]


def test_a_receipt_comes_with_its_report(client) -> None:
    digest = client.get("/api/v1/models/delay").json["champion"]["receipt"]
    found = client.get(f"/api/v1/models/delay/receipts/{digest}").json
    assert found["digest"] == digest
    assert msgspec.convert(found["report"], Report).verdict == "PASS"


def test_models_and_overview_agree(client) -> None:
    models = client.get("/api/v1/models").json
    assert [(item["name"], item["pointer"]["champion"]["version"], item["versions"]) for item in models] == [("delay", 2, [2, 1])]
    assert client.get("/api/v1/overview").json[0]["champion"]["version"] == 2


def test_points_with_nan_and_infinity_are_json(client, project: Workspace) -> None:
    run = project.runs.search(experiment="hostile")[0]
    points = json.loads(client.get(f"/api/v1/runs/{run.id}/metrics/nan").text, parse_constant=pytest.fail)
    assert [point[3] for point in points] == [1.0, 1.0, None, None, 1.0]
    assert client.get(f"/api/v1/runs/{run.id}/metrics/none").json["error"]["code"] == "metric-not-found"


def test_a_metric_comes_in_a_range_or_as_an_envelope(client, project: Workspace) -> None:
    run = project.runs.search(experiment="hostile")[0]
    place = f"/api/v1/runs/{run.id}/metrics/nan"
    steps = [point[1] for point in client.get(place).json]
    assert [point[1] for point in client.get(f"{place}?first={steps[1]}&last={steps[3]}").json] == steps[1:4]
    drawn = client.get(f"{place}?pixels=2").json
    assert (sum(drawn["counts"]), drawn["first"][0], drawn["last"][-1]) == (5, steps[0], steps[-1])
    assert min(drawn["low"]) == 1.0
    assert client.get(f"{place}?pixels=100").json["counts"] == [1] * 5
    for bad in ("pixels=x", "first=1.5", f"last={2**63}"):
        assert client.get(f"{place}?{bad}").json["error"]["code"] == "bad-number"


def test_filter_errors_are_json(client) -> None:
    answer = client.get("/api/v1/runs?where=%3C%3C")
    assert answer.status == 400
    assert answer.json["error"]["code"] == "bad-filter"


@pytest.mark.parametrize(
    "path", ["/api/v1/models/other", "/api/v1/models/other/ledger", "/api/v1/data/other", "/api/v1/nothing", "/api/"]
)
def test_unknown_things_are_404(client, path: str) -> None:
    answer = client.get(path)
    assert answer.status == 404
    assert answer.json["error"]["fix"]
