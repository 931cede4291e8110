"""``tidegate gate`` as a CI calls it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tidegate.cli import main
from tidegate.cli.gate import app
from tidegate.errors import UsageError

POLICY = 'task = "binary"\nlabel = "y"\ncandidate = "new"\nchampion = "old"\n[[rules]]\nmetric = "accuracy"\ntest = "{test}"\n'


def _file(folder: Path, good: str, n: int = 400) -> Path:
    """Predictions in which the ``good`` column is right 90 times of 100, the other 60."""
    lines = ["y,new,old"]
    for row in range(n):
        y = row % 2
        best, poor = y ^ (row % 10 == 0), y ^ (row % 5 < 2)
        lines.append(f"{y},{best if good == 'new' else poor},{best if good == 'old' else poor}")
    path = folder / "predictions.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "gate.toml"
    path.write_text(POLICY.format(test="superior"))
    return path


@pytest.mark.parametrize(
    ("good", "n", "code", "verdict"), [("new", 400, 0, "PASS"), ("old", 400, 3, "FAIL"), ("new", 20, 4, "INCONCLUSIVE")]
)
def test_the_exit_code_is_the_verdict(tmp_path: Path, policy: Path, good: str, n: int, code: int, verdict: str) -> None:
    done = CliRunner().invoke(app, ["check", str(_file(tmp_path, good, n)), "--policy", str(policy), "--json"])
    assert done.exit_code == code
    assert json.loads(done.stdout)["verdict"] == verdict
    plain = CliRunner().invoke(app, ["check", str(_file(tmp_path, good, n)), "--policy", str(policy)])
    assert (plain.exit_code, plain.stdout.split()[0]) == (code, verdict)


def test_it_says_which_code_a_policy_makes_it_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tidegate.toml").touch()
    (tmp_path / "share_metrics.py").write_text(
        "def right(labels, predictions):\n    return float((labels == predictions).mean())\n"
    )
    policy = tmp_path / "gate.toml"
    policy.write_text(POLICY.replace('"accuracy"', '"share_metrics:right"').format(test="superior"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["check", str(_file(tmp_path, "new")), "--policy", str(policy), "--json"])
    assert done.exit_code == 0
    assert done.stderr.startswith("runs share_metrics:right, as the policy says")
    assert json.loads(done.stdout)["rules"][0]["candidate"]["estimate"] == 0.9
    assert str(tmp_path) not in sys.path


def test_bad_input_is_invalid_and_still_one_json_object(tmp_path: Path, policy: Path) -> None:
    done = CliRunner().invoke(app, ["check", str(tmp_path / "gone.parquet"), "--policy", str(policy), "--json"])
    assert done.exit_code == 5
    assert json.loads(done.stdout)["problems"][0]["code"] == "file-not-found"


def test_pages_are_written(tmp_path: Path, policy: Path) -> None:
    page, note = tmp_path / "r.html", tmp_path / "r.md"
    arguments = ["check", str(_file(tmp_path, "new")), "--policy", str(policy), "--html", str(page), "--markdown", str(note)]
    plain = CliRunner().invoke(app, arguments)
    assert (plain.exit_code, plain.stdout.splitlines()[-2:]) == (0, [f"wrote {page}", f"wrote {note}"])
    machine = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(machine.stdout)["verdict"] == "PASS"
    assert machine.stderr.splitlines() == [f"wrote {page}", f"wrote {note}"]
    assert page.read_text().startswith("<!doctype html>")
    assert note.read_text().startswith("<!-- tidegate-gate: new -->\n## ✅ PASS")


def test_a_bad_policy_is_a_usage_error(tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(POLICY.format(test="superiour"))
    for place in (policy, tmp_path / "gone.toml"):
        with pytest.raises(SystemExit) as ended:
            main(["gate", "check", str(_file(tmp_path, "new")), "--policy", str(place), "--json"])
        assert ended.value.code == 2
        assert json.loads(capsys.readouterr().out)["error"]["code"] in {"unknown-test", "policy-not-found"}


def test_a_reference_is_taken_for_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["gate", "delay@1"], ["gate", "run", "delay@1"], ["gate", "delay"]):
        with pytest.raises(SystemExit) as ended:
            main(["-C", str(tmp_path), *words, "--json"])
        assert ended.value.code == 1
        assert "delay" in json.loads(capsys.readouterr().out)["error"]["what"]


@pytest.mark.parametrize(("word", "said"), [("chek", "'check'"), ("rows.csv", "tidegate gate check rows.csv")])
def test_a_typo_or_a_file_is_not_taken_for_a_model(word: str, said: str) -> None:
    done = CliRunner().invoke(app, [word])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)


def test_what_cannot_be_written_is_told(tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gate", "check", str(_file(tmp_path, "new")), "--policy", str(policy), "--html", str(tmp_path / "no" / "r.html")])
    assert ended.value.code == 1
    assert "cannot write" in capsys.readouterr().err


def test_a_plan_needs_no_labels_and_names_the_rows_to_label(tmp_path: Path, policy: Path) -> None:
    source = _file(tmp_path, "new")
    source.write_text("\n".join(line.partition(",")[2] for line in source.read_text().splitlines()) + "\n")
    policy.write_text(POLICY.format(test="not_worse") + "margin = 0.05\n")
    keys = tmp_path / "rows.csv"
    arguments = ["plan", str(source), "--policy", str(policy), "--write", str(keys)]
    plain = CliRunner().invoke(app, arguments)
    assert (plain.exit_code, "label only the rows on which the models disagree" in plain.stdout) == (0, True)
    assert f"wrote {keys}\nnext: " in plain.stdout
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (found["labelled"], found["only_disagreements"]) == (0, True)
    assert keys.read_text().splitlines()[0] == "row"
    assert len(keys.read_text().splitlines()) == 1 + found["disagreements"]


@pytest.mark.parametrize(("margin", "code"), [("0.05", 0), ("0.9", 1)])
def test_the_self_test_ends_with_its_answer(tmp_path: Path, policy: Path, margin: str, code: int) -> None:
    policy.write_text(POLICY.format(test="not_worse") + f"margin = {margin}\n")
    arguments = ["selftest", str(_file(tmp_path, "new")), "--policy", str(policy)]
    plain = CliRunner().invoke(app, arguments)
    assert (plain.exit_code, plain.stdout.split("  ")[0]) == (code, "ok" if code == 0 else "NOT OK")
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (found["ok"], len(found["alarms"])) == (code == 0, 1)
