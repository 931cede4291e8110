"""An approval through the web: of what was read, under a name, and by nobody's page but ours."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_client import Answer, Client

from tidegate import digest
from tidegate.clock import DAY, parse_time
from tidegate.gate import policy_digest, receipt_key, report_bytes
from tidegate.records.ledger import Approved
from tidegate.records.model import Lineage, Manifest, ModelVersion, Signature
from tidegate.records.policy import ModelPolicy
from tidegate.records.receipt import Receipt
from tidegate.records.report import SCHEMA, Report
from tidegate.records.verdict import Verdict
from tidegate.release import Release
from tidegate.server import create_app
from tidegate.workspace import Workspace

POLICY = """
[models.delay]
task = "binary"
[models.delay.release]
approvers = ["ben"]
"""
REPORT = Report(
    schema=SCHEMA, title="", verdict=Verdict.PASS, sentence="", task="binary", candidate="", champion="", rows=1, clusters=None,
    confidence=0.95, seed=0, rules=[],
)  # fmt: skip
URL = "/api/v1/models/delay/versions/1/approvals"
NOW = "2026-03-02T08:00:00"


class Site:
    """A server whose model has one version, judged and waiting."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        (folder / "tidegate.toml").write_text(POLICY, encoding="utf-8")
        self.workspace = Workspace.open(folder, now=NOW, **{"actor": "root", **settings})
        self.client = Client(create_app(self.workspace))
        manifest = Manifest(
            name="delay", version=1, task="binary", format="onnx", loads_code=False, signature=Signature(inputs=[], outputs=[]),
            files=[], lineage=Lineage(), created_at=1, author="ana",
        )  # fmt: skip
        author = Release(self.workspace.store.bucket, self.workspace.clock, "ana")
        self.version = ModelVersion(digest=digest.of_json(manifest), manifest=manifest)
        bucket = self.workspace.store.bucket
        bucket.put_if_absent("models/delay/versions/1/manifest.json", digest.canonical(manifest))
        self.workspace.models.reindex()
        author.register(self.version)
        self.receipt = self.judge(0)

    def judge(self, seed: int) -> str:
        now = parse_time(NOW)
        receipt = Receipt(
            model="delay", candidate=1, candidate_digest=self.version.digest,
            baseline=self.workspace.release.pointer("delay").champion, snapshot="eval@1", snapshot_digest="s",
            policy_digest=policy_digest(ModelPolicy(task="binary")), report_digest=digest.of_bytes(report_bytes(REPORT)),
            verdict=Verdict.PASS, code="c", seed=seed, author="ana", judged_at=now, expires_at=now + 14 * DAY,
        )  # fmt: skip
        key, bucket = digest.of_json(receipt), self.workspace.store.bucket
        bucket.put_if_absent(receipt_key("delay", key, ".json"), digest.canonical(receipt))
        bucket.put_if_absent(receipt_key("delay", key, ".report.json"), report_bytes(REPORT))
        self.workspace.release.judged(receipt)
        return key

    def approve(self, fields: Any = None, **headers: str) -> Answer:
        body = {"receipt": self.receipt, "approver": "ben", "comment": "read it"} if fields is None else fields
        return self.client.send("POST", URL, json.dumps(body).encode(), **{"content_type": "application/json", **headers})

    def consents(self) -> list[tuple[str, str]]:
        return [(item.approver, item.via) for item in self.workspace.release.state("delay").consents]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.workspace.store.close()


def test_a_typed_name_counts_and_the_ledger_says_whose_page_it_was_typed_on(site: Site) -> None:
    assert "approve" in site.client.get("/releases").text
    assert site.approve().status == 200
    (entry,) = [entry for entry in site.workspace.release.history("delay") if isinstance(entry.event, Approved)]
    assert (entry.actor, entry.event.typed, entry.event.via, site.consents()) == ("root", "ben", "ui", [("ben", "ui")])
    page = site.client.get("/models/delay/versions/1").text
    assert "<strong>ben</strong>" in page
    assert "by ui, typed on a page of root: read it" in page
    assert "as ben, a name that was typed on a web page" in site.client.get("/models/delay").text
    assert "waits for anybody" in site.client.get("/releases").text
    site.workspace.release.promote("delay", 1, policy=site.workspace.policy("delay"))
    assert "data-approve" not in site.client.get("/models/delay/versions/1").text


@pytest.mark.parametrize("kind", [".json", ".report.json"])
def test_a_version_whose_receipt_is_gone_still_has_a_page(site: Site, kind: str) -> None:
    site.workspace.store.bucket.delete(receipt_key("delay", site.receipt, kind))
    page = site.client.get("/models/delay/versions/1")
    assert page.status == 200
    assert "what it was judged by is there" in page.text
    assert "data-approve" not in page.text
    assert site.client.get("/models/delay").status == site.client.get("/releases").status == 200


def test_the_page_asks_and_binds_what_it_shows(site: Site) -> None:
    page = site.client.get("/models/delay/versions/1").text
    assert f'data-approve="{URL}" data-receipt="{site.receipt}"' in page


def test_on_the_authors_own_server_a_typed_name_is_nobody_but_the_author(tmp_path: Path) -> None:
    """Whoever runs the server could type any name: it must not become a second person."""
    site = Site(tmp_path, actor="ana")
    answer = site.approve()
    assert (answer.status, answer.json["error"]["code"], site.consents()) == (403, "author-cannot-approve", [])
    site.workspace.store.close()


def test_an_approver_at_their_own_server_needs_no_typed_name(tmp_path: Path) -> None:
    site = Site(tmp_path, actor="ben")
    assert site.approve().status == 200
    assert [entry.event.typed for entry in site.workspace.release.history("delay") if isinstance(entry.event, Approved)] == [""]
    site.workspace.store.close()


def test_a_name_beside_no_token_is_only_a_typed_one(site: Site) -> None:
    basic = base64.b64encode(b"ben:anything").decode()
    assert site.approve({"receipt": site.receipt, "approver": "eve"}, authorization=f"Basic {basic}").status == 403
    assert site.consents() == []


@pytest.mark.parametrize("name", ["ben\u202e", "b\u200ben", "ben\n", "x" * 101])
def test_a_name_that_cannot_be_read_is_none(site: Site, name: str) -> None:
    answer = site.approve({"receipt": site.receipt, "approver": f"a{name}b"})
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-approval")


@pytest.mark.parametrize("name", ["ana", "eve", "", "  "])
def test_the_author_a_stranger_and_nobody_are_refused(site: Site, name: str) -> None:
    answer = site.approve({"receipt": site.receipt, "approver": name})
    assert (answer.status, site.consents()) == (403, [])


def test_what_was_judged_anew_since_is_not_what_was_read(site: Site) -> None:
    site.judge(1)
    answer = site.approve()
    assert (answer.status, answer.json["error"]["code"], site.consents()) == (409, "receipt-replaced", [])


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"receipt": 1}', b'{"receipt": "r", "other": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_approval_is_refused(site: Site, body: bytes) -> None:
    answer = site.client.send("POST", URL, body, content_type="application/json")
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-approval")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"content_type": "text/plain"},
        {"host": "evil.example"},
    ],
)
def test_a_page_of_another_site_approves_nothing(site: Site, headers: dict[str, str]) -> None:
    assert site.approve(**headers).status in {400, 403}
    assert site.consents() == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_an_approval_is_posted_and_nothing_else(site: Site, method: str) -> None:
    assert site.client.send(method, URL, b"{}", content_type="application/json").status == 405


def test_the_name_beside_the_token_counts_whatever_is_typed(tmp_path: Path) -> None:
    site = Site(tmp_path, token="secret")
    basic = base64.b64encode(b"ben:secret").decode()
    assert site.approve({"receipt": site.receipt, "approver": "rob"}).status == 401
    assert site.approve({"receipt": site.receipt, "approver": "rob"}, authorization=f"Basic {basic}").status == 200
    assert site.consents() == [("ben", "ui")]
    page = site.client.get_with("/models/delay/versions/1", [(b"host", b"h"), (b"authorization", f"Basic {basic}".encode())]).text
    assert "by ui: read it" not in page
    assert "typed on a page" not in page
    site.workspace.store.close()
