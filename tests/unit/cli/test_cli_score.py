from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tidegate import frames
from tidegate.cli import main
from tidegate.clock import Clock
from tidegate.models import Candidate
from tidegate.records.ledger import Promoted
from tidegate.records.receipt import Baseline
from tidegate.release.ledger import append
from tidegate.workspace import Workspace

ROWS = 3000


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project with delay@1, not promoted, and may.parquet."""
    folder = tmp_path_factory.mktemp("score")
    rng = np.random.default_rng(0)
    table = {"id": np.arange(ROWS), "wind": rng.normal(size=ROWS), "seats": rng.normal(size=ROWS)}
    with frames.connect() as con:
        frames.write_parquet(frames.relation(con, table), folder / "may.parquet")
        example = frames.relation(con, {"wind": table["wind"][:100], "seats": table["seats"][:100]}).df()
    opened = Workspace.open(folder)
    opened.register(Candidate("delay", LogisticRegression().fit(example, example["wind"] > 0), example, "binary"))
    opened.store.close()
    return folder


@pytest.fixture
def workspace(template, tmp_path, monkeypatch):
    """A copy of it; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    opened = Workspace.open(shutil.copytree(template, tmp_path, dirs_exist_ok=True))
    yield opened
    opened.store.close()


def promote(workspace, number=1):
    version = workspace.models.get(f"delay@{number}")
    event = Promoted(version=number, digest=version.digest, receipt="r", previous=Baseline())
    append(workspace.store.bucket, "delay", lambda _state: event, clock=Clock(), actor="ana")


def run(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    out = capsys.readouterr()
    return ended.value.code or 0, out.out, out.err


def test_a_version_scores_a_file(workspace, capsys):
    code, out, _ = run(capsys, "score", "delay@1", "may.parquet", "--keep", "id,wind", "--columns", "label")
    assert code == 0
    assert "delay@1: 3,000 rows of 1 file" in out
    assert "predictions.parquet: SHA-256" in out
    run_id = out.strip().splitlines()[-1].rpartition(" ")[2]
    assert out.strip().splitlines()[-1].startswith("next: tidegate run show ")
    with frames.connect() as con:
        assert frames.relation(con, "predictions.parquet").columns == ["id", "wind", "label"]
    assert run(capsys, "run", "show", run_id)[0] == 0


def test_json_is_one_object(workspace, capsys):
    code, out, _ = run(capsys, "score", "delay@1", "may.parquet", "--output", "out.csv", "--json")
    done = json.loads(out)
    assert (code, done["rows"], done["model"], done["output"]) == (0, ROWS, "delay@1", "out.csv")


def test_without_a_version_it_is_the_champion(workspace, capsys):
    code, _, errors = run(capsys, "score", "delay", "may.parquet")
    assert (code, "no-champion" in errors) == (1, True)
    promote(workspace)
    assert "delay@1: 3,000 rows" in run(capsys, "score", "delay", "may.parquet")[1]
    assert "delay@1: 3,000 rows" in run(capsys, "score", "delay@champion", "may.parquet")[1]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["../delay", "may.parquet"], "bad-name"),
        (["delay@one two", "may.parquet"], "bad-reference"),
        (["dela@1", "may.parquet"], "no-such-version"),
        (["delay@1", "june.parquet"], "input-not-found"),
        (["delay@1", "may.parquet", "--on-error", "ignore"], "bad-option"),
        (["delay@1", "may.parquet", "--engine", "spark"], "unknown-engine"),
        (["delay@1", "may.parquet", "--output", "may.parquet"], "bad-output"),
        (["delay@1", "s3://", "--output", "x.parquet"], "bad-bucket"),
    ],
)
def test_what_cannot_be_is_told_with_a_code(workspace, capsys, words, code):
    ended, _, errors = run(capsys, "score", *words)
    assert ended in {1, 2}
    assert f"code: {code}" in errors
    assert "fix: " in errors


def test_rows_that_were_left_out_are_counted(workspace, capsys, tmp_path):
    (tmp_path / "odd.csv").write_text("wind,seats\n1,2\nmany,2\n3,\n4,5\n")
    code, _, errors = run(capsys, "score", "delay@1", "odd.csv")
    assert (code, "row 1 of odd.csv" in errors) == (1, True)
    code, out, _ = run(capsys, "score", "delay@1", "odd.csv", "--on-error", "skip")
    assert code == 0
    assert "left out: 1 row, 'wind' is no float64 [wrong-type]: row 1 of odd.csv" in out


@pytest.mark.slow
def test_ctrl_c_leaves_no_half_file_and_the_same_command_goes_on(workspace, tmp_path):
    with frames.connect() as con:
        many = "SELECT range AS id, random() AS wind, random() AS seats FROM range(6000000)"
        con.execute(f"COPY ({many}) TO '{tmp_path}/many.parquet'")
    command = [sys.executable, "-m", "tidegate", "score", "delay@1", "many.parquet", "--workers", "1", "--json"]
    # In the background of a shell Ctrl-C is ignored, and what is started there inherits that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, before)
    partial = tmp_path / "predictions.parquet.partial"
    until = time.monotonic() + 60
    while len(list(partial.glob("*.json"))) < 10 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (tmp_path / "predictions.parquet").exists()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    scored = json.loads(done.stdout)
    assert scored["rows"] == 6_000_000
    assert scored["resumed"] > 0
    assert not partial.exists()
