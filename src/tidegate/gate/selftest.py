"""The gate tried on itself: does it stay quiet where nothing differs, and does it block what is known to be bad?

*A/A*: candidate and champion swap their predictions at random, row by row (cluster by cluster, list by list). Then neither can be
better, whatever the rows are like, and every PASS of ``superior`` and every FAIL is a false alarm. They may come in about half of
(1 - confidence) of the trials, each. *Known bad*: the better-known model's own predictions, spoilt in ways that are named, must not pass.

Source: randomisation of paired data, Fisher, The Design of Experiments (1935), section 21; A/A tests: Kohavi, Tang & Xu,
Trustworthy Online Controlled Experiments (2020), chapter 19.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.errors import BadInputError
from tidegate.frames import Columns
from tidegate.gate.case import Case
from tidegate.gate.check import check
from tidegate.gate.evidence import Evidence, read_evidence
from tidegate.gate.metrics import parse_metric, shortage
from tidegate.gate.policy import MEASURED, PAIRED
from tidegate.gate.rules import decide
from tidegate.gate.rules.bound import tidy
from tidegate.records.policy import CheckPolicy, Rule
from tidegate.records.report import Report
from tidegate.records.verdict import Verdict

TRIALS = 200
WHOLE_TRIALS = 50
"""In how many of them the rules as they stand, slices and all, are judged too."""
MAX_ROWS = 2000
"""A/A trials are done on so many rows (of whole clusters) at most, drawn once: more would only take longer."""
STEPS = TRIALS + 6
"""So often ``advance`` is told at most."""

Predictions = NDArray[Any]
Spoil = Callable[[list[Predictions], np.random.Generator], list[Predictions] | None]
"""The columns of one model's predictions, spoilt; None where this cannot be done to them."""


class Alarms(msgspec.Struct, frozen=True, kw_only=True):
    """How often a metric told two exchangeable models apart. All but the counts are shares of the trials."""

    metric: str
    trials: int
    passes: float
    """``superior`` by a margin of 0 passed: wrong each time."""
    fails: float
    """It failed: a false alarm each time."""
    allowed: float
    """Alpha, one-sided, and three standard errors of this many trials."""
    enough: bool
    """Whether the rows were enough for an interval; where not, nothing can be told, and nothing passes."""
    ok: bool


class Spoilt(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate said about one known-bad candidate."""

    name: str
    about: str
    verdict: Verdict
    by: list[str]
    """The rules (or problems) that stopped it."""
    unseen: bool
    """No rule asks about what was spoilt: every metric is exactly what it was."""
    ok: bool


class SelfTest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the self-test found. The same input gives the same result."""

    ok: bool
    sentence: str
    rows: int
    rows_used: int
    """By the A/A trials."""
    alpha: float
    seed: int
    false_fail: float | None
    """Share of the first 50 A/A trials in which a rule as it stands, slices and all, said FAIL; None without a champion."""
    alarms: list[Alarms]
    spoilt: list[Spoilt]


@np.errstate(all="ignore")  # as in a report
def selftest(
    source: Any, policy: CheckPolicy, *, trials: int = TRIALS, advance: Callable[[float], None] = lambda _: None
) -> SelfTest:
    """Tries the rules of ``policy`` on the labelled predictions of ``source`` (see ``tidegate.frames``).

    Rules that ask about models and snapshots are left out. ``advance`` is told of every trial and of every spoilt candidate.

    Raises:
        BadInputError: the rows cannot be judged by; the first problem is told.
    """
    with frames.connect() as con:
        columns = frames.to_columns(frames.relation(con, source))
    reading = read_evidence(columns, policy)
    evidence = reading.evidence
    if evidence is None:
        problem = reading.problems[0]
        raise BadInputError(problem.code, problem.what, fix=problem.fix)
    alpha = (1 - policy.confidence) / 2
    used = _sample(evidence, policy.seed)
    alarms, false_fail = ([], None) if used.champion is None else _exchange(used, policy, trials, advance)
    spoilt = _spoil(columns, policy, evidence, advance)
    bad = [each for each in spoilt if not each.ok]
    loud = [each for each in alarms if not each.ok]
    return SelfTest(
        ok=not bad and not loud,
        sentence=_sentence(alarms, loud, spoilt, bad),
        rows=evidence.rows,
        rows_used=used.rows,
        alpha=alpha,
        seed=policy.seed,
        false_fail=false_fail,
        alarms=alarms,
        spoilt=spoilt,
    )


def _units(evidence: Evidence) -> NDArray[np.int64]:
    """[n] codes of what is exchanged as a whole: clusters, else lists, else rows."""
    for codes in (evidence.clusters, evidence.queries):
        if codes is not None:
            return np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return np.arange(evidence.rows)


def _sample(evidence: Evidence, seed: int) -> Evidence:
    """Whole units until there are rows enough; slices stay with their rows."""
    if evidence.rows <= MAX_ROWS:
        return evidence
    units = _units(evidence)
    count = int(units.max()) + 1
    place = np.random.default_rng([seed, 1]).permutation(count)
    sizes = np.bincount(units, minlength=count)
    taken = np.cumsum(sizes[np.argsort(place)])
    last = int(np.searchsorted(taken, MAX_ROWS))
    rows = np.flatnonzero(place[units] <= last)
    slices = {name: replace(slicing, codes=slicing.codes[rows]) for name, slicing in evidence.slices.items()}
    return replace(evidence.take(rows), slices=slices)


def _exchange(
    evidence: Evidence, policy: CheckPolicy, trials: int, advance: Callable[[float], None]
) -> tuple[list[Alarms], float]:
    own = [rule for rule in policy.rules if rule.test in PAIRED]
    asked = {rule.metric: rule for rule in policy.rules if rule.test in MEASURED}
    tried = [Rule(test="superior", metric=name, costs=rule.costs) for name, rule in asked.items()]
    counts = {rule.metric: [0, 0] for rule in tried}
    units = _units(evidence)
    failed = 0
    for trial in range(trials):
        rng = np.random.default_rng([policy.seed, 2, trial])
        case = Case(evidence=_swapped(evidence, (rng.random(int(units.max()) + 1) < 0.5)[units]))
        for rule in tried:
            verdict = decide(rule, case, confidence=policy.confidence, seed=trial).verdict
            counts[rule.metric][0] += verdict is Verdict.PASS
            counts[rule.metric][1] += verdict is Verdict.FAIL
        if trial < WHOLE_TRIALS:
            failed += any(decide(rule, case, confidence=policy.confidence, seed=trial).verdict is Verdict.FAIL for rule in own)
        advance(1)
    alpha = (1 - policy.confidence) / 2
    allowed = alpha + 3 * sqrt(alpha * (1 - alpha) / trials)
    alarms: list[Alarms] = []
    for name, (passes, fails) in counts.items():
        metric = parse_metric(name, policy.task, asked[name].costs)
        alarms.append(
            Alarms(
                metric=metric.name,
                trials=trials,
                passes=passes / trials,
                fails=fails / trials,
                allowed=tidy(allowed) or 0.0,
                enough=not shortage(metric, evidence)[0],
                ok=max(passes, fails) / trials <= allowed,
            )
        )
    return alarms, failed / min(trials, WHOLE_TRIALS)


def _swapped(evidence: Evidence, swap: NDArray[np.bool_]) -> Evidence:
    assert evidence.champion is not None
    mask = swap if evidence.candidate.ndim == 1 else swap[:, None]
    ours, theirs = evidence.candidate, evidence.champion
    return replace(evidence, candidate=np.where(mask, theirs, ours), champion=np.where(mask, ours, theirs))


def _spoil(columns: Columns, policy: CheckPolicy, evidence: Evidence, advance: Callable[[float], None]) -> list[Spoilt]:
    """Each known-bad candidate, judged by the rules as they stand, on the public path."""
    ours, theirs = ([columns[name] for name in _names(columns, role)] for role in (policy.candidate, policy.champion))
    healthy = theirs if len(theirs) == len(ours) else ours
    if evidence.champion is not None and np.all(np.ptp(evidence.champion, axis=0) == 0):
        healthy = ours  # a constant cannot be spoilt
    rules = [rule for rule in policy.rules if rule.test in MEASURED]
    asked = msgspec.structs.replace(policy, rules=rules or policy.rules, explore=[])
    given = dict(columns)
    if len(theirs) == len(ours):
        given |= dict(zip(_names(columns, policy.champion), healthy, strict=True))

    def judged(predictions: list[Predictions]) -> Report:
        return check(given | dict(zip(_names(columns, policy.candidate), predictions, strict=True)), asked)

    before = judged(healthy)
    found: list[Spoilt] = []
    for place, (name, about, spoil) in enumerate(_ways(policy, evidence)):
        spoilt = spoil(healthy, np.random.default_rng([policy.seed, 3, place]))
        advance(1)
        if spoilt is None:
            continue
        report = judged(spoilt)
        passed = report.verdict is Verdict.PASS
        unseen = passed and _unmoved(before, report)
        found.append(
            Spoilt(name=name, about=about, verdict=report.verdict, by=_stopped(report), unseen=unseen, ok=not passed or unseen)
        )
    return found


def _names(columns: Columns, role: str) -> list[str]:
    """The columns that a policy means by a name or a pattern, in one order for both models."""
    if not role or role in columns:
        return [role] if role else []
    head, star, tail = role.partition("*")
    return sorted(name for name in columns if star and name.startswith(head) and name.endswith(tail) and len(name) >= len(role))


def _ways(policy: CheckPolicy, evidence: Evidence) -> list[tuple[str, str, Spoil]]:
    ways: list[tuple[str, str, Spoil]] = [
        ("noise", "half of the rows get the prediction of another row", _noisy),
        ("shuffled", "every row gets the prediction of another row", _shuffled),
        ("constant", "every row gets the same prediction", _constant),
        ("shifted", _SHIFTED[policy.task], _shifted(policy.task)),
        ("missing", "one prediction is missing", _with_hole),
    ]
    column = next((name for rule in policy.rules for name in rule.slices), "")
    if column:
        slicing = evidence.slices[column]
        largest = int(np.bincount(slicing.codes).argmax())
        where = f"{column} = {slicing.values[largest]}"
        ways.append(("slice", f"predictions are shuffled where {where}", _within(slicing.codes == largest)))
    return [way for way in ways if policy.task not in _FITTING or way[0] in _FITTING[policy.task]]


_FITTING = {"scores": {"shifted", "missing"}, "ranking": {"noise", "shuffled", "missing"}}
"""Shuffled scores have the mean that they had, and lists are ranked alike where all scores move together."""
_SHIFTED = {
    "binary": "the odds of every prediction are multiplied by 7 (decisions: turned over)",
    "multilabel": "the odds of every prediction are multiplied by 7 (decisions: turned over)",
    "multiclass": "every row gets the prediction of the next class",
    "regression": "every prediction is moved by the spread of all",
    "scores": "every score is lowered by the spread of all",
    "ranking": "",
}


def _take(values: list[Predictions], rows: NDArray[np.int64]) -> list[Predictions]:
    return [each[rows] for each in values]


def _shuffled(values: list[Predictions], rng: np.random.Generator) -> list[Predictions]:
    return _take(values, rng.permutation(len(values[0])))


def _noisy(values: list[Predictions], rng: np.random.Generator) -> list[Predictions]:
    count = len(values[0])
    return _take(values, np.where(rng.random(count) < 0.5, rng.permutation(count), np.arange(count)))


def _within(there: NDArray[np.bool_]) -> Spoil:
    def shuffle(values: list[Predictions], rng: np.random.Generator) -> list[Predictions] | None:
        rows = np.arange(len(values[0]))
        if rows.size != there.size:
            return None
        rows[there] = rng.permutation(rows[there])
        return _take(values, rows)

    return shuffle


def _constant(values: list[Predictions], rng: np.random.Generator) -> list[Predictions] | None:
    del rng
    found: list[Predictions] = []
    for each in values:
        if each.dtype.kind in "fiub":
            mean = float(np.mean(each))
            found.append(np.full(len(each), mean if each.dtype.kind == "f" else round(mean), dtype=np.float64))
        elif isinstance(each[0], str):
            names, counts = np.unique(each.astype(str), return_counts=True)
            found.append(np.full(len(each), names[counts.argmax()], dtype=object))
        else:
            return None
    return found


def _shifted(task: str) -> Spoil:
    def shift(values: list[Predictions], rng: np.random.Generator) -> list[Predictions] | None:
        del rng
        if task == "multiclass" and len(values) > 1:
            return [*values[1:], values[0]]
        if task == "multiclass" and (isinstance(values[0][0], str) or values[0].dtype.kind in "iuf"):
            names, codes = np.unique(values[0].astype(str), return_inverse=True)
            return [names[(codes + 1) % len(names)].astype(object)]
        if any(each.dtype.kind not in "fiub" for each in values):
            return None
        return [_moved(each.astype(np.float64), task) for each in values]

    return shift


def _moved(numbers: Predictions, task: str) -> Predictions:
    if task not in {"binary", "multilabel"}:
        return numbers - np.std(numbers) - 1e-9
    if set(np.unique(numbers)) <= {0.0, 1.0}:
        return 1 - numbers
    return 7 * numbers / (1 + 6 * numbers)


def _with_hole(values: list[Predictions], rng: np.random.Generator) -> list[Predictions]:
    place = int(rng.integers(len(values[0])))
    first = values[0].astype(np.float64) if values[0].dtype.kind in "fiub" else values[0].astype(object)
    first[place] = np.nan if first.dtype.kind == "f" else None
    return [first, *values[1:]]


def _unmoved(before: Report, after: Report) -> bool:
    """Whether every metric stands where it stood."""
    pairs = zip(
        (rule.candidate.estimate for rule in before.rules), (rule.candidate.estimate for rule in after.rules), strict=True
    )
    return all(old is not None and new is not None and abs(new - old) < 1e-9 for old, new in pairs)


def _stopped(report: Report) -> list[str]:
    if report.problems:
        return [problem.code for problem in report.problems]
    return [f"{rule.metric} {rule.test}" for rule in report.rules if rule.verdict is not Verdict.PASS]


def _sentence(alarms: list[Alarms], loud: list[Alarms], spoilt: list[Spoilt], bad: list[Spoilt]) -> str:
    if bad:
        named = ", ".join(each.name for each in bad)
        return f"Do not trust this policy: a known-bad candidate passes it ({named}). Add a rule that sees it, or make a margin smaller."
    if loud:
        worst = max(loud, key=lambda each: max(each.passes, each.fails))
        return (
            f"Do not trust {worst.metric} on these rows: of two exchangeable models it called one better in {worst.passes:.1%} and worse in "
            f"{worst.fails:.1%} of the trials. If rows belong together, name the column in cluster."
        )
    unseen = [each.name for each in spoilt if each.unseen]
    blind = f" No rule asks about what was spoilt in: {', '.join(unseen)}." if unseen else ""
    blocked = len(spoilt) - len(unseen)
    quiet = ""
    if alarms:
        quiet = f"false alarms are as rare as promised ({max(max(each.passes, each.fails) for each in alarms):.1%} at most), and "
    return f"The gate works on these rows: {quiet}all {blocked} known-bad candidates are blocked.{blind}"
