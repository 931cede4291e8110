"""Policies from TOML, read strictly: whatever is not understood is refused, with the nearest valid word."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from tidegate import digest
from tidegate.clock import parse_duration
from tidegate.errors import NotFoundError, UsageError
from tidegate.gate.metrics import check_metric, is_target
from tidegate.records.names import check_name, nearest
from tidegate.records.policy import (
    AutoApproval,
    BaselineModel,
    CheckPolicy,
    GatePolicy,
    ModelPolicy,
    MonitoringPolicy,
    ReleasePolicy,
    RetrainPolicy,
    Rule,
    ServingPolicy,
    SliceMode,
    Task,
    Test,
)
from tidegate.records.rollout import Mode, RolloutPolicy, check_rollout
from tidegate.settings import read_toml

_Record = TypeVar("_Record", bound=msgspec.Struct)

_TABLES: dict[str, type[msgspec.Struct]] = {
    "gate": GatePolicy,
    "release": ReleasePolicy,
    "monitoring": MonitoringPolicy,
    "retrain": RetrainPolicy,
    "serving": ServingPolicy,
    "rollout": RolloutPolicy,
}
_DURATIONS = {
    "gate": ("receipt_lifetime",),
    "release": ("approval_lifetime",),
    "monitoring": ("window", "label_wait"),
    "retrain": ("every", "cooldown", "expires"),
}


_SLICED = ("slices", "slice_mode")
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "superior": (("metric", "margin", "relative_margin", "costs", *_SLICED), ("metric",)),
    "not_worse": (("metric", "margin", "relative_margin", "costs", *_SLICED), ("metric",)),
    "floor": (("metric", "value", "costs", *_SLICED), ("metric", "value")),
    "golden": (("rows", "tolerance"), ("rows",)),
    "flips": (("value", "metric", "tolerance", *_SLICED), ("value",)),
    "gap": (("metric", "value", "margin", "costs", "slices"), ("metric", "slices")),
    "latency": (("value", "relative"), ("value",)),
    "size": (("value", "relative"), ("value",)),
    "schema": ((), ()),
    "leakage": (("columns", "group", "time", "near", "value"), ()),
    "freshness": (("max_age", "time"), ("max_age",)),
    "label_coverage": (("value", "slices"), ("value",)),
}
"""Which keys each test takes, and which it cannot do without."""
MEASURED = {"superior", "not_worse", "floor"}
"""Tests that hold a metric's interval against a bound."""
PAIRED = MEASURED - {"floor"}
"""Of these, tests of a difference from the champion."""
COMPARING = {"superior", "not_worse", "flips"}
"""Tests that ask for a champion."""
ABOUT_MODELS = {"latency", "size", "schema", "leakage", "freshness"}
"""Tests of models and snapshots: a file of predictions cannot answer them."""
SHARES = {"flips", "leakage", "label_coverage"}
"""Tests whose value is a share of rows."""
RIGHT_OR_WRONG = ("binary", "multiclass", "multilabel", "regression")
"""Tasks in which one row is right or wrong by itself: ``golden`` and ``flips`` count such rows."""
HIGHEST_CONFIDENCE = 0.999999
HIGHEST_SEED = 2**53 - 1
_FILE = "the policy"
_CLASSES = {"multiclass", "multilabel"}
_UNLIMITED = {"log_loss", "mae", "mse", "mape", "rmse", "r2", "pinball", "mean_score", "expected_cost", "utility"}
"""Metrics without a scale of their own; all others lie from 0 to 1, or as ``_WIDER`` says."""
_WIDER = {"brier": (0, 2), "mcc": (-1, 1), "kappa": (-1, 1)}
_DEFAULTS = {name: getattr(Rule(test="schema"), name) for name in Rule.__struct_fields__ if name != "test"}
_EXAMPLES = {
    "metric": '"log_loss"',
    "value": "0.8",
    "rows": '"is_golden"',
    "slices": '["region"]',
    "max_age": '"30d"',
}


class _Roles(msgspec.Struct, frozen=True):
    roles: dict[str, list[str]]


def load_check_policy(path: Path) -> CheckPolicy:
    """Reads the policy file of a standalone check.

    Raises:
        NotFoundError: no such file.
        UsageError: it is no TOML, or not a policy.
    """
    return parse_check_policy(read_policy_file(path))


def read_policy_file(path: Path) -> dict[str, Any]:
    """The tables of any file of policies, not yet understood.

    Raises:
        NotFoundError: it cannot be opened.
        UsageError: it is no TOML.
    """
    try:
        return read_toml(path)
    except OSError as error:
        raise NotFoundError(
            "policy-not-found",
            f"no policy file {path}",
            why="" if isinstance(error, FileNotFoundError) else str(error),
            fix="check its path (--policy FILE), or write one: docs/reference/gate-policy.md",
        ) from None


def parse_check_policy(mapping: Mapping[str, Any]) -> CheckPolicy:
    """The policy of a standalone check from its TOML tables.

    Raises:
        UsageError: an unknown key, metric or test (the nearest valid one is named), a wrong type (with its path), a rule
            that cannot be followed.
    """
    _check_keys(mapping, CheckPolicy, _FILE)
    _check_rules(mapping.get("rules"), _FILE)
    policy = _convert(mapping, CheckPolicy, _FILE)
    _check_confidence(policy.confidence)
    _check_seed(policy.seed)
    _check_columns(policy)
    if policy.anchor:
        check_anchor(policy)
    for position, rule in enumerate(policy.rules):
        here = _rule_name(position, rule)
        check_rule(rule, policy.task, here)
        if rule.test in ABOUT_MODELS:
            raise UsageError(
                "rule-needs-project",
                f"{here} asks about models and snapshots, which a file of predictions cannot answer",
                fix="move it to [models.NAME.gate] of a project, where tidegate gate NAME@VERSION judges it",
            )
        compares = rule.test in COMPARING or (rule.test == "gap" and rule.value is None)
        if compares and not policy.champion and not policy.preference:
            raise UsageError(
                "rule-needs-champion",
                f"{here} compares with a champion, but the policy names no champion column",
                fix='add champion = "COLUMN", or use test = "floor" with a value',
            )
    return policy


def _check_columns(policy: CheckPolicy) -> None:
    """Each task needs its columns, and takes no others."""
    scores, ranking = policy.task == "scores", policy.task == "ranking"
    needed = {"label": not scores, "candidate": not policy.preference, "query": ranking}
    unfit = {"label": scores, "query": not ranking, "preference": not scores, "classes": policy.task not in _CLASSES}
    for key, need in needed.items():
        if need and not getattr(policy, key):
            raise UsageError("bad-policy", f"{key} of the policy names no column", fix=f'write {key} = "COLUMN"')
    for key, refused in unfit.items():
        if refused and getattr(policy, key):
            raise UsageError("bad-policy", f"the task {policy.task} takes no {key}", fix="remove it, or mend the task")


def asks_anchor(rule: Rule) -> bool:
    """Whether a rule allows a small loss against the champion, so that it is asked against the anchor, too."""
    return rule.test == "not_worse" or (rule.test == "gap" and rule.value is None)


def check_anchor(policy: CheckPolicy) -> None:
    """Refuses an anchor that no rule would look at.

    Raises:
        UsageError: no rule is ``not_worse``, or a ``gap`` with a margin.
    """
    if not any(map(asks_anchor, policy.rules)):
        raise UsageError(
            "anchor-unused",
            "there is an anchor, but no rule is asked against it",
            why="only not_worse, and gap with a margin, allow small losses that could add up",
            fix='add a rule with test = "not_worse", or give no anchor',
        )


def parse_model_policy(name: str, mapping: Mapping[str, Any], roles: Mapping[str, Any] | None = None) -> ModelPolicy:
    """The table ``[models.NAME]`` of ``tidegate.toml``, and ``[roles]``, which every model knows.

    Raises:
        UsageError: as ``parse_check_policy``.
    """
    check_name(name, "model")
    where = f"[models.{name}]"
    _check_keys(mapping, ModelPolicy, where)
    for table, kind in _TABLES.items():
        if isinstance(mapping.get(table), Mapping):
            _check_keys(mapping[table], kind, f"[models.{name}.{table}]")
    rollout: Any = mapping.get("rollout")
    if isinstance(rollout, Mapping):
        _check_word(rollout.get("mode"), list(get_args(Mode)), f"models.{name}.rollout.mode", "bad-value")
    release: Any = mapping.get("release")
    if isinstance(release, Mapping) and isinstance(release.get("auto"), Mapping):
        _check_keys(release["auto"], AutoApproval, f"[models.{name}.release.auto]")
    gate: Any = mapping.get("gate")
    if isinstance(gate, Mapping):
        _check_rules(gate.get("rules"), f"[models.{name}.gate]")
        if isinstance(gate.get("baseline"), Mapping):
            _check_keys(gate["baseline"], BaselineModel, f"[models.{name}.gate.baseline]")
    policy = _convert(mapping, ModelPolicy, where)
    shared = _convert({"roles": roles or {}}, _Roles, "[roles]").roles
    asked = msgspec.structs.replace(policy.release, roles={**shared, **policy.release.roles})
    policy = msgspec.structs.replace(policy, release=asked)
    _check_durations(policy, name)
    _check_model(policy, name)
    _check_release(asked, f"models.{name}.release")
    return policy


def policy_digest(policy: CheckPolicy | ModelPolicy) -> str:
    """Digest of what the gate goes by: the whole check policy; of a model's, the task and its gate."""
    if isinstance(policy, CheckPolicy):
        return digest.of_json(policy)
    return digest.of_json({"task": policy.task, "gate": msgspec.to_builtins(policy.gate)})


def check_rule(rule: Rule, task: str, where: str) -> None:
    """Refuses a rule that cannot be followed.

    Raises:
        UsageError: unknown metric; a key that the test does not take, or one that it needs and lacks; a number out of range.
    """
    allowed, needed = KEYS[rule.test]
    _check_keys_of_test(rule, allowed, needed, where)
    _check_task_of_test(rule, task, where)
    if "metric" in allowed and rule.metric:
        _named(where, check_metric, rule.metric, task, rule.costs)
    for key in ("margin", "relative_margin"):
        margin = getattr(rule, key)
        if margin is not None and (not math.isfinite(margin) or margin < 0):
            raise UsageError(
                "bad-margin",
                f"{where}: {key} is {margin:g}",
                why="a margin is an amount in the metric's unit, or a share, never negative; the metric itself says which direction is good",
                fix="write 0.005, not -0.005",
            )
    _check_scale(rule, where)
    if rule.margin and rule.relative_margin is not None:
        raise UsageError("bad-margin", f"{where} has a margin and a relative_margin", fix="keep one of them")
    if rule.test == "gap" and rule.margin and rule.value is not None:
        raise UsageError(
            "bad-margin",
            f"{where} has a value and a margin",
            fix="keep value to bound the gap itself, or margin to bound how much larger than the champion's it is",
        )
    if rule.value is not None and not math.isfinite(rule.value):
        raise UsageError("bad-value", f"{where}: value is {rule.value:g}", fix="write a finite number")
    if rule.test in SHARES and rule.value is not None and not 0 <= rule.value <= 1:
        raise UsageError(
            "bad-value", f"{where}: value is {rule.value:g}", why="it is a share of rows", fix="write a number from 0 to 1"
        )
    if rule.near is not None and not 0 < rule.near <= 1:
        raise UsageError(
            "bad-value", f"{where}: near is {rule.near:g}", why="it is a similarity", fix="write a number above 0, at most 1"
        )
    if rule.max_age:
        _named(where, parse_duration, rule.max_age)
    if len(set(rule.slices)) != len(rule.slices):
        raise UsageError("bad-slices", f"{where}: slices names a column twice", fix="name each column once")


def _named(where: str, ask: Callable[..., object], *given: object) -> None:
    """Asks something that refuses by itself, and says which rule it was asked of."""
    try:
        ask(*given)
    except UsageError as error:
        raise UsageError(error.code, f"{where}: {error.what}", why=error.why, fix=error.fix) from None


def _rule_name(position: int, rule: Any) -> str:
    """A rule as people name it: they count from 1. ``rule``: the record or the table, which may be anything."""
    found = rule if isinstance(rule, Mapping) else {key: getattr(rule, key, "") for key in ("test", "metric")}
    words = [word[:80] for word in (found.get("test"), found.get("metric")) if isinstance(word, str) and word]
    return f"rule {position + 1}" + (f" ({' '.join(words)})" if words else "")


def _counted(why: str, mapping: Mapping[str, Any]) -> str:
    """What msgspec says of a place, which counts from 0, with the rule's name and counted from 1."""
    gate: Any = mapping.get("gate", mapping)

    def named(found: re.Match[str]) -> str:
        position = int(found[1])
        return (f"`{found[2]}` of " if found[2] else "") + _rule_name(position, gate["rules"][position])

    why = re.sub(r"`\$(?:\.gate)?\.rules\[(\d+)\]\.?([^`]*)`", named, why)
    return re.sub(r"\[(\d+)\]", lambda found: f", item {int(found[1]) + 1}", why)


def _check_scale(rule: Rule, where: str) -> None:
    """Refuses percent where shares are meant: a margin as wide as the metric's scale would let every model pass."""
    if rule.relative_margin is not None and rule.relative_margin >= 1:
        raise UsageError(
            "bad-margin",
            f"{where}: relative_margin is {rule.relative_margin:g}",
            why="it is a share of the champion's value: 1 would be all of it",
            fix="write 0.02 for 2%",
        )
    stem = re.split(r"[@\[]", rule.metric)[0]
    if not stem or is_target(rule.metric) or stem in _UNLIMITED:
        return
    least, most = _WIDER.get(stem, (0, 1))
    if rule.margin >= most - least:
        raise UsageError(
            "bad-margin",
            f"{where}: margin is {rule.margin:g}",
            why=f"{stem} lies from {least} to {most}, so every model would be within it",
            fix="write 0.02 for two points of a hundred",
        )
    if rule.test == "floor" and rule.value is not None and not least <= rule.value <= most:
        raise UsageError(
            "bad-value",
            f"{where}: value is {rule.value:g}",
            why=f"{stem} lies from {least} to {most}",
            fix="write 0.9 for 90 of a hundred",
        )


def _check_task_of_test(rule: Rule, task: str, where: str) -> None:
    if rule.test in {"golden", "flips"} and task not in RIGHT_OR_WRONG:
        raise UsageError(
            "test-not-for-task",
            f"{where} counts rows that are right or wrong, which no row of the task {task!r} is by itself",
            fix="use not_worse with a metric of this task",
        )
    if rule.test == "label_coverage" and task == "scores":
        raise UsageError("test-not-for-task", f"{where} counts labels, which scores have not", fix="take it out")
    if rule.tolerance and task != "regression":
        raise UsageError("key-not-for-test", f"{where} has a tolerance, which is for numbers alone", fix="take it out")
    if rule.tolerance < 0 or not math.isfinite(rule.tolerance):
        raise UsageError("bad-value", f"{where}: tolerance is {rule.tolerance:g}", why="it is a distance", fix="write 0 or more")
    if rule.test == "flips" and task == "regression" and not rule.tolerance:
        raise UsageError(
            "rule-incomplete", f"{where} lacks tolerance", why="a number is right within it", fix="add tolerance = 5"
        )
    if rule.test in {"latency", "size"} and rule.value is not None and rule.value <= 0:
        raise UsageError(
            "bad-value", f"{where}: value is {rule.value:g}", why="it is above 0", fix="write what is allowed at most"
        )


def _check_keys_of_test(rule: Rule, allowed: tuple[str, ...], needed: tuple[str, ...], where: str) -> None:
    for key, default in _DEFAULTS.items():
        if getattr(rule, key) != default and key not in allowed:
            raise UsageError(
                "key-not-for-test",
                f"{where} has {key}, which the test {rule.test!r} does not take",
                fix=f"{rule.test} takes: {', '.join(allowed) or 'nothing else'}",
            )
        if key in needed and getattr(rule, key) == default:
            raise UsageError("rule-incomplete", f"{where} lacks {key}", fix=f"add {key} = {_EXAMPLES[key]}")


def _check_model(policy: ModelPolicy, name: str) -> None:
    check_rollout(policy.rollout, policy.task, f"models.{name}.rollout")
    gate = policy.gate
    if gate is not None:
        _check_confidence(gate.confidence)
        _check_seed(gate.seed)
        _check_gate(policy.task, gate, f"[models.{name}.gate]")
        for position, rule in enumerate(gate.rules):
            check_rule(rule, policy.task, f"[models.{name}.gate] {_rule_name(position, rule)}")
        if gate.baseline is not None and (gate.baseline.kind == "column") != bool(gate.baseline.column):
            raise UsageError(
                "bad-baseline",
                f"[models.{name}.gate.baseline] must name a column exactly when its kind is column",
                fix='write kind = "column" and column = "NAME", or kind = "constant"',
            )
    for metric in policy.monitoring.metrics if policy.monitoring else []:
        if is_target(metric):
            raise UsageError(
                "bad-metric",
                f"models.{name}.monitoring.metrics names the function {metric!r}",
                why="monitoring runs unattended, and runs no code that a policy names",
                fix="monitor a metric of the gate, such as log_loss",
            )
        check_metric(metric, policy.task)


def _check_gate(task: Task, gate: GatePolicy, where: str) -> None:
    if task == "scores":
        raise UsageError(
            "task-not-for-models",
            f"{where} is for models of scores, which no gate can judge by the scores that they give",
            why="a model that marks everything higher would always win: scores are marks of answers, given by somebody else",
            fix='judge a file of marks with tidegate gate check, or say what is true: task = "regression" with a label',
        )
    if not gate.label:
        raise UsageError("bad-policy", f"label of {where} names no column", fix='write label = "COLUMN"')
    if (task == "ranking") != bool(gate.query):
        what = (
            f"query of {where} names no column" if task == "ranking" else f"the task {task} takes no query, and {where} has one"
        )
        raise UsageError("bad-policy", what, fix='write query = "COLUMN" for a ranking, and for no other task')


def _check_release(release: ReleasePolicy, where: str) -> None:
    counts = {"approvals": release.approvals} | {f"quorum.{role}": number for role, number in release.quorum.items()}
    for key, count in counts.items():
        if count < (key != "approvals"):
            raise UsageError("bad-value", f"{where}.{key} is {count}", why="it counts people", fix="write 1")
    for role in release.quorum:
        if role not in release.roles:
            hint = nearest(role, list(release.roles)) if release.roles else ""
            fix = f'add it under [roles]: {role} = ["NAME"]'
            raise UsageError("unknown-role", f"{where}.quorum names {role!r}, which is no role", why=hint, fix=fix)
    auto = release.auto
    if auto is not None and not (0 <= auto.max_flips <= 1 and 0 < auto.max_size < math.inf and auto.per_week >= 1):
        why = "max_flips is a share of rows, max_size a multiple of the champion's size, per_week a number of approvals"
        raise UsageError("bad-value", f"{where}.auto sets a limit that is none", why=why, fix="write 0.01, 1.1 and 1")


def _check_durations(policy: ModelPolicy, name: str) -> None:
    for table, keys in _DURATIONS.items():
        record = getattr(policy, table)
        for key in keys if record is not None else ():
            text: str = getattr(record, key)
            if not text and key == "every":
                continue
            try:
                parse_duration(text)
            except UsageError as error:
                raise UsageError(error.code, f"models.{name}.{table}.{key}: {error.what}", why=error.why, fix=error.fix) from None


def _check_confidence(confidence: float) -> None:
    if not 0.5 <= confidence <= HIGHEST_CONFIDENCE:
        why = f"it lies from 0.5 to {HIGHEST_CONFIDENCE}"
        raise UsageError("bad-confidence", f"confidence is {confidence:.16g}", why=why, fix="write 0.95")


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= HIGHEST_SEED:
        raise UsageError(
            "bad-seed", f"seed is {seed}", why=f"it lies from 0 to {HIGHEST_SEED}, so that JSON can hold it", fix="write 0"
        )


def _check_rules(rules: Any, where: str) -> None:
    """Keys and words of rules, before types: a typo should be named as a typo."""
    if not isinstance(rules, list) or not rules:
        raise UsageError(
            "no-rules",
            f"{where} holds no rule",
            why="without a rule nothing is asked, and nothing can pass",
            fix="write [[rules]] with two brackets: it is a list" if isinstance(rules, Mapping) else "add a [[rules]] table",
        )
    for position, rule in enumerate(rules):
        here = _rule_name(position, rule) if where == _FILE else f"{where} {_rule_name(position, rule)}"
        if not isinstance(rule, Mapping):
            raise UsageError("bad-policy", f"{here} is not a table", fix="write [[rules]] with metric and test")
        _check_keys(rule, Rule, here)
        _check_word(rule.get("test"), list(get_args(Test)), f"{here}: test", "unknown-test")
        _check_word(rule.get("slice_mode"), list(get_args(SliceMode)), f"{here}: slice_mode", "unknown-slice-mode")


def _check_word(word: Any, valid: list[str], where: str, code: str) -> None:
    if isinstance(word, str) and word not in valid:
        hint = nearest(word, valid)
        raise UsageError(
            code, f"{where} is {word!r}", why=hint if hint.startswith("did") else "", fix=f"use one of: {', '.join(valid)}"
        )


def _check_keys(mapping: Any, kind: type[msgspec.Struct], where: str) -> None:
    if not isinstance(mapping, Mapping):
        raise UsageError("bad-policy", f"{where} is not a table", fix="see docs/reference/gate-policy.md for its keys")
    valid = list(kind.__struct_fields__)
    for key in mapping:
        if key not in valid:
            raise UsageError(
                "unknown-key", f"{where} has an unknown key {key!r}", why=nearest(key, valid), fix="mend or remove it"
            )
    if "task" in valid:
        _check_word(mapping.get("task"), list(get_args(Task)), f"task of {where}", "unknown-task")


def _convert(mapping: Mapping[str, Any], kind: type[_Record], where: str) -> _Record:
    try:
        return msgspec.convert(dict(mapping), kind)
    except msgspec.ValidationError as error:
        raise UsageError(
            "bad-policy",
            f"{where} cannot be read",
            why=_counted(str(error), mapping),
            fix="see docs/reference/gate-policy.md for its keys and types",
        ) from None
