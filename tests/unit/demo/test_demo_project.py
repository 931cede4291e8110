"""The flights project: its tables, features and contracts are what its texts say. The story itself is tested end to end."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pandas as pd
import pytest

import tidegate.demo
from tidegate import frames
from tidegate.data import load_contract
from tidegate.data.check import check_file
from tidegate.gate import parse_model_policy

FOLDER = Path(tidegate.demo.__file__).parent / "project"
MODULES = ("prepare", "features", "evaluation", "pipelines")
EARLY, NOW = "2013-01-20", "2013-02-01"


class Project(NamedTuple):
    prepare: ModuleType
    features: ModuleType
    evaluation: ModuleType
    pipelines: ModuleType


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    others = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    sys.path.insert(0, str(FOLDER))
    yield Project(*(importlib.import_module(name) for name in MODULES))
    sys.path.remove(str(FOLDER))
    for name in MODULES:
        sys.modules.pop(name)
    sys.modules.update(others)


@pytest.fixture(scope="module")
def tables(project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return project.prepare.write_tables(tmp_path_factory.mktemp("now"), known_at=NOW)


@pytest.fixture(scope="module")
def early(project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return project.prepare.write_tables(tmp_path_factory.mktemp("early"), known_at=EARLY)


def _one(sql: str, path: Path) -> Any:
    with frames.connect() as con:
        rows = con.execute(sql.format(f"read_parquet({frames.literal(str(path))})")).fetchall()
    return rows[0] if len(rows[0]) > 1 else rows[0][0]


def _rows(project: Project, tables: dict[str, Path], start: str, until: str) -> pd.DataFrame:
    with frames.connect() as con:
        return project.features.flight_rows(con, tables["flights"], tables["weather"], start=start, until=until).df()


def test_nothing_in_the_tables_is_younger_than_known_at(early: dict[str, Path]) -> None:
    newest = _one("SELECT max(asked_at), max(departed_at), max(landed_at) FROM {}", early["flights"])
    assert all(moment <= pd.Timestamp(EARLY) for moment in newest)
    assert _one("SELECT max(observed_at) FROM {}", early["weather"]) <= pd.Timestamp(EARLY)
    assert (
        _one("SELECT count(*) FROM {} WHERE departed_at IS NULL AND coalesce(dep_time, dep_delay) IS NOT NULL", early["flights"])
        == 0
    )
    outcomes = "coalesce(arr_time, arr_delay, air_time, late)"
    assert _one(f"SELECT count(*) FROM {{}} WHERE landed_at IS NULL AND {outcomes} IS NOT NULL", early["flights"]) == 0
    assert _one("SELECT count(*) FROM {} WHERE departed_at IS NOT NULL AND landed_at IS NULL", early["flights"]) > 0


def test_the_label_is_an_arrival_fifteen_minutes_late_or_more(tables: dict[str, Path]) -> None:
    assert _one("SELECT count(*) FROM {} WHERE late <> (arr_delay >= 15)::INTEGER", tables["flights"]) == 0
    assert _one("SELECT count(*) FROM {} WHERE late IS NULL AND landed_at IS NOT NULL", tables["flights"]) == 0
    assert 0.2 < _one("SELECT avg(late) FROM {}", tables["flights"]) < 0.3


def test_the_first_flight_of_the_year_has_its_instants_in_utc(tables: dict[str, Path]) -> None:
    # UA 1545 from Newark to Houston: scheduled 5:15, left 5:17, arrived 8:30 by Houston's clock, which is 14:30 UTC.
    found = _one(
        "SELECT asked_at, scheduled_departure, departed_at, landed_at FROM {} WHERE flight_id = '20130101-UA-1545-EWR'",
        tables["flights"],
    )
    assert [str(moment)[11:16] for moment in found] == ["09:15", "10:15", "10:17", "14:30"]


def test_the_tables_keep_their_contracts(tables: dict[str, Path]) -> None:
    for name, path in tables.items():
        assert check_file(path, load_contract(FOLDER / "contracts" / f"{name}.yaml")).violations == []


def test_every_flight_comes_back_once_in_the_order_of_asking(project: Project, tables: dict[str, Path]) -> None:
    rows = _rows(project, tables, "2013-01-10", EARLY)
    asked = _one(f"SELECT count(*) FROM {{}} WHERE asked_at >= '2013-01-10' AND asked_at < '{EARLY}'", tables["flights"])
    assert len(rows) == asked == rows["flight_id"].nunique()
    assert rows["asked_at"].is_monotonic_increasing


def test_features_do_not_change_when_more_becomes_known(
    project: Project, tables: dict[str, Path], early: dict[str, Path]
) -> None:
    names = [name for view in project.features.VIEWS for name in view.names]
    then, now = (_rows(project, known, "2013-01-15", EARLY).set_index("flight_id")[names] for known in (early, tables))
    pd.testing.assert_frame_equal(then, now)
    assert then.notna().any().all()


def test_live_features_agree_with_a_plain_look_at_the_table(project: Project, tables: dict[str, Path]) -> None:
    flights = pd.read_parquet(tables["flights"])
    for row in _rows(project, tables, "2013-01-18", EARLY).sample(25, random_state=1).itertuples():
        left = flights[(flights.origin == row.origin) & (flights.departed_at > row.asked_at - pd.Timedelta("2h"))]
        left = left[left.departed_at <= row.asked_at]
        assert row.origin_dep_delay_count_2h == len(left)
        assert row.origin_dep_delay_avg_2h == pytest.approx(left.dep_delay.mean(), nan_ok=True)
        legs = flights[(flights.tailnum == row.tailnum) & (flights.landed_at <= row.asked_at)]
        legs = legs[legs.landed_at >= row.asked_at - pd.Timedelta("24h")].sort_values("landed_at")
        expected = legs.arr_delay.iloc[-1] if len(legs) else float("nan")
        assert row.previous_leg_arr_delay == pytest.approx(expected, nan_ok=True)


def test_only_labels_that_were_known_are_trained_on(project: Project, tables: dict[str, Path]) -> None:
    with frames.connect() as con:
        rows = project.features.labelled_rows(con, tables["flights"], tables["weather"], start="2013-01-19", until=EARLY).df()
    assert rows["landed_at"].max() <= pd.Timestamp(EARLY)
    assert rows["late"].notna().all()


def test_no_input_of_an_honest_model_is_known_later(project: Project) -> None:
    later = load_contract(FOLDER / "contracts" / "flights.yaml").later_columns
    assert {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "landed_at", "late"} <= later
    assert not later & set(project.features.LIVE_INPUTS)
    evaluation = load_contract(FOLDER / "contracts" / "evaluation.yaml")
    assert {column.name for column in evaluation.columns} == set(project.evaluation.COLUMNS)
    assert evaluation.later_columns == {"dep_delay", "late"}


def test_the_broken_join_moves_features_and_leaves_labels(project: Project, tables: dict[str, Path]) -> None:
    rows = project.pipelines.training_rows(tables["flights"], tables["weather"], start="2013-01-10", until="2013-01-15")
    broken = project.pipelines.misjoin(rows)
    assert broken["late"].equals(rows["late"])
    assert sorted(broken["weather_temp"]) == sorted(rows["weather_temp"])
    assert (broken["weather_temp"] != rows["weather_temp"]).mean() > 0.5


def test_the_policy_can_be_read() -> None:
    text = (FOLDER / "tidegate.toml").read_text(encoding="utf-8")
    policy = parse_model_policy("delay", tomllib.loads(text)["models"]["delay"])
    assert policy.gate is not None
    assert policy.gate.cluster == "tailnum"
    assert policy.retrain is not None
    assert policy.retrain.pipeline == "pipelines:retrain"
