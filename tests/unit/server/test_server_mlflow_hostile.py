"""Whatever is sent to any route of MLflow's API, the answer is no surprise: JSON in MLflow's shape and never a 5xx."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow_rest import API, Rest
from starlette.routing import Route

from tidegate.server import create_app
from tidegate.server.mlflow import mlflow_routes
from tidegate.workspace import Workspace

FIELDS = [
    "run_id", "run_uuid", "experiment_id", "experiment_ids", "experiment_name", "name", "new_name", "key", "value", "timestamp", "step",
    "metrics", "params", "tags", "datasets", "models", "model_json", "filter", "order_by", "max_results", "page_token", "view_type",
    "run_view_type", "status", "start_time", "end_time", "run_name", "user_id", "artifact_location", "path", "metric_key", "run_ids",
    "start_step", "end_step", "model_id", "dataset_name",
]  # fmt: skip
leaf = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([2**31, 2**63, 2**64, -(2**63) - 1, 10**400]), st.floats(),
    st.text(max_size=8), st.sampled_from(["0", "1", "known", "NaN", "\x00", "../..", "a" * 5000, "'", "%", "\ud7ff", "metrics.m < 1", "eyJvZmZzZXQiOi0xfQ=="]),
)  # fmt: skip
value = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FIELDS, "dataset"]), inner, max_size=4),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from(FIELDS), value, max_size=8)
T0 = ["experiments/", "runs/", "metrics/", "artifacts/"]


def paths(workspace: Workspace) -> list[tuple[str, str]]:
    found = [route for route in mlflow_routes(workspace) if isinstance(route, Route) and route.path.startswith(API)]
    mine = [route for route in found if any(route.path.startswith(API + part) for part in T0) and "{" not in route.path]
    return sorted((method, route.path) for route in mine for method in (route.methods or set()) - {"HEAD"})


def check(answer: Any, sent: Any) -> None:
    assert answer.status < 500, (answer.text, sent)
    assert answer.headers["content-type"] == "application/json"
    if answer.status != 200:
        assert set(answer.json) == {"error_code", "message"}, sent
        assert len(answer.text) < 20_000


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), bodies)
def test_wrong_types_everywhere(rest: Rest, workspace: Workspace, data: st.DataObject, body: dict[str, Any]) -> None:
    if not hasattr(rest, "known"):
        rest.known = rest.run()  # type: ignore[attr-defined]
        rest.paths = paths(workspace)  # type: ignore[attr-defined]
    method, path = data.draw(st.sampled_from(rest.paths))  # type: ignore[attr-defined]
    text = json.dumps(body).replace('"known"', json.dumps(rest.known))  # type: ignore[attr-defined]
    if method == "GET":
        query = {
            key: [str(item) for item in values] if isinstance(values, list) else str(values)
            for key, values in json.loads(text).items()
        }
        check(rest.client.send("GET", f"{path}?{urlencode(query, doseq=True)}"), (path, query))
    check(rest.client.send(method, path, text.encode(), content_type="application/json"), (path, text))


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"[]", b"3", b'"x"', b'"{}"', b"{", b"\xff\xfe", b"{" * 100_000, b"[" * 100_000, b'{"a":' * 100_000,
        b'{"key":' + b"9" * 100_000 + b"}", b'{"run_id":"\\ud800"}', b'{"value":1e999}', b'{"run_id":"a","run_id":"b"}', b"NaN",
        b'{"metrics":' + b"[" * 50_000 + b"]" * 50_000 + b"}", b'{"run_id":{"$ne":1}}',
    ],
)  # fmt: skip
def test_hostile_json(rest: Rest, workspace: Workspace, body: bytes) -> None:
    for method, path in paths(workspace):
        check(rest.client.send(method, path, body, content_type="application/json"), (path, body[:60]))


def test_a_body_that_is_too_large(rest: Rest) -> None:
    for path in ("runs/log-batch", "runs/create"):
        answer = rest.client.send("POST", API + path, b" " * (64 * 1024 * 1024 + 1), content_type="application/json")
        assert (answer.status, answer.json["error_code"]) == (413, "BAD_REQUEST")


def test_a_bug_is_told_to_the_terminal_and_does_not_freeze_the_client(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rest = Rest(create_app(workspace))
    run = rest.run()
    monkeypatch.setattr(workspace.store.runs, "get", lambda _run_id: 1 / 0)
    answer = rest.client.send("GET", f"{API}runs/get?run_id={run}")
    assert answer.status == 501, "clients repeat 500 to 504 but for 501"
    assert answer.json["error_code"] == "INTERNAL_ERROR"
    assert "ZeroDivisionError" not in answer.text
    assert "ZeroDivisionError" in caplog.text
