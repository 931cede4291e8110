"""``latency``: how long the candidate takes for one row, measured now, beside the champion, in this process.

Both models answer the same rows in turn (A B B A, then B A A B), so that what the machine does meanwhile meets both. Times of one
machine say little about another; the ratio of two models on one machine says more. Measured times differ from run to run:
this is the one rule whose result is not the same twice, and the receipt binds what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np

from tidegate import frames
from tidegate.frames import Columns
from tidegate.gate.case import Case, Predicts, Subject
from tidegate.gate.foreign import foreign
from tidegate.gate.rules.bound import at_most, interval
from tidegate.gate.rules.outcome import outcome, subject_of
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult
from tidegate.records.verdict import Verdict
from tidegate.stats.estimate import Estimate, Floats
from tidegate.stats.quantiles import quantile

ROWS = 1000
"""Evaluation rows that are asked about, spread over all of them."""
BUDGET = 4e9
"""Nanoseconds that the measurement should take; slow models get fewer calls, at least nine rounds."""
ROUNDS = 41
FEWEST = 9
WARM_UP = 20
_MOST_CALLS = 25
_OVERDRAWN = 4
"""Budgets after which a model that grew slower since its warm-up gets no more rounds than the fewest, of two calls each."""
_MS = 1e6

Timed = Callable[[Mapping[str, object]], float]


class Times(NamedTuple):
    """Nanoseconds of one model: [rounds] medians of single-row calls, all single-row calls, [rounds] per row in a batch."""

    medians: Floats
    calls: Floats
    batches: Floats


def judge_latency(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    """The median time of a call with one row is at most ``value`` ms, or ``value`` times the champion's."""
    del seed
    subject = subject_of(case)
    assert rule.value is not None
    ours, theirs = measured(subject)
    time = _in_ms(ours.medians, confidence)
    before = _in_ms(theirs.medians, confidence) if theirs else None
    ratio = quantile(ours.medians / theirs.medians, 0.5, confidence=confidence) if theirs else None
    details = _figures("candidate", ours, confidence) | (_figures("champion", theirs, confidence) if theirs else {})
    if ratio:
        details |= {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
    figures: dict[str, Any] = {
        "method": f"median of {ours.medians.size} rounds of single-row calls, models in turn; order-statistic interval",
        "candidate": interval(time),
        "champion": interval(before) if before else None,
        "details": details,
    }
    if rule.relative and (ratio is None or before is None):
        return outcome(rule, Verdict.PASS, "There is no champion yet, so there is no time to keep to.", **figures)
    if rule.relative and ratio and before:
        said = f"A call takes {_ms(time.value)} against {_ms(before.value)}, {_spread(ratio, confidence)} times; allowed are {rule.value:g}"
        return outcome(rule, at_most(ratio, rule.value), said + _ending(ratio, rule.value), **figures)
    said = f"A call takes {_spread(time, confidence)} ms; allowed are {rule.value:g}"
    return outcome(rule, at_most(time, rule.value), said + _ending(time, rule.value), **figures)


def measured(subject: Subject) -> tuple[Times, Times | None]:
    """Times of both models on the same rows.

    Raises:
        BadInputError: a model fails.
    """
    versions = [version for version in (subject.candidate, subject.champion) if version]
    names = list(dict.fromkeys(name for version in versions for name in version.manifest.signature.input_names))
    table = _rows(subject, names)
    timed: list[Timed] = []
    for version in versions:
        with foreign("prediction-failed", f"{version.ref} cannot be loaded"):
            loaded = subject.models.load(version, allow_code=subject.policy.serving.allow_code)
        timed.append(_timer(loaded, version.manifest.signature.input_names, version.ref))
    found = take_turns(timed, table)
    return found[0], found[1] if len(found) > 1 else None


def take_turns(models: list[Timed], table: Columns) -> list[Times]:
    """Warms the models up, then asks them in turn: round by round single rows, and one batch of all rows."""
    rows = len(next(iter(table.values())))
    singles: list[Columns] = [{name: values[row : row + 1] for name, values in table.items()} for row in range(rows)]
    single = sum(float(np.median([model(singles[turn % rows]) for turn in range(WARM_UP)])) for model in models)
    batch = sum(model(table) for model in models)
    rounds = int(np.clip(BUDGET / (2 * single + batch), FEWEST, ROUNDS))
    calls = int(np.clip(BUDGET / rounds / (2 * single), 1, _MOST_CALLS))
    large = table if batch * rounds < BUDGET else singles[0]
    told: list[tuple[list[float], list[float], list[float]]] = [([], [], []) for _ in models]
    place, spent = 0, 0.0
    for turn in range(rounds):
        if turn >= FEWEST and spent > _OVERDRAWN * BUDGET:
            break
        order = list(range(len(models)))
        order = order if turn % 2 == 0 else order[::-1]
        seen: list[list[float]] = [[] for _ in models]
        for call in range(2 * calls):
            row = singles[place % rows]
            for model in order if call % 2 == 0 else order[::-1]:
                seen[model].append(models[model](row))
            place += 1
            if call % 2 and spent + sum(map(sum, seen)) > _OVERDRAWN * BUDGET:
                large = singles[0]
                break
        for model in order:
            batch = models[model](large)
            spent += sum(seen[model]) + batch
            told[model][0].append(float(np.median(seen[model])))
            told[model][1].extend(seen[model])
            told[model][2].append(batch / len(next(iter(large.values()))))
    return [Times(*(np.array(each, dtype=np.float64) for each in parts)) for parts in told]


def _timer(model: Predicts, names: list[str], ref: str) -> Timed:
    def timed(columns: Mapping[str, object]) -> float:
        asked = {name: columns[name] for name in names}
        with foreign("prediction-failed", f"{ref} cannot predict the evaluation rows"):
            start = perf_counter_ns()
            model.predict(asked)
            return float(perf_counter_ns() - start)

    return timed


def _rows(subject: Subject, names: list[str]) -> Columns:
    """Inputs of up to a thousand rows, evenly spread over the snapshot."""
    with frames.connect() as con, foreign("snapshot-unreadable", f"{subject.snapshot.ref} cannot be read"):
        subject.datasets.read(con, subject.snapshot).create_view("evaluation")
        total = con.execute("SELECT count(*) FROM evaluation").fetchall()[0]
        columns = ", ".join(map(frames.quote, names))
        numbered = f"SELECT {columns}, row_number() OVER () AS tidegate_row FROM evaluation"
        spread = f"tidegate_row % {max(int(total[0]) // ROWS, 1)} = 0"
        return frames.to_columns(con.sql(f"SELECT {columns} FROM ({numbered}) WHERE {spread} LIMIT {ROWS}"))


def _in_ms(medians: Floats, confidence: float) -> Estimate:
    return quantile(medians / _MS, 0.5, confidence=confidence)


def _figures(role: str, times: Times, confidence: float) -> dict[str, float]:
    tail = quantile(times.calls / _MS, 0.99, confidence=confidence)
    return {
        f"{role}_p99_ms": tail.value,
        f"{role}_p99_ms_low": tail.low,
        f"{role}_p99_ms_high": tail.high,
        f"{role}_batch_ms_per_row": float(np.median(times.batches)) / _MS,
        f"{role}_calls": float(times.calls.size),
    }


def _ms(value: float) -> str:
    return f"{value:.3g} ms"


def _spread(found: Estimate, confidence: float) -> str:
    return f"{found.value:.3g} ({100 * confidence:g}% interval {found.low:.3g} to {found.high:.3g})"


def _ending(found: Estimate, value: float) -> str:
    verdict = at_most(found, value)
    if verdict is Verdict.INCONCLUSIVE:
        return "; this machine is too restless to tell: measure again on a quiet one."
    return "." if verdict is Verdict.PASS else ", so it is too slow."
