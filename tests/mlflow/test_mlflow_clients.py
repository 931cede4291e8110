"""Scripts of users, run with the real clients of MLflow against our server: they see what MLflow's own server shows them.

What MLflow's own servers answer is recorded in ``transcripts``; ``make test-slow`` records it again and compares.
The clients live in environments of their own: ``tools/peers`` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from differences import DIFFERENCES, declared
from harness import OF, SCRIPTS, SETTINGS, Setting, normalised, observed, ours, recorded, run_script

SLOW = {"commands", "models"}
WHOLE = [
    pytest.param(client, name, id=f"{client}-{name}", marks=[pytest.mark.slow] if name in SLOW else [])
    for client, names in OF.items()
    for name in names
]
Answer = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def answer(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Answer]:
    """What a client's script sees of our server. One server per client; the scripts that were selected run two at a time."""
    wanted = [
        item.callspec.params
        for item in request.session.items
        if hasattr(item, "callspec") and {"client", "name"} <= item.callspec.params.keys()
    ]
    clients = sorted({one["client"] for one in wanted})
    with ThreadPoolExecutor(2) as pool:
        servers = {client: ours(tmp_path_factory.mktemp(f"client{client}"), TIDEGATE_ALLOW_UNGATED="true") for client in clients}
        urls = {client: server.__enter__() for client, server in servers.items()}
        running: dict[tuple[str, str], Future[dict[str, Any]]] = {}
        for one in wanted:
            pair = (one["client"], one["name"])
            running.setdefault(pair, pool.submit(run_script, *pair, urls[pair[0]]))
        yield lambda client, name: running[client, name].result()
        for server in servers.values():
            server.__exit__(None, None, None)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("client", "name"), WHOLE)
def test_a_client_sees_what_mlflow_shows_it(client: str, name: str, answer: Answer) -> None:
    seen = answer(client, name)
    known = [recorded(setting, name) for setting in SETTINGS if setting.client == client]
    differing = {step for step in [*known[0], *seen] if all(one.get(step, "absent") != seen.get(step, "absent") for one in known)}
    reasons = declared(client, name)
    surprising = {step: {"mlflow": known[0].get(step), "ours": seen.get(step)} for step in sorted(differing - set(reasons))}
    assert surprising == {}, json.dumps(surprising, indent=1, ensure_ascii=False)
    assert sorted(set(reasons) - differing) == [], "these differences are declared and do not occur any more"


@pytest.mark.parametrize("client", sorted(OF))
def test_a_champion_without_a_receipt_is_refused(client: str, tmp_path: Path) -> None:
    with ours(tmp_path, TIDEGATE_ALLOW_UNGATED="false") as url:
        seen = run_script(client, "ungated", url)
    refused = {"raised": "RestException", "error_code": "PERMISSION_DENIED", "status": 403}
    assert seen == {
        "any alias": None,
        "the champion": refused,
        "production": refused,
        "nothing has moved": {"raised": "RestException", "error_code": "INVALID_PARAMETER_VALUE", "status": 400},
        "the alias stands": "1",
    }


def test_every_declared_difference_names_a_step_and_a_reason() -> None:
    for one in DIFFERENCES:
        assert len(one.why) > 20
        for client in one.clients:
            assert any(one.step in recorded(setting, one.script) for setting in SETTINGS if setting.client == client), one


def test_every_script_is_run_by_a_client() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} - {"observing", "ungated"} == {
        name for names in OF.values() for name in names
    }


def test_what_is_chance_is_replaced_and_nothing_else() -> None:
    one, two = "0f" * 16, "ab" * 16
    steps = {
        "a": {
            "run_id": one,
            "parent": one,
            "other": two,
            "experiment_id": "12",
            "artifact_uri": f"mlflow-artifacts:/12/{one}/artifacts",
        },
        "b": [1_795_000_000_000, 1000, 0.5, "kind-crane-12", "2026-11-21T15:12:04.355Z", "http://127.0.0.1:5000/x", "0" * 32],
    }
    assert normalised(steps, server="http://127.0.0.1:5000") == {
        "a": {
            "run_id": "<id 1>",
            "parent": "<id 1>",
            "other": "<id 2>",
            "experiment_id": "<experiment>",
            "artifact_uri": "mlflow-artifacts:/<experiment>/<id 1>/artifacts",
        },
        "b": ["<time>", 1000, 0.5, "<random name>", "<time>", "<server>/x", "0" * 32],
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"client{setting.client}-server{setting.server}")
def test_mlflows_own_server_still_answers_as_recorded(setting: Setting, tmp_path: Path) -> None:
    found = observed(setting, tmp_path)
    changed = {
        f"{name}: {step}": [recorded(setting, name).get(step), steps.get(step)]
        for name, steps in found.items()
        for step in {*steps, *recorded(setting, name)}
        if steps.get(step) != recorded(setting, name).get(step)
    }
    assert changed == {}
