"""``tidegate pipeline`` as a person and as a script use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FLOW = """
from tidegate import pipeline, step

def deeper(x):
    if x > 100:
        raise ValueError("too much")
    return x + 1

@step
def one(x):
    return deeper(x)

@step(cache=False)
def two(x):
    return 2 * x

@pipeline
def flow(x: int = 1):
    return two(one(x))
"""


@pytest.fixture
def tidegate(tmp_path: Path):
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "tidegate.toml").write_text("")

    def call(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "tidegate", "pipeline", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return call


def test_run_step_and_why_for_scripts(tidegate):
    first = json.loads(tidegate("run", "flow:flow", "-p", "x=3", "--json").stdout)
    assert [(step["step"], step["state"]) for step in first["steps"]] == [("one", "DONE"), ("two", "DONE")]
    assert (first["version"], first["warnings"]) == (None, [])
    step = json.loads(tidegate("step", "flow:flow", "one", "--run", first["run"], "--json").stdout)
    assert (step["step"], step["state"]) == ("one", "DONE")
    found = json.loads(tidegate("why", "flow:flow", "one", "-p", "x=4", "--json").stdout)
    assert [(item["outlook"], item["changes"][0]["now"]) for item in found] == [("runs", "4")]
    listed = json.loads(tidegate("list-steps", "flow:flow", "--json").stdout)
    assert [(item["step"], item["cache"], item["after"]) for item in listed] == [("one", True, []), ("two", False, ["one"])]


def test_a_failure_is_short_and_full_is_full(tidegate):
    short = tidegate("run", "flow:flow", "--param", "x=200", code=1).stderr
    assert len(short.splitlines()) <= 15
    assert "step one of pipeline flow failed: ValueError: too much" in short
    assert "flow.py:6 in deeper" in short
    assert "Traceback" not in short
    full = tidegate("run", "flow:flow", "--param", "x=200", "--full", code=1).stderr
    assert "Traceback" in full
    assert full.rstrip().endswith("code: step-failed")


def test_usage_errors(tidegate):
    assert "NAME=VALUE" in tidegate("run", "flow:flow", "-p", "x", code=2).stderr
    assert json.loads(tidegate("graph", "flow:flo", "--json", code=2).stdout)["error"]["fix"] == "did you mean 'flow'?"
