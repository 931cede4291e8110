"""A registered version in a job: found by its commit, judged, signed; and a policy that was loosened beside it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ci_jobs import git
from sklearn.linear_model import LogisticRegression

from tidegate.ci import Surroundings, gate_version
from tidegate.cli import main
from tidegate.errors import ApprovalMissing, BadInputError, NotFoundError, RefusedError
from tidegate.gate import read_policy, receipt_key, verify_attestation
from tidegate.models import Candidate
from tidegate.records.ledger import Judged
from tidegate.records.verdict import Verdict
from tidegate.workspace import Workspace

TOML = """
[models.sums]
task = "binary"
[models.sums.gate]
snapshot = "rows@1"
label = "target"
confidence = {confidence}
baseline = {{ kind = "constant", value = 0.5 }}
[[models.sums.gate.rules]]
metric = "log_loss"
test = "superior"
"""


def _rows(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 600))
    return {"a": a, "b": b, "target": (a + b + rng.normal(size=600) > 0).astype(int)}


def _register(workspace: Workspace, *columns: str) -> str:
    rows = _rows(0)
    example = {name: rows[name] for name in columns}
    model = LogisticRegression().fit(np.column_stack(list(example.values())), rows["target"])
    with workspace.runs.start("sums") as run:
        pass
    return workspace.register(Candidate("sums", model, example, task="binary", trained_on="train@1"), run_id=run.id).ref


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a repository on main, with data; its store lies beside it, as a shared one would."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "tidegate.toml").write_text(TOML.format(confidence=0.95))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    ana = _open(folder, "ana")
    ana.datasets.snapshot(_rows(0), "train")
    ana.datasets.snapshot(_rows(1), "rows")
    return folder


def _open(folder: Path, actor: str, **settings: str) -> Workspace:
    return Workspace.open(folder, actor=actor, store=str(folder.parent / "store"), **settings)


def test_the_candidate_of_a_change_is_what_its_commit_registered(project: Path) -> None:
    ana = _open(project, "ana")
    _register(ana, "a")
    first = git(project, "rev-parse", "HEAD")
    git(project, "commit", "-q", "--allow-empty", "-m", "docs")
    ci = _open(project, "ci")
    with pytest.raises(NotFoundError) as missing:
        gate_version(ci, "sums", Surroundings())
    assert missing.value.code == "no-candidate-of-commit"
    assert git(project, "rev-parse", "HEAD")[:12] in missing.value.why
    assert gate_version(ci, "sums@1", Surroundings()).report.candidate == "sums@1"
    assert gate_version(ci, "sums", Surroundings(head=first)).report.candidate == "sums@1"  # a job on the merge of that commit
    _register(ana, "a", "b")
    assert gate_version(ci, "sums", Surroundings()).report.candidate == "sums@2"
    assert gate_version(ci, "sums", Surroundings(head=first)).report.candidate == "sums@2"


def test_a_policy_loosened_beside_the_candidate_needs_one_more_who_did_not_do_it(project: Path) -> None:
    ana, ben, cy, dee = (_open(project, name) for name in ("ana", "ben", "cy", "dee"))
    _register(ana, "a")
    assert gate_version(_open(project, "ci"), "sums@1", Surroundings()).report.verdict is Verdict.PASS
    policy = ana.policy("sums")
    ben.release.approve("sums", 1, policy=policy)
    ana.release.promote("sums", 1, policy=policy)

    git(project, "checkout", "-q", "-b", "change")
    (project / "tidegate.toml").write_text(TOML.format(confidence=0.8))
    git(project, "-c", "user.name=Ben", "commit", "-q", "-am", "easier")
    subprocess.run(["git", "commit", "-q", "--amend", "--no-edit", "--author", "Ben <ben@example.org>"], cwd=project, check=True, env={"GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@x", "PATH": "/usr/bin:/bin"})  # fmt: skip
    _register(ana, "a", "b")
    gated = gate_version(_open(project, "ci"), "sums", Surroundings(base="main"))
    assert gated.report.verdict is Verdict.PASS
    why = "confidence was 0.95 and is 0.8"
    assert [item.what for item in gated.report.warnings if item.code == "policy-loosened"] == [why]
    receipt = ana.release.receipt("sums", gated.receipt)
    assert (receipt.loosened, receipt.loosened_by) == ([why], ["Ben", "ben@example.org"])
    kept = read_policy(ana.store.bucket, "sums", gated.receipt)
    assert kept == ana.policy("sums")
    judged = [entry.event for entry in ana.release.history("sums") if isinstance(entry.event, Judged)]
    assert [event.loosened for event in judged] == [[], [why]]

    policy = ana.policy("sums")
    with pytest.raises(RefusedError, match="loosened the policy"):
        ben.release.approve("sums", 2, policy=policy)
    cy.release.approve("sums", 2, policy=policy)
    with pytest.raises(ApprovalMissing, match="1 of 2"):
        ana.release.promote("sums", 2, policy=policy)
    dee.release.approve("sums", 2, policy=policy)
    ana.release.promote("sums", 2, policy=policy)
    assert ana.verify().problems == []
    # The champion has passed the easier policy now: it is what the next one is held against, on main as well.
    git(project, "checkout", "-q", "-B", "main")
    assert gate_version(_open(project, "ci"), "sums@2", Surroundings()).report.warnings == []


def test_a_loosening_that_came_through_main_is_held_against_the_champion(project: Path) -> None:
    ana = _open(project, "ana")
    _register(ana, "a")
    policy = ana.policy("sums")
    gate_version(ana, "sums@1", Surroundings())
    _open(project, "ben").release.approve("sums", 1, policy=policy)
    ana.release.promote("sums", 1, policy=policy)
    (project / "tidegate.toml").write_text(TOML.format(confidence=0.8))
    git(project, "commit", "-q", "-am", "easier, straight on main")
    _register(ana, "a", "b")
    gated = gate_version(ana, "sums", Surroundings())
    assert ana.release.receipt("sums", gated.receipt).loosened == ["confidence was 0.95 and is 0.8"]


def test_a_receipt_is_signed_where_a_key_is_configured(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = project / "gate.pem", project / "gate.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    _register(_open(project, "ana"), "a")
    plain = gate_version(_open(project, "ana"), "sums@1", Surroundings())
    signed = gate_version(
        _open(project, "ana", signing_key=private.read_text(), now="2013-06-01T00:00:00Z"), "sums@1", Surroundings()
    )
    bucket = _open(project, "ana").store.bucket
    assert verify_attestation(bucket, "sums", signed.receipt, str(public))["subject"][0]["name"] == "sums@1"
    assert bucket.find(receipt_key("sums", plain.receipt, ".dsse.json")) is None
    before = len(_open(project, "ana").release.history("sums"))
    with pytest.raises(BadInputError):
        gate_version(_open(project, "ana", signing_key="/nowhere"), "sums@1", Surroundings())
    assert len(_open(project, "ana").release.history("sums")) == before  # nothing was judged

    told = ""

    def run(*words: str) -> tuple[int, dict[str, object]]:
        nonlocal told
        with pytest.raises(SystemExit) as ended:
            main(["-C", str(project), "--store", str(project.parent / "store"), "gate", *words])
        printed = capsys.readouterr()
        told = printed.err
        return int(ended.value.code or 0), json.loads(printed.out)

    bare = run("attest", plain.receipt)[1]
    assert bare["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert told.startswith("NOT SIGNED")
    assert run("attest", plain.receipt, "--json")[1] == {"digest": plain.receipt, "signed": False, "attestation": bare}
    assert run("verify", plain.receipt, "--key", str(public), "--json")[1]["error"]["code"] == "not-signed"  # type: ignore[index]
    assert run("verify", signed.receipt, "--key", str(public), "--json")[0] == 0
    monkeypatch.setenv("TIDEGATE_SIGNING_KEY", str(private))
    assert set(run("attest", plain.receipt)[1]) == {"payload", "payloadType", "signatures"}
    assert (run("attest", plain.receipt, "--json")[1]["signed"], told) == (True, "")
    assert run("verify", plain.receipt, "--key", str(public), "--json")[0] == 0
    other = project / "other.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", other], check=True, capture_output=True)
    assert run("verify", plain.receipt, "--key", str(other), "--json")[1]["error"]["code"] == "signature-wrong"  # type: ignore[index]
