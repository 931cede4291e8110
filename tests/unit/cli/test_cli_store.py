"""``tidegate run delete`` and ``restore``, ``tidegate store gc``, on a store with something of everything."""

import csv
import io
import json
import os
import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tidegate.cli.app import main
from tidegate.models import Candidate
from tidegate.store import object_key
from tidegate.workspace import Workspace


def tidegate(capsys, *words):
    """Exit code, standard output and standard error of one call."""
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    captured = capsys.readouterr()
    return caught.value.code or 0, captured.out, captured.err


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "tidegate.toml").write_text("")
    return folder


def make_runs(folder):
    """Three runs with artifacts; their ids."""
    workspace = Workspace.open(folder)
    ids = []
    for depth in (2, 4, 6):
        with workspace.runs.start("delay", params={"depth": depth}) as run:
            run.log(loss=1 / depth)
            run.artifact(f"artifact of {depth}".encode() * 1000, "notes.txt")
        ids.append(run.id)
    workspace.store.close()
    return ids


def age(folder):
    """Makes every object a month old."""
    for path in (folder / ".tidegate" / "bucket" / "objects").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 30 * 86_400,) * 2)


def test_delete_restore_and_collect(project, capsys):
    first, second, third = make_runs(project)
    age(project)
    code, out, _ = tidegate(capsys, "run", "delete", first, second)
    assert (code, out) == (0, f"2 runs deleted\nnext: tidegate run restore {first}\n")
    assert [run["id"] for run in json.loads(tidegate(capsys, "run", "list", "--deleted", "--json")[1])] == [second, first]
    assert tidegate(capsys, "run", "restore", second)[1].startswith(f"run {second} restored")
    assert "nothing to remove" in tidegate(capsys, "store", "gc")[1]

    _, out, _ = tidegate(capsys, "store", "gc", "--grace", "0s")
    assert f"run {first} of delay" in out
    assert "1 objects, 13.0 kB: nothing refers to them" in out or "objects" in out
    assert "nothing was changed" in out
    assert out.splitlines()[-1] == "next: tidegate store gc --grace 0s --apply"
    assert Workspace.open(project).runs.get(first).id == first

    answer = json.loads(tidegate(capsys, "store", "gc", "--grace", "0s", "--apply", "--json")[1])
    assert answer["removed"]["runs"] == 1
    assert answer["removed"]["object_bytes"] == answer["bytes"] >= 13_000
    code, _, err = tidegate(capsys, "run", "restore", first)
    assert code == 1
    assert "run-not-found" in err
    code, out, _ = tidegate(capsys, "store", "verify")
    assert code == 0
    assert "all as recorded" in out
    left = Workspace.open(project)
    assert left.runs.artifact(second, "notes.txt").read_bytes().startswith(b"artifact of 4")
    assert left.runs.artifact(third, "notes.txt").read_bytes().startswith(b"artifact of 6")


def test_nothing_that_is_needed_is_collected(project, capsys):
    """Snapshots, a version, a run with its code and artifacts: all of it is a month old, and all of it stays."""
    make_runs(project)
    workspace = Workspace.open(project)
    rows = np.random.default_rng(1).normal(size=(50, 2))
    (project / "rows.csv").write_text("\n".join(["a,b", *[f"{a},{b}" for a, b in rows]]))
    workspace.datasets.snapshot(project / "rows.csv", "rows")
    estimator = LogisticRegression().fit(rows, rows[:, 0] > 0)
    workspace.register(Candidate("sums", estimator, rows[:5], task="binary"))
    loose = project / ".tidegate" / "bucket" / object_key("ab" * 32)
    loose.parent.mkdir(parents=True, exist_ok=True)
    loose.write_bytes(b"nobody's")
    age(project)
    before = json.loads(tidegate(capsys, "store", "gc", "--json")[1])["plan"]
    assert [item["digest"] for item in before["objects"]] == ["ab" * 32]
    assert tidegate(capsys, "store", "gc", "--apply")[0] == 0
    code, out, _ = tidegate(capsys, "store", "verify")
    assert code == 0
    assert "1 snapshot, 1 model version, 1 ledger checked: all as recorded" in out


def test_delete_by_filter_asks_first(project, capsys):
    ids = make_runs(project)
    code, out, _ = tidegate(capsys, "run", "delete", "--where", "metrics.loss < 0.3", "--json")
    assert code == 2
    assert "not-confirmed" in out
    answer = json.loads(tidegate(capsys, "run", "delete", "--where", "metrics.loss < 0.3", "--yes", "--json")[1])
    assert set(answer["deleted"]) == set(ids[1:])
    assert tidegate(capsys, "run", "delete")[0] == 2
    assert tidegate(capsys, "run", "delete", ids[0], "--where", "name = 'x'")[0] == 2
    assert tidegate(capsys, "run", "delete", "nobody")[0] == 1


def test_list_has_the_columns_that_are_asked_for(project, capsys):
    ids = make_runs(project)
    words = ["run", "list", "--where", "params.depth != '2'", "--order-by", "min(metrics.loss)"]
    _, out, _ = tidegate(capsys, *words, "--columns", "params.depth, max(metrics.loss), tags.team", "--csv")
    assert list(csv.reader(io.StringIO(out))) == [
        ["id", "params.depth", "max(metrics.loss)", "tags.team"],
        [ids[2], "6", "0.166667", ""],
        [ids[1], "4", "0.25", ""],
    ]
    _, out, _ = tidegate(capsys, *words, "--limit", "1", "--offset", "1")
    assert ids[1] in out
    assert ids[2] not in out
    code, _, err = tidegate(capsys, "run", "list", "--where", "metrics.loss <")
    assert code == 2
    assert "bad-filter" in err


def test_verify_names_what_a_run_has_lost(project, capsys):
    first, second, third = make_runs(project)
    assert tidegate(capsys, "store", "verify")[0] == 0
    workspace = Workspace.open(project)
    digest = workspace.runs.get(second).artifacts["notes.txt"]
    workspace.store.close()
    (project / ".tidegate" / "bucket" / object_key(digest)).unlink()
    code, out, _ = tidegate(capsys, "store", "verify")
    assert code == 1
    assert f"problem: run {second}: its artifact notes.txt is missing: object {digest}" in out
    assert first not in out
    assert third not in out
