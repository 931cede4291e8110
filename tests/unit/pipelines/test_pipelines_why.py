"""``why`` names the part that changed."""

from __future__ import annotations

import pytest
from test_pipelines_runner import FLOW

from tidegate.errors import UsageError
from tidegate.store import object_key


@pytest.fixture
def ran(project, runner, tmp_path):
    (tmp_path / "numbers.txt").write_text("1 2 3")
    return runner.run(project({"flow.py": FLOW}).flow)


def test_nothing_changed(project, runner, ran):
    found = runner.why(project({"flow.py": FLOW}).flow)
    assert [(item.step, item.outlook, item.changes) for item in found] == [
        ("load", "cached", []),
        ("split", "cached", []),
        ("total", "cached", []),
    ]
    assert all(ran.run_id in item.reason for item in found)


@pytest.mark.parametrize(
    ("old", "new", "outlooks", "reason"),
    [
        ("FACTOR = 2", "FACTOR = 3", ["cached", "runs", "waits"], "global flow.FACTOR changed: 2 -> 3"),
        ("value * FACTOR", "value / FACTOR", ["cached", "runs", "waits"], "function flow.scaled changed"),
        ("at: int = 1", "at: int = 2", ["cached", "runs", "waits"], "input at changed: 1 -> 2"),
        ("    values = scaled(values)\n", "", ["cached", "runs", "waits"], "function flow.scaled is gone"),
    ],
)
def test_the_changed_part_is_named(project, runner, ran, old, new, outlooks, reason):
    found = runner.why(project({"flow.py": FLOW.replace(old, new)}).flow)
    assert [item.outlook for item in found] == outlooks
    assert any(reason in str(change) for change in found[1].changes)
    assert found[2].reason == "split runs first"
    assert found[1].compared_with == ran.run_id


def test_a_changed_input_file_is_named(project, runner, ran, tmp_path):
    (tmp_path / "numbers.txt").write_text("9")
    found = runner.why(project({"flow.py": FLOW}).flow, "load")
    assert len(found) == 1
    assert found[0].reason.startswith("input path changed: file ")


def test_a_new_package_is_named(project, runner, ran):
    text = FLOW.replace("return sum(left)", "import numpy as np\n    return float(np.sum(left))")
    found = runner.why(project({"flow.py": text}).flow, "total")
    assert "input" not in {change.kind for change in found[0].changes}
    assert any(str(change).startswith("package numpy is new") for change in found[0].changes)


def test_a_lost_result_is_told(project, runner, store, ran):
    store.bucket.delete(object_key(ran.steps[2].outputs[0].digest))
    found = runner.why(project({"flow.py": FLOW}).flow, "total")
    assert found[0].outlook == "runs"
    assert "missing" in found[0].reason


def test_what_never_ran_and_what_is_never_cached(project, runner):
    text = "from tidegate.pipelines import pipeline, step\n@step(cache=False)\ndef a():\n    return 1\n@step\ndef b(x):\n    return x\n"
    flow = project({"never.py": text + "@pipeline\ndef flow():\n    return b(a())\n"}).flow
    assert [item.reason for item in runner.why(flow)] == ["it is never cached: @step(cache=False)", "it has never run"]
    runner.run(flow)
    assert [item.outlook for item in runner.why(flow)] == ["runs", "waits"]
    with pytest.raises(UsageError, match="no step 'c'"):
        runner.why(flow, "c")
