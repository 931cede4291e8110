"""Aliases of MLflow clients are ledger entries; the champion moves under the model's policy, or ungated and told as such."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from registry_house import Refused, RegistryHouse
from sklearn.linear_model import LogisticRegression

from tidegate.health.facts import ModelFacts, Rooms
from tidegate.health.red_flags import red_flags
from tidegate.models import Candidate
from tidegate.records.ledger import Aliased, Promoted, Unaliased
from tidegate.release import audit_ledger, tell
from tidegate.release.ledger import read_entries
from tidegate.workspace import Workspace

POLICY = """
[models.delay]
task = "binary"
[models.delay.gate]
snapshot = "eval@1"
label = "late"
[models.delay.gate.baseline]
kind = "constant"
[[models.delay.gate.rules]]
metric = "log_loss"
test = "superior"
[models.delay.release]
approvals = 0
[models.risk]
task = "binary"
[models.risk.gate]
snapshot = "eval@1"
label = "late"
[models.risk.gate.baseline]
kind = "constant"
[[models.risk.gate.rules]]
metric = "log_loss"
test = "superior"
"""


@pytest.fixture
def opened(tmp_path):
    """Opens the project, with settings."""
    (tmp_path / "tidegate.toml").write_text(POLICY, encoding="utf-8")
    spaces = []

    def opening(**settings):
        spaces.append(Workspace.open(tmp_path, actor="ana", **settings))
        return RegistryHouse(spaces[-1])

    yield opening
    for space in spaces:
        space.store.close()


@pytest.fixture
def house(opened):
    return opened()


def judged(workspace, name="delay", versions=1):
    """Versions of ours that passed the gate."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(3000, 2)).astype(np.float32)
    late = (rows[:, 0] + rng.normal(size=3000) * 0.3 > 0).astype(np.int64)
    if not workspace.datasets.names():
        workspace.datasets.snapshot(pl.DataFrame({"a": rows[:, 0], "b": rows[:, 1], "late": late}), "eval")
    for number in range(1, versions + 1):
        estimator = LogisticRegression(C=number).fit(rows, late)
        example = pl.DataFrame({"a": rows[:200, 0], "b": rows[:200, 1]})
        workspace.register(Candidate(name, estimator, example, "binary"))
    assert workspace.judge(f"{name}@1").verdict == "PASS"


def flags(workspace, name="delay"):
    rooms = Rooms(
        store=workspace.store, datasets=workspace.datasets, models=workspace.models, release=workspace.release,
        policies=workspace.policies, clock=workspace.clock, folder=workspace.project.folder,
    )  # fmt: skip
    return red_flags(ModelFacts(rooms, name))


def set_alias(house, alias, number, name="delay"):
    return house.ask("POST", "registered-models/alias", name=name, alias=alias, version=str(number))


def get_alias(house, alias, name="delay"):
    return house.ask("GET", "registered-models/alias", name=name, alias=alias)["model_version"]["version"]


def promotions(house, name="delay"):
    return [event for event in house.events(name) if isinstance(event, Promoted)]


def test_an_alias_moves_in_the_ledger_and_asking_again_adds_nothing(house):
    house.model(versions=2)
    for number in (1, 2, 2, 2):
        set_alias(house, "best", number)
    assert [event for event in house.events() if isinstance(event, Aliased)] == [
        Aliased(alias="best", version=1, previous=0), Aliased(alias="best", version=2, previous=1),
    ]  # fmt: skip
    assert [entry.actor for entry in house.workspace.release.history("delay")] == ["ana"] * 4
    assert get_alias(house, "best") == "2"
    assert house.get()["aliases"] == [{"alias": "best", "version": "2"}]
    assert house.get_version(2)["aliases"] == ["best"]
    for _ in range(2):
        house.ask("DELETE", "registered-models/alias", name="delay", alias="best")
    assert house.events()[-1] == Unaliased(alias="best", version=2)
    with pytest.raises(Refused, match="alias best not found") as caught:
        get_alias(house, "best")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("alias", "number", "status"),
    [("latest", 1, 400), ("LATEST", 1, 400), ("v3", 1, 400), ("V3", 1, 400), ("x y", 1, 400), ("a" * 256, 1, 400), ("", 1, 400), ("x", 9, 404),
     ("x", "q", 400), ("../x", 1, 400)],
)  # fmt: skip
def test_what_cannot_be_an_alias(house, alias, number, status):
    house.model()
    with pytest.raises(Refused) as caught:
        set_alias(house, alias, number)
    assert caught.value.status == status
    assert len(house.events()) == 1


def test_latest_is_the_greatest_number(house):
    house.model(versions=2)
    assert get_alias(house, "latest") == "2"
    assert get_alias(house, "Latest") == "2"


def test_clients_that_move_aliases_at_once_lose_nothing(house):
    house.model(versions=4)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: set_alias(house, f"a{n % 3}", n % 4 + 1), range(24)))
    moves = [event for event in house.events() if isinstance(event, Aliased)]
    assert {alias["alias"] for alias in house.get()["aliases"]} == {"a0", "a1", "a2"}
    for alias in ("a0", "a1", "a2"):
        mine = [event for event in moves if event.alias == alias]
        assert [event.previous for event in mine] == [0, *[event.version for event in mine[:-1]]]
        assert get_alias(house, alias) == str(mine[-1].version)
    assert house.workspace.release.verify("delay") == []


@pytest.mark.parametrize("alias", ["champion", "Champion", "CHAMPION"])
def test_the_champion_is_refused_without_evidence_and_the_sentence_says_how_to_get_there(house, alias):
    house.model()
    with pytest.raises(Refused, match="the gate has not judged delay@1.*tidegate gate delay@1") as caught:
        set_alias(house, alias, 1)
    assert (caught.value.status, caught.value.code) == (403, "PERMISSION_DENIED")
    house.model("other")
    with pytest.raises(Refused, match=r"no gate is declared for other.*add \[models.other\]"):
        set_alias(house, alias, 1, "other")
    assert promotions(house) == promotions(house, "other") == []
    with pytest.raises(Refused, match="not found"):
        get_alias(house, alias)


def test_production_is_the_champion_and_is_refused_alike(house):
    house.model()
    with pytest.raises(Refused, match="has not judged"):
        house.ask("POST", "model-versions/transition-stage", name="delay", version="1", stage="production")
    assert house.get_version(1)["current_stage"] == "None"
    assert len(house.events()) == 1


def test_the_champion_moves_when_the_rules_hold(house):
    judged(house.workspace, versions=2)
    set_alias(house, "champion", 1)
    set_alias(house, "champion", 1)
    assert [(event.version, event.ungated) for event in promotions(house)] == [(1, False)]
    assert audit_ledger(house.workspace.store.bucket, "delay") == []
    assert get_alias(house, "champion") == get_alias(house, "Champion") == "1"
    assert house.get()["aliases"] == [{"alias": "champion", "version": "1"}]
    assert house.get_version(1)["aliases"] == ["champion"]
    assert house.get_version(1)["current_stage"] == "Production"
    assert house.ask("POST", "model-versions/transition-stage", name="delay", version="1", stage="Production")["model_version"]
    with pytest.raises(Refused, match="has not judged delay@2"):
        set_alias(house, "champion", 2)


def test_a_missing_approval_is_told(house):
    judged(house.workspace, "risk")
    with pytest.raises(Refused, match="0 of 1 approvals.*tidegate approve risk@1"):
        set_alias(house, "champion", 1, "risk")


def test_what_serves_is_never_taken_away(house):
    judged(house.workspace, versions=2)
    set_alias(house, "champion", 1)
    attempts = [
        ("DELETE", "registered-models/alias", {"alias": "champion"}),
        ("DELETE", "registered-models/alias", {"alias": "Champion"}),
        ("DELETE", "registered-models/delete", {}),
        ("DELETE", "model-versions/delete", {"version": "1"}),
        ("POST", "model-versions/transition-stage", {"version": "1", "stage": "Archived"}),
        ("POST", "model-versions/transition-stage", {"version": "1", "stage": "None"}),
    ]
    for method, path, fields in attempts:
        with pytest.raises(Refused) as caught:
            house.ask(method, path, name="delay", **fields)
        assert (caught.value.status, caught.value.code) == (403, "PERMISSION_DENIED")
    assert get_alias(house, "champion") == "1"


def test_an_ungated_champion_is_recorded_as_one_and_told_everywhere(opened):
    house = opened(allow_ungated=True)
    run_id = house.model(versions=2)
    set_alias(house, "champion", 1)
    house.ask("POST", "model-versions/transition-stage", name="delay", version="2", stage="Production")
    assert [(event.version, event.receipt, event.ungated, event.previous.version) for event in promotions(house)] == [
        (1, "", True, 0), (2, "", True, 1),
    ]  # fmt: skip
    assert [house.get_version(number)["current_stage"] for number in (1, 2)] == ["Archived", "Production"]
    told = tell(promotions(house)[0])
    assert (told.kind, told.sentence) == ("ungated", "promoted ungated version 1, from nothing: no receipt stands behind it")
    assert audit_ledger(house.workspace.store.bucket, "delay") == []
    assert house.workspace.release.verify("delay") == []
    assert any("version 2 was promoted ungated" in flag for flag in flags(house.workspace))
    house.workspace.release.rollback("delay", reason="bad")
    assert get_alias(house, "champion") == "1"
    with pytest.raises(Refused, match="is quarantined"):  # even where no gate is asked
        set_alias(house, "champion", 2)
    house.version("delay", run_id)
    house.workspace.release.freeze("delay", reason="holidays")
    with pytest.raises(Refused, match="is frozen.*holidays"):
        set_alias(house, "champion", 3)
    closed = opened()
    with pytest.raises(Refused, match="is frozen"):
        set_alias(closed, "champion", 3)
    closed.workspace.release.unfreeze("delay", reason="over")
    with pytest.raises(Refused, match="has not judged"):
        set_alias(closed, "champion", 3)


def test_a_champion_that_passed_is_gated_even_where_it_need_not_be(opened):
    house = opened(allow_ungated=True)
    judged(house.workspace)
    set_alias(house, "champion", 1)
    assert promotions(house)[0].ungated is False
    assert not any("ungated" in flag for flag in flags(house.workspace))


def test_an_ungated_promotion_of_other_bytes_is_a_problem(opened):
    house = opened(allow_ungated=True)
    house.model()
    from tidegate.clock import Clock
    from tidegate.records.receipt import Baseline
    from tidegate.release.ledger import append

    forged = Promoted(version=1, digest="0" * 64, receipt="", previous=Baseline(), ungated=True)
    append(house.workspace.store.bucket, "delay", lambda _: forged, clock=Clock(), actor="eve")
    assert any(
        "not the version as it was registered" in problem for problem in audit_ledger(house.workspace.store.bucket, "delay")
    )


def test_the_gate_finds_no_evidence_in_a_folder_that_it_cannot_load(house):
    rows = np.random.default_rng(1).normal(size=(100, 2))
    table = {"wind": rows[:, 0], "carrier": ["AA"] * 100, "late": (rows[:, 0] > 0).astype(int)}
    house.workspace.datasets.snapshot(pl.DataFrame(table), "eval")
    house.model()
    found = house.workspace.judge("delay@1")
    assert found.verdict == "INVALID"
    assert any("runs code of its own" in problem.what for problem in found.report.problems)
    with pytest.raises(Refused, match="verdict on delay@1 is INVALID"):
        set_alias(house, "champion", 1)


def test_a_model_cannot_take_the_name_that_another_gate_is_declared_for(house):
    house.model("weak")
    with pytest.raises(Refused, match="declares a policy"):
        house.ask("POST", "registered-models/rename", name="weak", new_name="risk")
    with pytest.raises(Refused) as caught:
        house.get("risk")
    assert caught.value.status == 404


def test_nothing_that_only_looks_like_champion_moves_anything(house):
    house.model("delay")
    for alias in ("\uff43\uff48\uff41\uff4d\uff50\uff49\uff4f\uff4e", "champion ", "champion\n", "champion\u200b"):
        with pytest.raises(Refused):
            house.ask("POST", "registered-models/alias", name="delay", alias=alias, version="1")
    extra = {"aliases": [{"alias": "champion", "version": "1"}], "allow_ungated": True, "actor": "eve"}
    house.ask("PATCH", "registered-models/update", name="delay", description="d", **extra)
    house.ask("PATCH", "model-versions/update", name="delay", version="1", current_stage="Production", **extra)
    assert house.workspace.release.pointer("delay").champion.version == 0
    assert {entry.actor for _, entry in read_entries(house.workspace.store.bucket, "delay")} == {"ana"}
