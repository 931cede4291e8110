"""Runs, cache, failures, and a kill in the middle of a step."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from tidegate.errors import NotFoundError, TidegateError, UsageError
from tidegate.pipelines import StepFailedError
from tidegate.records.pipeline import StepState
from tidegate.records.run import RunState
from tidegate.store import object_key

FLOW = """
from __future__ import annotations

from pathlib import Path

from tidegate.pipelines import Dataset, File, pipeline, step

FACTOR = 2
CALLS = []


def scaled(values):
    return [value * FACTOR for value in values]


@step
def load(path: Path) -> list[float]:
    CALLS.__class__  # the step must not depend on the list's content
    return [float(word) for word in path.read_text().split()]


@step
def split(values: list[float], at: int) -> tuple[list[float], list[float]]:
    values = scaled(values)
    return values[:at], values[at:]


@step
def total(left: list[float], right: list[float]) -> float:
    return sum(left) + sum(right)


@pipeline
def flow(at: int = 1, source: File = File("numbers.txt")):
    left, right = split(load(source), at)
    return {"total": total(left, right), "left": left}
""".replace("CALLS = []\n", "").replace("    CALLS.__class__  # the step must not depend on the list's content\n", "")

DONE, CACHED, FAILED = StepState.DONE, StepState.CACHED, StepState.FAILED


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.txt"
    path.write_text("1 2 3")
    return path


def states(result):
    return [step.state for step in result.steps]


def test_a_run_is_tracked_and_gives_its_value(project, runner, runs, numbers):
    result = runner.run(project({"flow.py": FLOW}).flow, {"at": "2"})
    assert result.value == {"total": 12.0, "left": [2.0, 4.0]}
    assert states(result) == [DONE, DONE, DONE]
    assert result.warnings == []
    run = runs.get(result.run_id)
    assert run.state is RunState.FINISHED
    assert run.experiment == "flow"
    assert run.params == {"at": "2", "source": "numbers.txt"}
    assert run.tags["pipeline"] == "flow:flow"


def test_a_second_run_is_all_from_the_cache(project, runner, store, numbers):
    module = project({"flow.py": FLOW})
    first = runner.run(module.flow)
    second = runner.run(project({"flow.py": FLOW}).flow)
    assert states(second) == [CACHED, CACHED, CACHED]
    assert second.value == first.value
    assert all(first.run_id in step.note for step in second.steps)
    assert store.steps.of_run(second.run_id) == second.steps


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("FACTOR = 2", "FACTOR = 3", [CACHED, DONE, DONE]),
        ("FACTOR = 2", "FACTOR = 2  # twice", [CACHED, CACHED, CACHED]),
        ("value * FACTOR for", "FACTOR * value for", [CACHED, DONE, CACHED]),  # the same result again: what follows stays true
        ("at: int = 1", "at: int = 2", [CACHED, DONE, DONE]),
        ("sum(left) +", "1 + sum(left) +", [CACHED, CACHED, DONE]),
    ],
)
def test_an_edit_runs_what_it_reaches(project, runner, numbers, old, new, expected):
    runner.run(project({"flow.py": FLOW}).flow)
    assert states(runner.run(project({"flow.py": FLOW.replace(old, new)}).flow)) == expected


def test_the_content_of_a_file_counts(project, runner, numbers):
    flow = project({"flow.py": FLOW}).flow
    runner.run(flow)
    numbers.write_text("1 2 3 4")
    assert states(runner.run(flow)) == [DONE, DONE, DONE]
    numbers.rename(numbers.with_name("moved.txt"))
    numbers.with_name("moved.txt").write_text("1 2 3")
    assert states(runner.run(flow, {"source": "moved.txt"})) == [CACHED, CACHED, CACHED]
    with pytest.raises(NotFoundError, match="numbers.txt"):
        runner.run(flow)


def test_the_content_of_a_dataset_counts(project, runner, runs, datasets, tmp_path):
    text = """
    from tidegate.pipelines import Dataset, pipeline, step

    @step
    def rows(path):
        return len(path.read_text().splitlines()) - 1

    @pipeline
    def count(data: Dataset = Dataset("flights")):
        return rows(data)
    """
    flow = project({"count.py": text}).count
    table = tmp_path / "table.csv"
    for content, expected in (("a\n1\n", [DONE]), ("a\n1\n2\n", [DONE]), ("a\n1\n", [CACHED])):
        table.write_text(content)
        snapshot = datasets.snapshot(table, "flights")
        result = runner.run(flow)
        assert states(result) == expected
        assert result.value == content.count("\n") - 1
        assert runs.get(result.run_id).tags["input.flights"] == snapshot.ref
    assert runner.run(flow, {"data": "flights@2"}).value == 2


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_result_is_made_again_and_that_is_said(project, runner, store, numbers, damage):
    flow = project({"flow.py": FLOW}).flow
    first = runner.run(flow)
    path = store.bucket.local(object_key(first.steps[0].outputs[0].digest))
    if damage == "missing":
        path.unlink()
    else:
        path.chmod(0o644)
        path.write_bytes(b"[666]")
    second = runner.run(flow)
    assert states(second) == [DONE, CACHED, CACHED]
    assert damage in second.steps[0].note
    assert second.value == first.value
    assert states(runner.run(flow)) == [CACHED, CACHED, CACHED]


LAZY = """
from pathlib import Path

from tidegate.pipelines import pipeline, step


class Model:
    def __reduce__(self):
        return (load_model, ())


def load_model():
    with Path("LOADS").open("a") as file:
        file.write("x")
    return Model()


@step
def fit():
    return Model()


@step
def score(model):
    return 5


@pipeline
def flow():
    return score(fit())
"""


def test_a_stored_result_is_loaded_only_where_a_step_needs_it(project, runner, tmp_path):
    loads = tmp_path / "loads"
    text = LAZY.replace("LOADS", str(loads))
    runner.run(project({"lazy.py": text}).flow)
    assert loads.read_text() == "x"
    assert states(runner.run(project({"lazy.py": text}).flow)) == [CACHED, CACHED]
    assert loads.read_text() == "x"
    assert states(runner.run(project({"lazy.py": text.replace("return 5", "return 6")}).flow)) == [CACHED, DONE]
    assert loads.read_text() == "xx"


def test_a_step_cannot_change_the_input_of_another(project, runner):
    text = """
    from tidegate.pipelines import pipeline, step

    @step
    def make():
        return [1]

    @step
    def spoil(values):
        values.append(2)
        return len(values)

    @step
    def count(values, after):
        return len(values)

    @pipeline
    def flow():
        values = make()
        return count(values, spoil(values))
    """
    assert runner.run(project({"spoil.py": text}).flow).value == 1


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "import threading\nfrom tidegate.pipelines import pipeline, step\nL = threading.Lock()\n@step\ndef one():\n    return L is None\n",
            "L",
        ),
        ("from tidegate.pipelines import pipeline, step\n@step(cache=False)\ndef one():\n    return 1\n", "cache=False"),
    ],
)
def test_what_is_never_cached_says_so(project, runner, text, note):
    flow = project({"never.py": text + "@pipeline\ndef flow():\n    return one()\n"}).flow
    for _ in range(2):
        result = runner.run(flow)
        assert states(result) == [DONE]
        assert "never cached" in result.steps[0].note
        assert note in result.steps[0].note
        assert len(result.warnings) == len(result.steps[0].fingerprint.unhashable)


def test_an_argument_that_cannot_be_hashed_is_never_cached(project, runner):
    text = """
    import threading
    from tidegate.pipelines import pipeline, step

    @step
    def one(lock):
        with lock:
            return 1

    @pipeline
    def flow():
        return one(threading.Lock())
    """
    result = runner.run(project({"never.py": text}).flow)
    assert "argument lock" in result.steps[0].note
    assert result.value == 1


def test_a_bare_path_is_warned_about(project, runner, runs, numbers):
    text = "from tidegate.pipelines import pipeline, step\n@step\ndef read(path):\n    return path\n"
    text += "@pipeline\ndef flow(path: str = 'numbers.txt'):\n    return read(path)\n"
    flow = project({"bare.py": text}).flow
    result = runner.run(flow)
    assert len(result.warnings) == 1
    assert "File('numbers.txt')" in result.warnings[0]
    assert runs.get(result.run_id).tags["warning.1"] == result.warnings[0]
    assert runner.run(flow, {"path": "there is no such file"}).warnings == []


FAILING = """
from tidegate.pipelines import pipeline, step

class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")

def deeper(values, depth):
    if depth:
        return deeper(values, depth - 1)
    raise OddError("first", "second\\nline\\nline\\nline\\nline")

@step
def fine():
    return [1]

@step
def broken(values, depth):
    return sorted(values, key=lambda value: deeper(value, depth))

@pipeline
def flow(depth: int = 1):
    return broken(fine(), depth)
"""


@pytest.mark.parametrize("depth", [1, 30])
def test_a_failure_is_short_and_keeps_its_cause(project, runner, runs, store, depth):
    with pytest.raises(StepFailedError) as caught:
        runner.run(project({"failing.py": FAILING}).flow, {"depth": depth})
    error = caught.value
    text = str(error)
    assert len(text.splitlines()) <= 15
    assert type(error.__cause__).__name__ == "OddError"
    assert "step broken of pipeline flow failed: OddError: first and second" in text
    assert "failing.py:11 in deeper: raise OddError" in text
    assert "tidegate/pipelines" not in text
    assert f"depth={depth}" in text
    assert error.fix == f"tidegate pipeline run failing:flow --param depth={depth}"
    run = runs.search(experiment="flow")[0]
    assert run.state is RunState.FAILED
    recorded = store.steps.of_run(run.id)
    assert [step.state for step in recorded] == [DONE, FAILED]
    assert recorded[1].error == text


def test_a_failed_step_runs_again_and_what_was_done_does_not(project, runner, store):
    with pytest.raises(StepFailedError):
        runner.run(project({"failing.py": FAILING}).flow)
    mended = FAILING.replace("raise OddError", "return 1\n    raise OddError")
    assert states(runner.run(project({"failing.py": mended}).flow)) == [CACHED, DONE]


def test_an_error_of_the_house_inside_a_step_stays_itself(project, runner):
    text = """
    from tidegate.errors import UsageError
    from tidegate.pipelines import pipeline, step

    @step
    def one():
        raise UsageError("mine", "something is wrong", fix="mend it")

    @pipeline
    def flow():
        return one()
    """
    with pytest.raises(UsageError) as caught:
        runner.run(project({"own_error.py": text}).flow)
    assert caught.value.what == "step one: something is wrong"
    assert caught.value.code == "mine"


def test_a_result_of_the_wrong_shape_is_told(project, runner):
    text = "from tidegate.pipelines import pipeline, step\n@step\ndef one() -> tuple[int, int]:\n    return 1\n"
    with pytest.raises(TidegateError) as caught:
        runner.run(project({"shape.py": text + "@pipeline\ndef flow():\n    a, b = one()\n    return a\n"}).flow)
    assert caught.value.code == "wrong-results"


def test_progress_tells_every_start_and_end(project, runner, numbers):
    events = []
    flow = project({"flow.py": FLOW}).flow
    runner.run(flow, progress=events.append)
    assert [(event.step, event.number, event.state) for event in events] == [
        ("load", 1, None), ("load", 1, DONE), ("split", 2, None), ("split", 2, DONE), ("total", 3, None), ("total", 3, DONE),
    ]  # fmt: skip
    assert {event.total for event in events} == {3}


def test_one_step_of_a_run_is_a_unit(project, runner, store, numbers):
    flow = project({"flow.py": FLOW}).flow
    run_id = runner.run(flow, {"at": 2}).run_id
    again = runner.run_step(flow, "split", run_id=run_id)
    assert again == store.steps.of_run(run_id)[1], "it was done: nothing runs and nothing is recorded"
    changed = project({"flow.py": FLOW.replace("FACTOR = 2", "FACTOR = 5")}).flow
    assert runner.run_step(changed, "split", run_id=run_id).state is DONE
    assert runner.run_step(changed, "total", run_id=run_id).state is DONE
    assert [step.step for step in store.steps.of_run(run_id)] == ["load", "split", "total"]


def test_one_step_needs_its_upstream_and_its_own_pipeline(project, runner, runs, numbers):
    module = project({"flow.py": FLOW + "\n@pipeline\ndef other():\n    return load(File('numbers.txt'))\n"})
    run_id = runner.run(module.other).run_id
    with pytest.raises(UsageError) as caught:
        runner.run_step(module.flow, "split", run_id=run_id)
    assert caught.value.code == "other-pipeline"
    with pytest.raises(UsageError) as caught:
        runner.run_step(module.other, "lod", run_id=run_id)
    assert (caught.value.code, caught.value.fix) == ("no-such-step", "did you mean 'load'?")
    with pytest.raises(StepFailedError):
        runner.run(project({"failing.py": FAILING}).flow)
    failing = project({"failing.py": FAILING + "\n@step\ndef last(x):\n    return x\n"}).flow
    failed = runs.search(experiment="flow")[0].id
    assert runner.run_step(failing, "fine", run_id=failed).state is DONE


CHANGING = """
from pathlib import Path

from tidegate.pipelines import File, pipeline, step


@step
def read(path: Path) -> str:
    text = path.read_text()
    CHANGE
    return text


@pipeline
def flow(source: File = File("numbers.txt")):
    return read(source)
"""


@pytest.mark.parametrize("change", ["path.write_text('9 9 9')", "path.unlink()"])
def test_a_file_that_changes_while_a_step_reads_it_is_no_ground_for_reuse(project, runner, numbers, change):
    flow = project({"changing.py": CHANGING.replace("CHANGE", change)}).flow
    first = runner.run(flow)
    assert "changed while the step ran" in first.steps[0].note
    numbers.write_text("1 2 3")
    assert states(runner.run(flow)) == [DONE]


SLOW = """
import time
from pathlib import Path
from tidegate.pipelines import pipeline, step

@step
def quick():
    return {"a": 1}

@step
def slow(value, marker):
    Path(marker).touch()
    if Path(marker).with_suffix(".wait").exists():
        time.sleep(60)
    return value["a"] + 1

@pipeline
def flow(marker: str):
    return slow(quick(), marker)
"""


def test_a_kill_in_the_middle_of_a_step_leaves_what_was_done(project, runner, store, runs, tmp_path):
    marker = tmp_path / "marker"
    wait = marker.with_suffix(".wait")
    wait.touch()
    flow = project({"slow.py": SLOW}).flow
    script = f"""
    import sys
    from pathlib import Path
    from tidegate.clock import Clock
    from tidegate.data import Datasets
    from tidegate.pipelines import Runner, load_pipeline
    from tidegate.store import open_store
    from tidegate.tracking import Runs
    root = Path({str(tmp_path)!r})
    store = open_store(root / "store")
    runs = Runs(store, Clock(), journals=root / "journals", project=root)
    runner = Runner(store, Datasets(store.bucket, store.catalog, Clock()), runs, Clock(), folder=root)
    runner.run(load_pipeline("slow:flow", root / "project1"), {{"marker": {str(marker)!r}}})
    """
    process = subprocess.Popen([sys.executable, "-c", dedent(script)])
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait.unlink()
    result = runner.run(flow, {"marker": str(marker)})
    assert states(result) == [CACHED, DONE]
    assert result.value == 2
    killed = next(run for run in runs.search(experiment="flow") if run.id != result.run_id)
    assert [step.step for step in store.steps.of_run(killed.id)] == ["quick"]
    assert runs.recover() == [killed.id]
