"""Breaking the glass: past the gate, loud, and only for those who may."""

import msgspec
import pytest
from conftest_release_house import POLICY, asking

from tidegate.errors import ConflictError, NotFoundError, RefusedError, UsageError
from tidegate.records.ledger import LedgerEntry
from tidegate.records.verdict import Verdict
from tidegate.release import audit_ledger, audit_write, served_at, tell, verify_ledger
from tidegate.release.followup import notice_of

MAY = asking(break_glass=["ops"], roles={"ops": ["otto"]})


def smash(house, who="otto", version=2, policy=MAY, reason="the champion answers nonsense"):
    return house.release(who).break_glass("delay", version, policy=policy, reason=reason)


def test_who_may_promotes_past_verdict_and_approvals_and_everybody_hears_it(house):
    house.champion(1)
    house.judge(house.version(2), Verdict.FAIL)
    entry = smash(house)
    state = house.release("x").state("delay")
    assert (state.champion.version, entry.event.receipt, entry.event.break_glass) == (2, "", True)
    assert state.unproven == {state.champion.digest: "the champion answers nonsense"}
    assert tell(entry.event).sentence == "broke the glass and promoted version 2, from 1: the champion answers nonsense"
    notice = notice_of("delay", "d" * 64, entry)
    assert (notice.type, notice.urgent) == ("release.break_glass", True)
    assert "breaking the glass by otto" in served_at("delay", house.release("x").history("delay"), house.now).why
    assert verify_ledger(house.bucket, "delay") == []


@pytest.mark.parametrize("policy", [asking(), asking(break_glass=["otta"])])
def test_who_may_not_cannot(house, policy):
    house.champion(1)
    house.version(2)
    with pytest.raises(RefusedError, match="otto may not break the glass") as error:
        smash(house, policy=policy)
    assert error.value.code == "break-glass-forbidden"
    assert house.release("x").pointer("delay").champion.version == 1


def test_a_freeze_and_a_quarantine_hold(house):
    house.champion(1)
    house.champion(2)
    house.release("ana").rollback("delay", reason="bad")
    with pytest.raises(RefusedError, match="quarantined"):
        smash(house)
    house.release("ana").lift("delay", 2, reason="it was the data")
    house.release("ana").freeze("delay", reason="audit")
    with pytest.raises(RefusedError, match="frozen"):
        smash(house)


def test_what_is_wrong_is_refused(house):
    house.champion(1)
    with pytest.raises(UsageError, match="reason"):
        smash(house, reason=" ")
    with pytest.raises(NotFoundError, match="no delay@7"):
        smash(house, version=7)
    with pytest.raises(ConflictError, match="serves already"):
        smash(house, version=1)


def test_the_flag_stays_until_the_gate_passes_it_also_over_a_rollback(house):
    house.champion(1)
    version = house.version(2)
    smash(house)
    house.champion(3)
    house.release("ana").rollback("delay", reason="three is worse")
    state = house.release("x").state("delay")
    assert (state.champion.version, list(state.unproven)) == (2, [version.digest])
    house.judge(version, Verdict.FAIL)
    assert house.release("x").state("delay").unproven
    house.judge(version)
    assert not house.release("x").state("delay").unproven


def test_a_rollback_from_it_quarantines_it(house):
    house.champion(1)
    version = house.version(2)
    smash(house)
    house.release("ana").rollback("delay", reason="worse")
    assert version.digest in house.release("x").state("delay").quarantined


def test_through_a_server_only_those_who_may(house):
    house.champion(1)
    version = house.version(2)
    state = house.release("x").state("delay")
    entry = msgspec.convert(
        {
            "seq": state.head + 1, "at": house.now, "clock": "system", "actor": "otto", "before": state.head_digest,
            "event": {"type": "promoted", "version": 2, "digest": version.digest, "receipt": "", "break_glass": True,
                      "previous": msgspec.to_builtins(state.champion)},
        },
        LedgerEntry,
    )  # fmt: skip
    key, data = f"models/delay/ledger/{entry.seq:08d}.json", msgspec.json.encode(entry)
    assert "breaking the glass, which otto may not" in audit_write(house.bucket, key, data, allow_ungated=True)[0]
    allowed = {"allow_ungated": False, "may_break_glass": lambda model, actor: (model, actor) == ("delay", "otto")}
    assert audit_write(house.bucket, key, data, **allowed) == []


def test_a_promotion_in_a_freeze_is_a_forgery(house):
    house.champion(1)
    house.version(2)
    smash(house)
    assert not [problem for problem in audit_ledger(house.bucket, "delay") if "broke" in problem or "frozen" in problem]
    house.release("ana").freeze("delay", reason="audit")
    state = house.release("x").state("delay")
    version = house.version(4)
    event = {"type": "promoted", "version": 4, "digest": version.digest, "receipt": "", "ungated": True, "previous": {}}
    head = house.release("x").state("delay")
    entry = {"seq": head.head + 1, "at": 1, "clock": "x", "actor": "eve", "event": event, "before": head.head_digest}
    house.bucket.put_if_absent(f"models/delay/ledger/{head.head + 1:08d}.json", msgspec.json.encode(entry))
    assert any("while delay was frozen" in problem for problem in audit_ledger(house.bucket, "delay"))
    assert state.champion.version == 2


def test_the_next_version_is_judged_against_it(house):
    house.champion(1)
    house.version(2)
    smash(house)
    house.ready(3)
    house.release("ana").promote("delay", 3, policy=POLICY)
    assert house.release("x").pointer("delay").champion.version == 3
