import json
import subprocess
import sys

import pytest

from tidegate.cli import app as app_module
from tidegate.cli.app import COMMANDS, main
from tidegate.settings import Settings, load_project


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tidegate.toml").write_text('[models.delay]\ntask = "binary"\n[models.delay.release]\napprovals = 0\n')
    return tmp_path


def tidegate(capsys, *words):
    """Exit code, standard output and standard error of one call."""
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    captured = capsys.readouterr()
    return caught.value.code or 0, captured.out, captured.err


def test_help_names_every_command(capsys):
    code, out, _ = tidegate(capsys, "--help")
    assert code == 0
    assert all(f"  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_loads_and_has_help(capsys, name):
    code, out, err = tidegate(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert "Usage:" in out


def test_an_unknown_command_is_a_usage_error(capsys):
    code, _, err = tidegate(capsys, "gat")
    assert code == 2
    assert "No such command 'gat'" in err


def test_an_error_is_four_short_lines(capsys, project):
    code, out, err = tidegate(capsys, "promote", "delay@1")
    assert (code, out) == (1, "")
    assert [line.split(":")[0].strip() for line in err.splitlines()] == ["error", "why", "fix", "code"]


def test_an_error_is_json_when_json_was_asked_for(capsys, project):
    code, out, err = tidegate(capsys, "promote", "delay@1", "--json")
    assert (code, err) == (1, "")
    assert json.loads(out)["error"]["code"] == "receipt-missing"


def test_a_bug_ends_in_words_and_not_in_a_traceback(capsys, project, monkeypatch):
    monkeypatch.setattr(app_module, "app", lambda **_: 1 / 0)
    code, _, err = tidegate(capsys, "run", "list")
    assert code == 1
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err


def test_settings_say_who_set_them(capsys, project, monkeypatch):
    (project / "tidegate.toml").write_text('actor = "file"\nstore = "elsewhere"\n')
    monkeypatch.setenv("TIDEGATE_ACTOR", "variable")
    _, out, _ = tidegate(capsys, "--now", "2013-01-01", "settings", "explain", "--json")
    found = {item["name"]: (item["value"], item["source"]) for item in json.loads(out)}
    told = {
        "store": ("elsewhere", "tidegate.toml"),
        "actor": ("variable", "environment"),
        "now": ("2013-01-01", "flag"),
        "server": ("", "default"),
    }
    assert told.items() <= found.items()
    assert set(found) == set(Settings.model_fields)


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_settings_show_no_secret(capsys, project, how):
    (project / "tidegate.toml").write_text(
        'token = "hunter2"\ndatabase = "postgresql://ann:hunter2@host/db"\nbucket = "s3://b?secret_key=hunter2"\n'
    )
    code, out, err = tidegate(capsys, "settings", "explain", *how)
    assert code == 0
    assert "hunter2" not in out + err
    for wrong in ("token = 424242", 'database = ["postgresql://ann:424242@host/db"]'):
        (project / "tidegate.toml").write_text(wrong)
        code, out, err = tidegate(capsys, "settings", "explain")
        assert code == 2
        assert "424242" not in out + err
        (project / "tidegate.toml").unlink()
    for address in ("http://ann:hunter2@127.0.0.1:1", "http://hunter2@127.0.0.1:1"):
        (project / "tidegate.toml").write_text(f'server = "{address}"\n')
        code, out, err = tidegate(capsys, "run", "list")
        assert code == 2
        assert "hunter2" not in out + err


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:a@b/c:hunter2@host/db",
        "postgresql://127.0.0.1:1/db?user=ann&password=hunter2",
        "postgresql://ann:hunter2@127.0.0.1:1/db",
        "postgresql://ann:hunter2@h:noport/db",
        "mysql://ann:hunter2@h/db",
    ],
)
def test_no_address_of_a_database_shows_its_password(capsys, project, address):
    (project / "tidegate.toml").write_text(f'database = "{address}"\n')
    code, out, err = tidegate(capsys, "run", "list")
    assert code in {1, 2}
    assert "error:" in err
    assert "hunter2" not in out + err


def test_pyproject_is_read_when_there_is_no_tidegate_toml(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.tidegate]\nactor = "py"\n[tool.tidegate.models.m]\ntask = "binary"\n')
    deep = tmp_path / "deep" / "er"
    deep.mkdir(parents=True)
    found = load_project(deep)
    assert (found.folder, found.settings.actor, found.policies) == (tmp_path, "py", {"m": {"task": "binary"}})


def test_the_path_of_a_key_begins_at_the_project(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "tidegate.toml").write_text('signing_key = "keys/gate.pem"\n')
    key = str(tmp_path / "keys" / "gate.pem")
    assert load_project(tmp_path / "sub").settings.signing_key.get_secret_value() == key
    for given, expected in (
        (key, key),
        ("-----BEGIN KEY", "-----BEGIN KEY"),
        ("", ""),
        ("~nobody-here/k", str(tmp_path / "~nobody-here/k")),
    ):
        monkeypatch.setenv("TIDEGATE_SIGNING_KEY", given)
        assert load_project(tmp_path).settings.signing_key.get_secret_value() == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [("stor = 'x'", "sets 'stor', which is no setting"), ("store = 7", "cannot be 7"), ("store = ", "is not TOML")],
)
def test_a_wrong_setting_names_its_file(capsys, project, text, part):
    (project / "tidegate.toml").write_text(text)
    code, _, err = tidegate(capsys, "settings", "explain")
    assert code == 2
    assert part in err
    assert "tidegate.toml" in err


def test_init_makes_a_project_once(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".gitignore").write_text("mine\n")
    code, out, _ = tidegate(capsys, "init", "delay")
    assert code == 0
    assert "tidegate.toml" in {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / ".gitignore").read_text() == "mine\n.tidegate/\n"
    assert "next:" in out
    assert tidegate(capsys, "run", "list")[0] == 0
    code, _, err = tidegate(capsys, "init")
    assert code == 1
    assert "never overwrites" in err


def test_runs_are_listed_shown_and_compared(capsys, project):
    program = (
        "import tidegate\n"
        "for depth in (6, 8):\n"
        "    with tidegate.run('delay', name=f'd{depth}') as run:\n"
        "        run.params(depth=depth)\n"
        "        run.log(loss=depth / 10)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=project)
    _, out, _ = tidegate(capsys, "run", "list", "--where", "metrics.loss < 0.7", "--json")
    assert [run["name"] for run in json.loads(out)] == ["d6"]
    _, out, _ = tidegate(capsys, "run", "compare", "d6", "d8", "--json")
    assert {item["name"]: item["values"] for item in json.loads(out)["differences"]} == {
        "depth": ["6", "8"],
        "loss": ["0.6", "0.8"],
    }
    _, out, _ = tidegate(capsys, "run", "show", "d8")
    assert "depth" in out
    assert "FINISHED" in out
    assert not [line for line in out.splitlines() if line.endswith(" ")]
    code, _, err = tidegate(capsys, "run", "compare", "d8")
    assert (code, "one run has nothing to be compared with" in err) == (2, True)


def test_a_folder_that_is_not_there_is_a_usage_error(capsys, tmp_path):
    code, _, err = tidegate(capsys, "-C", str(tmp_path / "typo"), "run", "list")
    assert (code, "no folder" in err) == (2, True)
    assert not (tmp_path / "typo").exists()


def test_store_verify_finds_a_changed_object(capsys, project):
    (project / "rows.csv").write_text("x\n1\n2\n")
    assert tidegate(capsys, "data", "snapshot", "rows.csv", "rows")[0] == 0
    assert tidegate(capsys, "store", "verify")[0] == 0
    stored = next((project / ".tidegate" / "bucket" / "objects" / "sha256").glob("*/*"))
    stored.chmod(0o644)
    stored.write_bytes(b"other")
    code, out, _ = tidegate(capsys, "store", "verify")
    assert code == 1
    assert "was changed" in out


def test_reindex_rebuilds_the_catalog(capsys, project):
    (project / "rows.csv").write_text("x\n1\n2\n")
    tidegate(capsys, "data", "snapshot", "rows.csv", "rows")
    _, out, _ = tidegate(capsys, "store", "reindex", "--json")
    assert json.loads(out) == {"entries": 1}
