"""The main job: ``tidegate demo``, as a user runs it, from raw data to rollback."""

import json
import subprocess
import sys

import pytest

STEPS = [
    "data",
    "features",
    "train",
    "first_gate",
    "better_and_worse",
    "serve_june",
    "summer",
    "follow_and_roll_back",
    "examine",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "flights"
    command = [sys.executable, "-m", "tidegate", "demo", "--dir", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    return done, json.loads(done.stdout), folder


@pytest.mark.timeout(1500)
def test_every_step_holds(demo):
    done, told, _ = demo
    assert {step["name"]: step["error"] for step in told["steps"] if not step["ok"]} == {}
    assert [step["name"] for step in told["steps"]] == STEPS
    assert told["ok"]
    assert done.returncode == 0


@pytest.mark.timeout(1500)
def test_the_numbers_tell_the_story(demo):
    _, told, _ = demo
    numbers = {step["name"]: step["numbers"] for step in told["steps"]}
    assert numbers["features"]["rows_in"] == numbers["features"]["rows_out"] > 100_000
    assert numbers["first_gate"]["verdict"] == "PASS"
    better = numbers["better_and_worse"]
    assert (better["live"]["verdict"], better["peeking"]["verdict"], better["misjoined"]["verdict"]) == (
        "PASS",
        "INVALID",
        "FAIL",
    )
    assert better["live"]["rules"][0]["interval"][1] < 0
    assert numbers["summer"]["verdict"] == "PASS"
    back = numbers["follow_and_roll_back"]
    assert back["failed_requests"] == 0
    assert back["rollback_seconds"] < 2
    assert back["requests"] > 30_000
    assert len(back["predictions_by_version"]) >= 2


@pytest.mark.timeout(1500)
def test_the_project_is_left_to_read_and_still_works(demo):
    _, _, folder = demo
    assert {"tidegate.toml", "pipelines.py", "features.py", "contracts"} <= {path.name for path in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "-C", str(folder), "release", "log", "delay", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    kinds = [entry["event"]["type"] for entry in json.loads(done.stdout)]
    assert {"registered", "judged", "approved", "promoted", "rolled_back", "released"} <= set(kinds)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "demo", "--dir", str(tmp_path), "--json"], capture_output=True, text=True, check=False
    )
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert "is not empty" in told["steps"][0]["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
