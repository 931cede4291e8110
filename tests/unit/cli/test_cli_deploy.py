from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from tidegate.cli import main
from tidegate.clock import Clock
from tidegate.models import Candidate
from tidegate.records.ledger import Promoted
from tidegate.records.receipt import Baseline
from tidegate.release.ledger import append
from tidegate.workspace import Workspace

IMAGE = "registry.example/tidegate@sha256:" + "b" * 64


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project with delay@1 and delay@2."""
    folder = tmp_path_factory.mktemp("deploy")
    matrix = np.random.default_rng(0).normal(size=(60, 3))
    opened = Workspace.open(folder)
    for seed in range(2):
        opened.register(Candidate("delay", LogisticRegression(C=1 + seed).fit(matrix, matrix[:, 0] > 0), matrix, "binary"))
    opened.store.close()
    return folder


@pytest.fixture
def workspace(template, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = Workspace.open(shutil.copytree(template, tmp_path, dirs_exist_ok=True))
    yield opened
    opened.store.close()


@pytest.fixture
def promoted(workspace):
    version = workspace.models.get("delay@1")
    event = Promoted(version=1, digest=version.digest, receipt="r", previous=Baseline())
    append(workspace.store.bucket, "delay", lambda _state: event, clock=Clock(), actor="ana")
    return version


def run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    out = capsys.readouterr()
    return ended.value.code or 0, out.out, out.err


def render(capsys, *words):
    return run(capsys, "deploy", "render", "delay", "--image", IMAGE, "--bucket", "s3://models/prod", *words)


def test_the_champion_is_rendered(promoted, capsys):
    code, out, _ = render(capsys)
    assert code == 0
    found = {each["kind"]: each for each in yaml.safe_load_all(out)}
    assert found["Deployment"]["metadata"]["annotations"]["tidegate.dev/model-digest"] == f"sha256:{promoted.digest}"
    assert found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE


def test_into_a_folder_with_the_command_that_follows(promoted, capsys, tmp_path):
    code, out, _ = render(capsys, "--target", "helm", "--output", "chart")
    assert code == 0
    assert out.strip().splitlines()[-1] == "next: helm upgrade --install delay chart/delay"
    assert (tmp_path / "chart/delay/Chart.yaml").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/delay.yaml").write_text("mine")
    code, _, errors = render(capsys, "--output", "mine")
    assert (code, "code: file-exists" in errors) == (1, True)
    assert (tmp_path / "mine/delay.yaml").read_text() == "mine"


def test_json_is_one_object_with_the_files(promoted, capsys):
    told = json.loads(render(capsys, "--target", "argo", "--namespace", "prod", "--json")[1])
    assert (told["target"], list(told["files"]), told["deployment"]["champion"]["version"]) == ("argo", ["delay.yaml"], 1)


def test_a_host_without_containers_needs_no_image_and_no_bucket(promoted, capsys, tmp_path):
    code, out, _ = run(capsys, "deploy", "render", "delay", "--target", "systemd")
    assert code == 0
    assert f"--store {tmp_path}/.tidegate" in out


def test_the_targets_are_listed(capsys):
    code, out, _ = run(capsys, "deploy", "targets", "--json")
    assert (code, [each["name"] for each in json.loads(out)]) == (
        0,
        ["compose", "kubernetes", "helm", "argo", "kserve", "systemd"],
    )


def test_a_model_that_was_never_promoted_is_told(workspace, capsys):
    code, _, errors = render(capsys)
    assert (code, "code: no-champion" in errors) == (1, True)


def test_a_candidate_needs_what_a_promotion_needs(promoted, capsys, tmp_path):
    (tmp_path / "tidegate.toml").write_text('[models.delay]\ntask = "binary"\n')
    code, out, errors = render(capsys, "--candidate", "2", "--share", "0.1", "--gateway", "public")
    assert (code, out) == (1, "")
    assert "delay@2" in errors


POLICY = """
[models.delay]
task = "binary"
[models.delay.gate]
snapshot = "rows@1"
label = "label"
baseline = { kind = "constant", value = 0.5 }
[[models.delay.gate.rules]]
metric = "brier"
test = "not_worse"
margin = 0.2
[models.delay.release]
approvals = 0
[models.delay.rollout]
mode = "shadow"
"""


def test_a_candidate_that_may_be_promoted_gets_pods_and_a_share(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tidegate.toml").write_text(POLICY)
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 3)), columns=["a", "b", "c"])
    label = (rows["a"] + np.random.default_rng(1).normal(size=400) > 0).astype(int)
    workspace = Workspace.open(tmp_path)
    workspace.datasets.snapshot(rows[200:].assign(label=label[200:]), "rows")
    for strength in (1.0, 0.5):
        workspace.register(Candidate("delay", LogisticRegression(C=strength).fit(rows[:200], label[:200]), rows[:200], "binary"))
    assert workspace.judge("delay@1").verdict == "PASS"
    workspace.release.promote("delay", 1, policy=workspace.policy("delay"))
    assert workspace.judge("delay@2").verdict == "PASS"
    workspace.store.close()
    code, out, _ = render(capsys, "--candidate", "2", "--share", "0.1", "--gateway", "public")
    assert code == 0
    found = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(out)}
    served = {
        name: each["spec"]["template"]["spec"]["containers"][0]["args"][3]
        for (kind, name), each in found.items()
        if kind == "Deployment"
    }
    assert served == {"delay": "delay", "delay-candidate": "delay@2"}
    weights = {each["name"]: each["weight"] for each in found["HTTPRoute", "delay"]["spec"]["rules"][0]["backendRefs"]}
    assert weights == {"delay": 90, "delay-candidate": 10}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["delay", "--bucket", "s3://models"], "image-missing"),
        (["delay", "--image", "tidegate:latest"], "image-not-pinned"),
        (["delay", "--image", IMAGE], "bucket-needed"),
        (["delay", "--image", IMAGE, "--bucket", "s3://models", "--target", "nomad"], "unknown-target"),
        (["delay@2", "--image", IMAGE], "version-not-wanted"),
        (["../../delay", "--image", IMAGE], "bad-name"),
        (["delay\n- x", "--image", IMAGE], "bad-name"),
        (["delay", "--image", IMAGE, "--bucket", "s3://a b"], "bad-option"),
        (["delay", "--image", IMAGE, "--bucket", "s3://models", "--namespace", "a b"], "bad-option"),
    ],
)
def test_what_cannot_be_rendered_is_told_with_a_code(promoted, capsys, words, code):
    ended, out, errors = run(capsys, "deploy", "render", *words)
    assert (ended, out) == (2, "")
    assert f"code: {code}" in errors
    assert "fix: " in errors


def test_a_noun_may_be_written_in_the_plural(promoted, capsys):
    assert "delay@1" in run(capsys, "models", "list")[1]
    assert run(capsys, "runs", "list")[0] == 0
    code, _, errors = run(capsys, "modelss", "list")
    assert (code, "model" in errors) == (2, True)
