import json
from pathlib import Path

import pytest

from tidegate.cli.app import main
from tidegate.clock import Clock
from tidegate.recording import run
from tidegate.tracking import Place, Wanted, start_run
from tidegate.workspace import Workspace


@pytest.fixture
def there(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    (project / "tidegate.toml").write_text("")
    monkeypatch.chdir(project)
    return tmp_path / "there"


@pytest.fixture
def invoke(capsys):
    def call(*words):
        with pytest.raises(SystemExit) as caught:
            main(list(words))
        captured = capsys.readouterr()
        return captured.out + captured.err, caught.value.code or 0

    return call


def recorded(folder, capsys):
    with start_run(Place(folder, folder.parent, Clock()), None, Wanted("delay")) as active:
        active.log(loss=1.0)
        active.log(loss=2.0)
    capsys.readouterr()
    return active.id


def test_a_folder_is_shipped_and_the_next_command_named(there, invoke, capsys):
    run_id = recorded(there, capsys)
    out, code = invoke("sync", str(there))
    assert code == 0
    assert "FINISHED" in out
    assert f"tidegate run show {run_id}" in out
    out, code = invoke("sync", str(there), "--json")
    answer = json.loads(out)
    assert (code, answer["problems"], answer["runs"][0]["run"], answer["runs"][0]["points"]) == (0, [], run_id, 0)
    out, code = invoke("run", "show", run_id)
    assert "FINISHED" in out


def test_what_cannot_be_shipped_ends_with_an_error(there, invoke, capsys):
    recorded(there, capsys)
    journal = next(there.glob("*/*.journal"))
    broken = bytearray(journal.read_bytes())
    broken[-60] ^= 1
    journal.write_bytes(broken)
    out, code = invoke("sync", str(there))
    assert code == 1
    assert "damaged" in out
    out, code = invoke("sync", str(there), "--json")
    assert (code, len(json.loads(out)["problems"])) == (1, 1)


def test_nothing_to_ship_is_fine(there, invoke):
    out, code = invoke("sync", "--follow")
    assert (code, "nothing to ship" in out) == (0, True)


def test_offline_by_argument_and_by_setting(there, invoke, monkeypatch, capsys):
    with run("delay", offline=True) as first:
        first.log(loss=1.0)
    monkeypatch.setenv("TIDEGATE_OFFLINE", "true")
    with run("delay") as second:
        second.log(loss=1.0)
    monkeypatch.delenv("TIDEGATE_OFFLINE")
    capsys.readouterr()
    assert not Path(".tidegate/metadata.db").exists()
    assert invoke("sync", "--json")[1] == 0
    assert {item.id for item in Workspace.open().runs.search()} == {first.id, second.id}


def test_ranks_agree_by_the_environment(there, monkeypatch):
    monkeypatch.setenv("TIDEGATE_RUN_ID", "ddp")
    with run("delay") as owner:
        monkeypatch.setenv("RANK", "1")
        with run("delay") as rank:
            rank.log(loss=1.0)
        workspace = Workspace.open()
        assert (rank.id, workspace.runs.get("ddp").state) == ("ddp", "RUNNING")
        owner.log(loss=2.0)
    assert (workspace.runs.get("ddp").state, workspace.runs.get("ddp").metrics["loss"].count) == ("FINISHED", 2)


def test_a_crashed_run_shows_when_it_was_heard_of(there, invoke):
    with run("delay") as active:
        out, _ = invoke("run", "show", active.id)
        assert "last heard of" in out
    out, _ = invoke("run", "show", active.id)
    assert "last heard of" not in out
    assert active.id in out
