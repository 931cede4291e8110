import json
from pathlib import Path

import pytest

from tidegate.cli import main

LOGS = Path(__file__).parents[2] / "data/imports/tensorboard"


@pytest.fixture
def call(tmp_path, capsys):
    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(["-C", str(tmp_path / "project"), *words])
        return ended.value.code or 0, capsys.readouterr().out

    (tmp_path / "project").mkdir()
    return call


def test_an_import_tells_what_came_and_what_comes_next(call):
    code, out = call("import", "tensorboard", str(LOGS), "--dry-run")
    assert (code, "nothing was written" in out, "would be imported" in out) == (0, True, True)
    code, out = call("import", "tensorboard", str(LOGS), "--json")
    report = json.loads(out)
    assert (code, len(report["runs"]), report["counts"]["points"]["imported"]) == (0, 4, 36)
    code, out = call("import", "tensorboard", str(LOGS))
    assert code == 0
    assert "next:" not in out
    code, out = call("run", "list", "--json")
    assert len(json.loads(out)) == 4


def test_what_could_not_be_read_ends_with_one(call, tmp_path):
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"x" * 30)
    code, out = call("import", "tensorboard", str(tmp_path))
    assert code == 1
    assert "unreadable: " in out
