import shutil
import subprocess
import sys
from dataclasses import replace
from textwrap import dedent

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tidegate.errors import ApprovalMissing, BadInputError, ConflictError, NotFoundError, UsageError
from tidegate.models import Candidate
from tidegate.records.verdict import Verdict
from tidegate.store import object_key
from tidegate.workspace import Workspace

TOML = """
[models.sums]
task = "binary"
[models.sums.gate]
snapshot = "rows@1"
label = "target"
baseline = { kind = "constant", value = 0.5 }
[[models.sums.gate.rules]]
metric = "log_loss"
test = "superior"
"""

PIPELINES = """
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from tidegate import Candidate, Dataset, pipeline, step


@step
def fit(train: Path, columns: list[str]) -> Candidate:
    rows = pd.read_csv(train)
    return Candidate("sums", LogisticRegression().fit(rows[columns], rows["target"]), rows[columns], task="binary")


@pipeline
def one(train: Dataset = Dataset("train@1")) -> Candidate:
    return fit(train, ["a"])


@pipeline
def both(train: Dataset = Dataset("train@1")) -> Candidate:
    return fit(train, ["a", "b"])


@step
def count(train: Path) -> int:
    return len(pd.read_csv(train))


@pipeline
def no_model(train: Dataset = Dataset("train@1")) -> int:
    return count(train)
"""

DATA = """
import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
rows = pd.DataFrame(rng.normal(size=(1200, 2)), columns=["a", "b"])
rows["target"] = (rows["a"] + rows["b"] + rng.normal(size=1200) > 0).astype(int)
rows[:600].to_csv("train.csv", index=False)
rows[600:].to_csv("rows.csv", index=False)
"""


def python(folder, program):
    """What a program of a user prints, run in the project's folder."""
    done = subprocess.run([sys.executable, "-c", dedent(program)], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.split()


TRAIN = """
from tidegate import open_workspace
for name in ("one", "both", "one"):
    print(open_workspace(actor="ana").run_pipeline(f"pipelines:{name}").version.ref)
done = open_workspace(actor="ana").run_pipeline("pipelines:no_model")
print(done.value, done.version)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project with two snapshots and two versions; its pipelines ran in a process of their own, as a user's would."""
    folder = tmp_path_factory.mktemp("trained") / "project"
    folder.mkdir()
    (folder / "tidegate.toml").write_text(TOML)
    (folder / "pipelines.py").write_text(PIPELINES)
    python(folder, DATA)
    workspace = Workspace.open(folder, actor="ana")
    workspace.datasets.snapshot(folder / "train.csv", "train")
    workspace.datasets.snapshot(folder / "rows.csv", "rows")
    return folder, python(folder, TRAIN)


@pytest.fixture
def project(trained, tmp_path):
    """A copy of the trained project for one test."""
    return shutil.copytree(trained[0], tmp_path / "project")


def champion(folder, version):
    ana, ben = Workspace.open(folder, actor="ana"), Workspace.open(folder, actor="ben")
    ana.judge(f"sums@{version}")
    ben.release.approve("sums", version, policy=ben.policy("sums"))
    ana.release.promote("sums", version, policy=ana.policy("sums"))
    return ana


def test_a_candidate_becomes_a_version_that_knows_where_it_comes_from(project):
    workspace = Workspace.open(project)
    manifest = workspace.version("sums@1").manifest
    assert (manifest.author, manifest.lineage.pipeline, manifest.lineage.snapshots) == ("ana", "pipelines:one", ["train@1"])
    assert workspace.runs.get(manifest.lineage.run).experiment == "one"
    assert workspace.release.state("sums").digests[1] == workspace.version("sums@1").digest


def test_the_same_training_is_the_same_version_and_a_pipeline_may_return_anything(trained):
    assert trained[1] == ["sums@1", "sums@2", "sums@1", "600", "None"]


def test_a_verdict_is_recorded_whatever_it_is(project):
    workspace = champion(project, 2)
    judged = workspace.judge("sums@1")
    assert judged.verdict is Verdict.FAIL
    assert judged.receipt.baseline == workspace.release.pointer("sums").champion
    assert workspace.release.newest_receipt("sums", 1) == judged.receipt_digest
    assert workspace.release.receipt("sums", judged.receipt_digest) == judged.receipt


def test_the_champion_has_a_name(project):
    with pytest.raises(NotFoundError, match="has no champion"):
        Workspace.open(project).version("sums@champion")
    assert champion(project, 1).version("sums@champion").ref == "sums@1"


def test_without_an_approval_nothing_moves(project):
    workspace = Workspace.open(project, actor="ana")
    assert workspace.judge("sums@1").verdict is Verdict.PASS
    with pytest.raises(ApprovalMissing):
        workspace.release.promote("sums", 1, policy=workspace.policy("sums"))


def test_a_receipt_is_void_once_the_champion_has_moved(project):
    workspace = champion(project, 1)
    policy = workspace.policy("sums")
    workspace.judge("sums@2")
    Workspace.open(project, actor="ben").release.approve("sums", 2, policy=policy)
    workspace.release.promote("sums", 2, policy=policy)
    workspace.release.rollback("sums", reason="drill")
    workspace.release.lift("sums", 2, reason="over")
    with pytest.raises(ConflictError, match="sums@1 serves since"):
        workspace.release.promote("sums", 2, policy=policy)


def test_everything_verifies_and_a_change_is_named(project):
    workspace = champion(project, 1)
    found = workspace.verify()
    assert (found.problems, found.snapshots, found.versions, found.ledgers) == ([], 2, 2, 1)
    key = object_key(workspace.version("sums@1").manifest.files[0].digest)
    path = workspace.store.bucket.local(key)
    path.chmod(0o644)
    path.write_bytes(b"other")
    assert any("changed" in problem for problem in workspace.verify().problems)
    workspace.store.bucket.delete("models/sums/versions/2/manifest.json")
    snapshot = workspace.store.bucket.local("datasets/rows/00000001/manifest.json")
    snapshot.chmod(0o644)
    snapshot.write_bytes(b"{")
    (snapshot.parents[2] / ".DS_Store").write_bytes(b"")
    (workspace.store.bucket.local("models/sums/current.json").parents[1] / ".DS_Store").write_bytes(b"")
    problems = workspace.verify().problems
    assert any("the document of rows@1 was changed" in problem for problem in problems)
    assert any("sums@2 is missing" in problem for problem in problems)
    assert any("was changed on disk" in problem for problem in problems)
    states = [document.state for document in workspace.store.documents.list("verification")]
    assert sorted(states) == ["ok", "problems", "problems"]


def test_the_index_is_rebuilt_from_the_bucket(project):
    workspace = champion(project, 1)
    before = {
        (entry.kind, entry.name, entry.number, entry.digest)
        for kind in ("dataset", "model")
        for entry in workspace.store.catalog.list(kind)
    }
    assert workspace.reindex() == len(before) == 4
    assert before == {
        (entry.kind, entry.name, entry.number, entry.digest)
        for kind in ("dataset", "model")
        for entry in workspace.store.catalog.list(kind)
    }


def test_an_undeclared_model_names_the_nearest(project):
    with pytest.raises(NotFoundError, match="did you mean 'sums'"):
        Workspace.open(project).policy("sum")


def test_a_typo_in_a_policy_names_the_key(project):
    (project / "tidegate.toml").write_text(TOML.replace("superior", "superiour"))
    with pytest.raises(UsageError, match="superior"):
        _ = Workspace.open(project).policies


def test_a_fixed_time_is_marked_in_the_ledger(project):
    workspace = Workspace.open(project, now="2013-06-01", actor="ana")
    workspace.release.freeze("sums", reason="holiday")
    entry = workspace.release.history("sums")[-1]
    assert (entry.clock, entry.at) == ("replay", workspace.clock.now())


def test_what_a_candidate_was_trained_on_must_be_there(project):
    workspace = Workspace.open(project)
    candidate = Candidate("sums", LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]), np.array([[1.0], [2.0]]), "regression")
    with pytest.raises(NotFoundError, match="no dataset trian"):
        workspace.register(replace(candidate, trained_on=["trian@1"]))
    assert workspace.register(replace(candidate, trained_on="train@latest")).manifest.lineage.snapshots == ["train@1"]
    with pytest.raises(UsageError, match="a LinearRegression is no candidate"):
        workspace.register(candidate.estimator)
    with pytest.raises(UsageError, match="a int names no model"):
        workspace.judge(1)


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        Workspace.open(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_a_store_is_no_data(project):
    with pytest.raises(BadInputError, match="is a store of Tidegate"):
        Workspace.open(project).datasets.snapshot(project, "everything")
