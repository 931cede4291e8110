"""``tidegate data`` and ``tidegate features`` from a project's folder, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.cli import main

CONTRACT = """
kind: DataContract
name: people
version: 2.0
schema:
  - name: people
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: paid, logicalType: number, customProperties: [{property: availability, value: later}]}
"""
VIEWS = """
from tidegate.features import FeatureView, latest

weather = FeatureView("weather", entity=["origin"], source="weather", event_time="at", max_age="6h", features=[latest("temp")])
"""


class Call:
    """Calls the command line in a project's folder and keeps what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *words: str | Path, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        self.out, self.err = self._capsys.readouterr()
        assert (ended.value.code or 0) == code, self.out + self.err
        return self.out

    def json(self, *words: str | Path, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code))


@pytest.fixture
def tidegate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.chdir(tmp_path)
    Path("people.csv").write_text("id,paid\n1,5.5\n2,\n")
    Path("contract.yaml").write_text(CONTRACT)
    call = Call(capsys)
    call("init")
    return call


def test_a_snapshot_is_taken_listed_shown_verified_and_restored(tidegate: Call) -> None:
    assert "people@1: 1 file, 17 B, 2 rows" in tidegate("data", "snapshot", "people.csv", "people", "--contract", "contract.yaml")
    assert "nothing has changed" in tidegate("data", "snapshot", "people.csv", "people", "--contract", "contract.yaml")
    assert [each["number"] for each in tidegate.json("data", "list")] == [1]
    assert "people@1" in tidegate("data", "list")
    assert "known later" in tidegate("data", "show", "people")
    assert tidegate.json("data", "show", "people@1")["rows"] == 2
    assert tidegate.json("data", "verify", "people") == {"snapshot": "people@1", "files": 1, "problems": []}
    assert tidegate.json("data", "restore", "people", "back")["files"] == ["people.csv"]
    assert Path("back/people.csv").read_text() == Path("people.csv").read_text()


def test_damage_is_told_and_ends_with_1(tidegate: Call) -> None:
    digest = tidegate.json("data", "snapshot", "people.csv", "people")["files"][0]["digest"]
    (stored,) = [path for path in Path().rglob(digest[2:]) if path.is_file()]
    stored.unlink()
    assert len(tidegate.json("data", "verify", "people", code=1)["problems"]) == 1
    tidegate("data", "verify", "people", code=1)
    assert "people.csv: object" in tidegate.err
    assert tidegate.json("data", "show", "peple", code=1)["error"]["code"] == "dataset-not-found"


def test_a_file_is_checked_without_a_project(tidegate: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert "2 rows keep the contract people 2.0" in tidegate(
        "data", "check", tmp_path / "people.csv", "--contract", tmp_path / "contract.yaml"
    )
    Path("bad.csv").write_text("id,paid\n1,x\n1,2\n")
    found = tidegate.json("data", "check", "bad.csv", "--contract", tmp_path / "contract.yaml", code=1)
    assert (found["ok"], [violation["check"] for violation in found["violations"]]) == (False, ["type", "primaryKey"])
    tidegate("data", "check", "bad.csv", "--contract", tmp_path / "contract.yaml", code=1)
    assert "row 1: id=1, paid='x'" in tidegate.err
    assert [path.name for path in empty.iterdir()] == ["bad.csv"]


def test_features_are_written_and_read_by_key(tidegate: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("weather_views.py").write_text(VIEWS)
    Path("weather.csv").write_text("origin,at,temp\nJFK,2013-06-01 10:00:00,70\nJFK,2013-06-01 11:00:00,71.5\n")
    tidegate("data", "snapshot", "weather.csv", "weather")
    now = ("--now", "2013-06-01T11:30")
    assert tidegate.json(*now, "features", "materialize", "weather_views:weather")["rows"] == 1
    assert tidegate.json(*now, "features", "get", "weather_views:weather", "JFK")["weather_temp"] == 71.5
    assert "2013-06-01 11:00:00Z" in tidegate(*now, "features", "get", "weather_views:weather", "JFK")
    late = tidegate.json("features", "get", "weather_views:weather", "JFK", "--at", "2013-06-01T17:00:01")
    assert (late["weather_temp"], late["reason"]) == (None, "too_old")
    for target, code in (
        ("weather_views:wether", "no-such-view"),
        ("nothing:weather", "no-such-module"),
        ("weather", "bad-target"),
    ):
        assert tidegate.json("features", "get", target, "JFK", code=2)["error"]["code"] == code
    assert tidegate.json("features", "get", "weather_views:weather", "JFK", "EWR", code=2)["error"]["code"] == "bad-entity"
