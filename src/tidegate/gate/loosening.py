"""Whether a policy asks for less than another one did: a candidate must not bring its own easier exam unseen.

What cannot be compared counts as loosened, and so does every difference in a key that this page does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tidegate.clock import parse_duration
from tidegate.errors import TidegateError
from tidegate.gate.metrics import parse_metric
from tidegate.records.policy import AutoApproval, CheckPolicy, GatePolicy, ModelPolicy, ReleasePolicy, Rule

_Weaker = Callable[[Any, Any], bool]
_Policy = GatePolicy | CheckPolicy

_IDENTITY = ("test", "metric", "rows")
"""What makes two rules the same rule."""
_STRICT_WHEN_LESS = {"flips", "gap", "latency", "size", "leakage"}
_STRICTEST = {"leakage": 0.0, "label_coverage": 1.0}
"""What no value means: no row may have leaked, every row has a label."""
_COVERAGE = "label_coverage"
_NEVER_DECIDES = {"explore", "rules", "owner", "monitoring", "retrain", "serving", "gate", "release"}


def loosened(before: ModelPolicy, after: ModelPolicy) -> list[str]:
    """In which ways ``after`` asks for less than ``before``, in sentences; empty when it asks for at least as much.

    Looked at is what a promotion depends on: the task, the gate, the approvals, and whether packages may run code or go unsigned.
    """
    found = _of_fields(before, after, {})
    if before.gate is not None and after.gate is not None:
        found += loosened_rules(before.gate, after.gate, before.task)
    elif before.gate is not None:
        found.append("the gate was removed")
    found += _of_release(before.release, after.release)
    if after.serving.allow_code and not before.serving.allow_code:
        found.append("serving.allow_code was switched on: packages may run code")
    trusted, wanted = set(before.serving.signed_by), set(after.serving.signed_by)
    if trusted and (not wanted or wanted - trusted):
        found.append(
            "serving.signed_by asks for other signatures, or for none: packages may be served that nobody trusted signed"
        )
    return found


def loosened_rules(before: _Policy, after: _Policy, task: str) -> list[str]:
    """The same of the gate alone: its keys, then rule by rule. A rule may be replaced by one that is at least as strict."""
    found = _of_fields(before, after, _GATE)
    for rule in before.rules:
        candidates = [_of_rule(rule, other, task) for other in after.rules if _same(rule, other)]
        if not candidates:
            found.append(f"the rule {_name(rule)} was removed")
            continue
        found += min(candidates, key=len)
    if any(rule.test == _COVERAGE for rule in after.rules) and all(rule.test != _COVERAGE for rule in before.rules):
        found.append(
            f"the rule {_COVERAGE} was added: rows without a label are left out, which made the evidence unusable before"
        )
    return list(dict.fromkeys(found))


def _of_release(before: ReleasePolicy, after: ReleasePolicy) -> list[str]:
    found = _of_fields(before, after, _RELEASE, "release.")
    return [text if "approvers" not in text else f"{text}: more people may approve" for text in found]


def _same(rule: Rule, other: Rule) -> bool:
    if (rule.test, other.test) == ("not_worse", "superior"):
        return rule.metric == other.metric
    return all(getattr(rule, key) == getattr(other, key) for key in _IDENTITY)


def _of_rule(rule: Rule, other: Rule, task: str) -> list[str]:
    """How ``other``, which asks the same question, asks for less than ``rule``."""
    name = _name(rule)
    found: list[str] = []
    if rule.test == other.test:  # a superior rule in place of a not_worse one has a margin of another meaning
        found += _of_margin(rule, other)
    if rule.value != other.value and _weaker_value(rule, other, task):
        found.append(_became("value", rule.value, other.value))
    found += [
        _became(key, getattr(rule, key), getattr(other, key))
        for key in Rule.__struct_fields__
        if key not in {*_IDENTITY, "margin", "relative_margin", "value"}
        and getattr(rule, key) != getattr(other, key)
        and _weaker_key(rule, key)(getattr(rule, key), getattr(other, key))
    ]
    return [f"the rule {name}: {text}" for text in found]


def _weaker_key(rule: Rule, key: str) -> _Weaker:
    if key == "slices" and rule.slice_mode == "none_worse":
        return _differs  # the more slices are looked at, the harder each is proven worse
    return _RULE.get((rule.test, key), _RULE.get(("", key), _differs))


def _of_margin(rule: Rule, other: Rule) -> list[str]:
    """``superior`` gets easier with a smaller margin, every other test with a larger one; two units cannot be compared."""
    before, after = (item.relative_margin if item.relative_margin is not None else item.margin for item in (rule, other))
    units = {item.relative_margin is None for item in (rule, other) if item.relative_margin is not None or item.margin}
    if len(units) < 2 and (before <= after if rule.test == "superior" else before >= after):
        return []
    told = [
        f"{100 * item.relative_margin:g} %" if item.relative_margin is not None else f"{item.margin:g}" for item in (rule, other)
    ]
    return [f"margin was {told[0]} and is {told[1]}"] if told[0] != told[1] else []


def _weaker_value(rule: Rule, other: Rule, task: str) -> bool:
    before, after = rule.value, other.value
    if rule.test in _STRICTEST:
        before, after = (_STRICTEST[rule.test] if value is None else value for value in (before, after))
    if before is None:
        return rule.test == "gap"  # elsewhere a bound where there was none; here another question
    if after is None:
        return True
    if rule.test in _STRICT_WHEN_LESS:
        return after > before
    if rule.test == "floor":
        try:
            higher = parse_metric(rule.metric, task, rule.costs).better == "higher"
        except TidegateError:
            return True
        return after < before if higher else after > before
    return after < before if rule.test == "label_coverage" else True


def _of_fields(before: msgspec.Struct, after: msgspec.Struct, compare: dict[str, _Weaker], prefix: str = "") -> list[str]:
    return [
        _became(prefix + key, getattr(before, key), getattr(after, key))
        for key in before.__struct_fields__
        if key not in _NEVER_DECIDES
        and getattr(before, key) != getattr(after, key)
        and compare.get(key, _differs)(getattr(before, key), getattr(after, key))
    ]


def _became(key: str, before: object, after: object) -> str:
    return f"{key} was {_shown(before)} and is {_shown(after)}"


def _shown(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "nothing"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(msgspec.to_builtins(value))


def _name(rule: Rule) -> str:
    return " ".join(word for word in (rule.test, rule.metric or rule.rows) if word)


def _differs(_before: object, _after: object) -> bool:
    return True


def _less(before: float, after: float) -> bool:
    return after < before


def _more(before: float, after: float) -> bool:
    return after > before


def _longer(before: str, after: str) -> bool:
    """A longer duration, or none at all in place of one."""
    try:
        return bool(before) and (not after or parse_duration(after) > parse_duration(before))
    except TidegateError:
        return True


def _shorter_list(before: list[str], after: list[str]) -> bool:
    return not set(before) <= set(after)


def _more_people(before: list[str], after: list[str]) -> bool:
    """An empty list lets everybody approve, or sign."""
    return bool(before) and (not after or not set(after) <= set(before))


def _more_uses(before: int, after: int) -> bool:
    """0 sets no limit."""
    return before > 0 and (after == 0 or after > before)


def _taken_away(before: object, after: object) -> bool:
    """Something that was asked for is no longer asked for, or is another thing."""
    return before not in ("", None) and before != after


def _less_alike(before: float | None, after: float | None) -> bool:
    return before is not None and (after is None or after > before)


def _fewer_of_a_role(before: dict[str, int], after: dict[str, int]) -> bool:
    return any(after.get(role, 0) < count for role, count in before.items())


def _more_with_a_role(before: dict[str, list[str]], after: dict[str, list[str]]) -> bool:
    return any(not set(after.get(role, ())) <= set(people) for role, people in before.items())


def _added(before: list[str], after: list[str]) -> bool:
    return not set(after) <= set(before)


def _lets_more_pass(before: AutoApproval | None, after: AutoApproval | None) -> bool:
    if after is None:
        return False
    return before is None or any(getattr(after, key) > getattr(before, key) for key in AutoApproval.__struct_fields__)


_RELEASE: dict[str, _Weaker] = {
    "approvals": _less,
    "approval_lifetime": _longer,
    "approvers": _more_people,
    "signed_by": _more_people,
    "quorum": _fewer_of_a_role,
    "roles": _more_with_a_role,
    "break_glass": _added,
    "auto": _lets_more_pass,
}
_GATE: dict[str, _Weaker] = {
    "confidence": _less,
    "receipt_lifetime": _longer,
    "max_uses": _more_uses,
    "anchor": _taken_away,
    "preference": _taken_away,
}
_RULE: dict[tuple[str, str], _Weaker] = {
    ("", "slices"): _shorter_list,
    ("", "slice_mode"): lambda before, _after: before == "all_not_worse",
    ("", "tolerance"): _more,
    ("flips", "tolerance"): lambda _before, _after: True,  # with less of it the champion is right less often, too
    ("", "near"): _less_alike,
    ("", "max_age"): _longer,
    ("leakage", "group"): _taken_away,
    ("leakage", "time"): _taken_away,
}
