"""Releases, rollouts and packages on the pages: what the ledger, the plan and the evidence say, and nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from server_client import Client
from server_shipping import LONG, TURNED, Shipping, build_shipping
from test_server_pages import Elements, crawl

from tidegate.gate import receipt_key
from tidegate.release.checkpoints import BucketPlace
from tidegate.release.ledger import entry_key
from tidegate.server import create_app

PAGES = ["/releases", "/rollouts", "/rollouts/delay/11", "/rollouts/delay/17", "/models/delay", "/models/delay/versions/4"]


@pytest.fixture(scope="module")
def shipping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipping]:
    folder = tmp_path_factory.mktemp("shipping")
    made = build_shipping(folder / "flights", checkpoint_bucket=str(folder / "second"), webhooks=["http://127.0.0.1:9/hook"])
    yield made
    made.workspace.store.close()


@pytest.fixture(scope="module")
def client(shipping: Shipping) -> Client:
    return Client(create_app(shipping.workspace))


def test_rollouts_are_listed_with_where_they_stand_and_why_they_ended(client: Client) -> None:
    running, harmful = client.get("/api/v1/rollouts").json
    assert (running["number"], running["version"], running["champion"], running["outcome"]) == (17, 3, 1, "running")
    assert (running["step"], running["share"], running["ended_at"]) == (2, 0.5, None)
    assert (harmful["number"], harmful["outcome"], harmful["sentence"][:18]) == (11, "harmful", "accuracy is worse ")
    text = client.get("/rollouts").text
    assert "step 3 of 3, 50 % of keys" in text
    assert "accuracy is worse by" in text


def test_a_rollout_shows_plan_conditions_ratio_decisions_and_pictures(client: Client) -> None:
    text = client.get("/rollouts/delay/17").text
    for told in (
        "✓ held",
        "● now",
        "as declared",
        "harm bound",
        "every condition held",
        "/models/delay#entry-17",
        "/receipts/",
        "/versions/3",
    ):
        assert told in text, told
    figures = [json.loads(found)["data"] for found in Elements(text).json]
    assert len(figures) == 4
    band, line, bound = figures[-1]
    assert len(band["x"]) == 2 * len(line["x"])
    assert max(line["x"]) == 5000
    assert set(bound["y"]) == {0.02}


def test_a_rollout_that_is_over_is_drawn_beside_the_champion_of_then(client: Client) -> None:
    found = client.get("/api/v1/rollouts/delay/11").json
    assert (found["look"]["action"], found["look"]["outcome"], found["problem"]) == ("stop", "harmful", "")
    assert len(found["course"]) == 24
    assert found["course"][-1]["conditions"][-1]["answer"] == "harm"
    assert "✕ harm" in client.get("/rollouts/delay/11").text


def test_how_keys_were_shared_out_is_counted(client: Client) -> None:
    look = client.get("/api/v1/rollouts/delay/17").json["look"]
    (split,) = look["splits"]
    assert (split["share"], split["keys"]) == (0.1, 2000)
    assert 150 < split["candidate"] < 250
    assert look["imbalance"] < 1


@pytest.mark.parametrize("path", ["/rollouts/delay/1", "/rollouts/delay/0", "/rollouts/nobody/17", "/models/delay/diff/1/99"])
def test_what_is_no_rollout_and_no_version_is_not_found(client: Client, path: str) -> None:
    assert client.get(path).status == 404


def test_what_waits_for_whom_is_told(client: Client) -> None:
    (asked,) = client.get("/api/v1/approvals").json
    assert (asked["version"], asked["given"], asked["needed"], asked["missing"]) == (4, ["rob"], 2, ["ops"])
    text = client.get("/releases").text
    assert "<strong>1 of 2</strong>" in text
    assert "1 of ops" in text
    assert "otto, rita, rob; never ana" in text
    form = client.get("/models/delay/versions/4").text
    assert "Approvals 1 of 2" in form
    assert f'data-receipt="{asked["receipt"]}"' in client.get(f"/models/delay/receipts/{asked['receipt']}").text


def test_a_moment_of_the_past_is_answered(client: Client) -> None:
    text = client.get("/models/delay?at=2026-03-02T09:30:00").text
    assert "promoted by ana at 2026-03-02 08:00:00Z" in text
    assert 'href="#entry-6"' in text
    assert "nothing had been promoted" in client.get("/models/delay?at=2025-01-01").text
    assert 'role="alert"' in client.get("/models/delay?at=%3Cscript%3E").text
    assert client.get("/api/v1/models/delay/served?at=2026-03-02T09:30:00").json["version"] == 1


def test_a_package_shows_what_it_takes_and_how_it_is_signed(client: Client) -> None:
    text = client.get("/models/delay/versions/1").text
    for told in ("miles", "0 to 6000", "no policy asks", "numpy==2.4.6", "<h3>Card</h3>", "<strong>flights</strong>", "3.11.9"):
        assert told in text, told
    assert 'href="javascript:' not in text
    diff = client.get("/models/delay/diff/1/2").text
    assert "1,000 bytes" in diff
    assert "2,000 bytes" in diff


def test_notices_that_nobody_takes_are_told(shipping: Shipping, client: Client) -> None:
    assert shipping.workspace.follow_up.wait(30)
    found = client.get("/api/v1/notices").json
    assert {item["target"] for item in found["deliveries"]} == set(found["targets"]) == {"webhook at 127.0.0.1"}
    text = client.get("/releases").text
    assert f"● {len(found['deliveries'])} waiting" in text
    assert " attempt" in text


def test_a_checkpoint_is_verified_behind_none_or_contradicts(tmp_path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(*form).decode()
    made = Shipping(tmp_path / "project")
    made.register(1)
    made.judge(1)
    made.approve(1, "rob", "otto")
    checkpoints = made.workspace.checkpoints
    checkpoints.places, checkpoints._key = [BucketPlace(str(tmp_path / "second"))], key
    page = Client(create_app(made.workspace))
    assert ">none</span>" in page.get("/releases").text
    checkpoints.take("delay")
    assert "✓ verified" in page.get("/models/delay").text
    places, checkpoints.places = checkpoints.places, []  # what follows a move would take the next one by itself
    made.workspace.release.promote("delay", 1, policy=made.workspace.policy("delay"))
    assert made.workspace.follow_up.wait(30)
    checkpoints.places = places
    assert ">behind</span>" in page.get("/releases").text
    checkpoints.take("delay")
    for seq in (5, 4):
        made.workspace.store.bucket.delete(entry_key("delay", seq))
    (standing,) = checkpoints.standing("delay")
    assert "it was cut short" in standing.problem
    made.workspace.store.close()


def test_what_users_wrote_stays_text_and_is_kept_apart(client: Client) -> None:
    pages = crawl(client)
    assert {path: answer.status for path, answer in pages.items() if answer.status not in {200, 303}} == {"/data/eval/1": 404}
    assert all(any(path.startswith(page) for path in pages) for page in PAGES)
    for path in PAGES:
        text = pages.get(path, client.get(path)).text
        found = Elements(text).found
        assert all(given.get("src") or given.get("type") == "application/json" for tag, given in found if tag == "script"), path
        assert not [name for _, given in found for name in given if name.startswith("on") or name == "style"], path
        assert 'class="same"' in text, path
        levels = [int(tag[1]) for tag, _ in found if tag in {"h1", "h2", "h3"}]
        assert levels[0] == 1
        assert levels.count(1) == 1
    assert "&lt;script&gt;alert(1)" in client.get("/releases").text
    assert TURNED in client.get("/models/delay/versions/4").text
    assert LONG in client.get("/models/delay").text
    assert "unicode-bidi: isolate" in client.get("/static/tidegate.css").text


def test_a_receipt_that_is_gone_leaves_the_other_pages_readable(tmp_path) -> None:
    made = Shipping(tmp_path / "project")
    made.register(1)
    key = made.judge(1)
    made.workspace.store.bucket.delete(receipt_key("delay", key, ".json"))
    page = Client(create_app(made.workspace))
    overview = page.get("/")
    assert overview.status == 200
    assert "Look at delay@1" in overview.text
    assert "tidegate store verify" in overview.text
    assert page.get("/releases").status == page.get("/models/delay").status == 200
    made.workspace.store.close()


def test_an_empty_project_says_how_to_begin(empty: Client) -> None:
    assert "tidegate rollout start" in empty.get("/rollouts").text
    assert "waits for anybody" in empty.get("/releases").text
    assert empty.get("/api/v1/approvals").json == []
