"""``tidegate run``: what people read of a run, of two, of many, and the way back to the code."""

import json
import subprocess

import pytest

from tidegate.cli.app import main
from tidegate.records.run import RunInput
from tidegate.workspace import Workspace


def tidegate(capsys, *words):
    """Exit code, standard output and standard error of one call."""
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    captured = capsys.readouterr()
    return caught.value.code or 0, captured.out, captured.err


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two runs of different code in a repository without a remote; their ids in ``project.runs``."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    subprocess.run(["git", "init", "-q"], check=True)
    (folder / ".gitignore").write_text(".tidegate/\n")
    return folder


def start(folder, depth, text):
    (folder / "train.py").write_text(text)
    workspace = Workspace.open(folder)
    try:
        with workspace.runs.start("delay", params={"depth": depth, "rate": "0.1"}) as run:
            run.log(loss=1 / depth)
        return run.id
    finally:
        workspace.store.close()


def test_show_says_whether_it_can_be_run_again(project, capsys):
    run = start(project, 6, "x = 1\n")
    code, out, _ = tidegate(capsys, "run", "show", run)
    assert code == 0
    assert "conditions to run it again are met" in out
    assert "The code is recorded, with its uncommitted changes" in out
    assert "No lock file was found" in out


def test_compare_shows_sections_and_the_diff(project, capsys):
    first = start(project, 6, "depth = 6\n" * 3)
    second = start(project, 8, "depth = 8\n" * 3)
    code, out, _ = tidegate(capsys, "run", "compare", first, second)
    assert code == 0
    assert out.index("metrics") < out.index("parameters") < out.index("+depth = 8")
    assert "rate" not in out
    assert "-25" in out
    assert out.splitlines()[-1] == f"next: tidegate run show {second}"
    answer = json.loads(tidegate(capsys, "run", "compare", first, second, "--json")[1])
    assert answer["runs"] == [first, second]
    assert answer["code"]["files"] == ["3 3 train.py"]


def test_a_long_diff_says_how_to_see_all_of_it(project, capsys):
    first = start(project, 6, "".join(f"a = {number}\n" for number in range(100)))
    second = start(project, 6, "".join(f"b = {number}\n" for number in range(100)))
    out = tidegate(capsys, "run", "compare", first, second)[1]
    assert "more lines" in out
    assert "+b = 99" not in out
    assert out.splitlines()[-1] == f"next: tidegate run compare {first} {second} --code"
    assert "+b = 99" in tidegate(capsys, "run", "compare", first, second, "--code")[1]


def test_many_runs_are_grouped_by_value(project, capsys):
    runs = [start(project, depth, "x = 1\n") for depth in (6, 6, 6, 8, 9)]
    out = tidegate(capsys, "run", "compare", *runs)[1]
    row = next(line for line in out.splitlines() if line.startswith("depth"))
    assert all(run[-6:] in row for run in runs[:3])
    assert runs[3][-6:] not in row
    assert "diff --git" not in out


def test_runs_that_are_alike_are_said_to_be(project, capsys):
    runs = [start(project, 6, "x = 1\n") for _ in range(2)]
    assert "the runs are alike" in tidegate(capsys, "run", "compare", *runs)[1]


def test_one_run_cannot_be_compared(project, capsys):
    code, _, err = tidegate(capsys, "run", "compare", "x")
    assert code == 2
    assert "one run has nothing to be compared with" in err


def test_the_code_comes_back(project, capsys, tmp_path):
    run = start(project, 6, "password = 'hunter2'\nx = 1\n")
    start(project, 6, "x = 2\n")
    code, out, _ = tidegate(capsys, "run", "code", run, "--to", str(tmp_path / "again"))
    assert code == 0
    assert "train.py:1 password" in out
    assert (tmp_path / "again" / "train.py").read_text() == "password = '[password removed by tidegate]'\nx = 1\n"
    assert "+x = 1" in tidegate(capsys, "run", "code", run)[1]
    answer = json.loads(tidegate(capsys, "run", "code", run, "--json")[1])
    assert (answer["run"], answer["base"], len(answer["tree"])) == (run, "", 40)
    assert tidegate(capsys, "run", "code", run, "--to", str(tmp_path / "again"))[0] == 1


def test_a_run_without_code_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = start(tmp_path, 6, "x = 1\n")
    code, _, err = tidegate(capsys, "run", "code", run)
    assert code == 1
    assert "this folder is in no git repository" in err


def test_show_lists_the_data_that_went_in_but_no_model(project, capsys):
    workspace = Workspace.open(project)
    with workspace.runs.start("delay") as run:
        run.input({"x": [1, 2]}, name="rows")
    link = RunInput(name="m-1", digest="mlflow.model", source_type="mlflow.model-output")
    workspace.store.runs.annotate(run.id, inputs=[link])
    workspace.store.close()
    out = tidegate(capsys, "run", "show", run.id)[1]
    assert "rows" in out
    assert "m-1" not in out


def test_show_says_that_a_run_is_deleted(project, capsys):
    run = start(project, 6, "x = 1\n")
    assert "deleted" not in tidegate(capsys, "run", "show", run)[1]
    tidegate(capsys, "run", "delete", run)
    assert "\ndeleted " in tidegate(capsys, "run", "show", run)[1]


def test_columns_hold_for_json_and_name_the_id_once(project, capsys):
    run = start(project, 6, "x = 1\n")
    words = ("run", "list", "--columns", "id, params.depth, max(metrics.loss)")
    assert json.loads(tidegate(capsys, *words, "--json")[1]) == [{"id": run, "params.depth": "6", "max(metrics.loss)": 1 / 6}]
    assert tidegate(capsys, *words, "--csv")[1].splitlines()[0] == "id,params.depth,max(metrics.loss)"


def test_a_field_without_a_space_is_offered_with_each(project, capsys):
    assert "write metrics.depth or params.depth or tags.depth" in tidegate(capsys, "run", "list", "--where", "depth = 6")[2]
    assert "did you mean 'state'?" in tidegate(capsys, "run", "list", "--where", "stat = 'x'")[2]


def test_the_machines_own_metrics_come_last_and_none_is_best(project, capsys):
    runs = []
    for share in (10.0, 20.0):
        workspace = Workspace.open(project)
        with workspace.runs.start("delay") as run:
            run.log({"system/memory_percent": share, "validation": share})
        workspace.store.close()
        runs.append(run.id)
    out = tidegate(capsys, "run", "compare", *runs)[1]
    lines = [line for line in out.splitlines() if line.startswith(("system/memory_percent", "validation"))]
    assert [line.split()[0] for line in lines] == ["validation", "system/memory_percent"]
    assert ["*" in line for line in lines] == [True, False]


def test_a_mistyped_command_is_guessed(capsys):
    code, _, err = tidegate(capsys, "rum", "list")
    assert code == 2
    assert "Did you mean 'run'?" in err


def test_a_list_that_was_cut_says_how_to_go_on(project, capsys):
    start(project, 6, "x = 1\n")
    start(project, 8, "x = 1\n")
    assert "1 at most; go on with: --offset 1" in tidegate(capsys, "run", "list", "--limit", "1")[1]
    assert "go on" not in tidegate(capsys, "run", "list")[1]
