"""What an evaluation will take: rows, labels and power for each rule, before anybody labels anything.

Rules compare two models on the same rows. What a rule can tell then depends on how often, or how much, the two differ: for accuracy
that is seen without a single label, as a row on which both say the same adds exactly 0 to the difference. So only
disagreements need labels. For other metrics the spread comes from the rows that have a label so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, isfinite, sqrt
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate import frames
from tidegate.errors import BadInputError, UsageError
from tidegate.frames import Columns
from tidegate.gate.evidence import Evidence, columns_named, read_evidence
from tidegate.gate.metrics import Metric, parse_metric, shortage
from tidegate.gate.metrics.metric import MIN_ROWS
from tidegate.gate.metrics.support import support_of
from tidegate.gate.policy import MEASURED
from tidegate.gate.right import decided
from tidegate.gate.rules.bound import Ask, allowed, ask, ask_slice, tidy
from tidegate.gate.rules.parts import generator
from tidegate.gate.wording import noun_of
from tidegate.records.policy import CheckPolicy, Rule
from tidegate.stats.estimate import critical
from tidegate.stats.power import POWER, detectable, paired_detectable, paired_null, power_at, power_each, rows_for

_MOST = 10**12


class PlannedRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule on all rows or on one slice. Numbers are None where nothing is known to work them out from."""

    metric: str
    test: str
    where: str
    """Empty: all rows. Else such as ``origin = EWR``."""
    rows: int
    """How many there are of it now, labelled or not; counted in the plan's ``noun``, like all figures here."""
    basis: str
    """Where the spread comes from: ``disagreements``, ``labelled rows`` (or queries), ``scores``, or ``unknown``."""
    spread: float | None
    """Standard error of the gain times the root of ``rows``."""
    distance: float | None
    """How far the truth is taken to lie on the good side of the bound."""
    power: float | None
    """Chance that the present rows prove it, once they are all labelled."""
    detectable: float | None
    """The least distance from the bound that the present rows would prove with the power that each rule needs."""
    rows_needed: int | None
    """Of the whole set."""
    labels_needed: int | None
    """Of the whole set. Where only disagreements count it is far less than the rows; scores need none."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of an evaluation. ``alpha`` is one-sided; each of ``parts`` rules and slices needs ``power_each``."""

    noun: str
    """What is counted: ``rows``, ``queries`` of a ranking, ``items`` of scores."""
    rows: int
    labelled: int
    alpha: float
    power: float
    parts: int
    power_each: float
    rules: list[PlannedRule]
    rows_needed: int | None
    """The most that any rule needs; None where one of them is not known."""
    labels_needed: int | None
    disagreements: int | None
    """Rows on which the two models decide differently; None where the task knows no decisions."""
    only_disagreements: bool
    """Whether every rule is about accuracy, so that no other row needs a label."""
    sentence: str


class ToLabel(NamedTuple):
    """Rows that need a label and have none: what names them, and their numbers from 0."""

    keys: list[str]
    numbers: NDArray[np.int64]


class _Part(NamedTuple):
    rule: Rule
    metric: Metric
    column: str
    value: str

    @property
    def question(self) -> Ask:
        return ask_slice(self.rule) if self.column else ask(self.rule)


class _Sight(NamedTuple):
    """What labelled rows show: the spread, the gain (of a floor: the candidate's value), up is good, and the margin as an amount."""

    spread: float
    gain: float
    margin: float


@np.errstate(all="ignore")  # as in a report
def plan_evaluation(source: Any, policy: CheckPolicy, *, power: float = POWER) -> tuple[Plan, ToLabel]:
    """Plans the rules of ``policy`` on a frame or file of predictions, whose label column may be empty or missing.

    ``not_worse`` is planned for models that are equal; ``superior`` and ``floor`` for the gain that the labelled rows show so far.
    Together the parts pass with ``power``.

    Raises:
        UsageError: the policy has no rule that rows decide.
        BadInputError: the predictions cannot be used; the first problem is told.
    """
    columns = _columns(source, policy)
    known = _labelled(columns, policy)
    everything = _unlabelled(columns, policy)
    seen = _seen(columns, known, policy)
    parts = list(_parts(policy, everything))
    if not parts:
        raise UsageError(
            "nothing-to-plan", "no rule of this policy is decided by rows", fix="add a rule that is superior, not_worse or floor"
        )
    each = power_each(len(parts), power)
    alpha = (1 - policy.confidence) / 2
    rules = [_planned(part, policy, everything, seen, each) for part in parts]
    differing = _differing(everything, _threshold(parts))
    only = differing is not None and all(part.rule.test != "floor" and part.metric.is_accuracy for part in parts)
    needed = [rule.rows_needed for rule in rules]
    labels = [rule.labels_needed for rule in rules]
    wanted = ~known if differing is None or not only else differing & ~known
    chosen = Plan(
        noun=noun_of(policy.task),
        rows=_count(everything),
        labelled=_labelled_count(everything, known),
        alpha=alpha,
        power=power,
        parts=len(parts),
        power_each=each,
        rules=rules,
        rows_needed=None if None in needed else max(count for count in needed if count is not None),
        labels_needed=None if None in labels else max(count for count in labels if count is not None),
        disagreements=None if differing is None else int(differing.sum()),
        only_disagreements=only,
        sentence="",
    )
    return msgspec.structs.replace(chosen, sentence=_sentence(chosen)), _to_label(wanted, columns, policy)


def _columns(source: Any, policy: CheckPolicy) -> Columns:
    with frames.connect() as con:
        relation = frames.relation(con, source)
        missing = [name for name in (policy.candidate, policy.champion) if name and not columns_named(name, relation.columns)]
        if missing:
            raise BadInputError("column-missing", f"the column {missing[0]!r} is missing", fix="mend the name in the policy")
        return frames.to_columns(relation)


def _rows(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _labelled(columns: Columns, policy: CheckPolicy) -> NDArray[np.bool_]:
    """[n] which rows have a label. Scores need none: they are the answer themselves."""
    if policy.task == "scores":
        return np.ones(_rows(columns), dtype=np.bool_)
    known = [_filled(columns[name]) for name in columns_named(policy.label, columns)]
    return np.logical_and.reduce(known) if known else np.zeros(_rows(columns), dtype=np.bool_)


def _filled(values: NDArray[Any]) -> NDArray[np.bool_]:
    nested = (np.ndarray, list, dict)
    return np.array(
        [value is not None and (isinstance(value, nested) or (value == value and value != "")) for value in values.tolist()],  # noqa: PLR0124
        dtype=np.bool_,
    )


def _unlabelled(columns: Columns, policy: CheckPolicy) -> Evidence:
    """All rows, with labels that nobody looks at: their predictions, slices and weights are checked as the gate would."""
    reading = read_evidence(columns | _invented(columns, policy), policy)
    if reading.evidence is None:
        problem = next((each for each in reading.problems if each.code != "one-class"), reading.problems[0])
        raise BadInputError(problem.code, problem.what, fix=problem.fix)
    return reading.evidence


def _invented(columns: Columns, policy: CheckPolicy) -> Columns:
    """A label for every row: where some are known one of those, else whatever the task takes for a label."""
    if policy.task == "scores":
        return {}
    if policy.task == "binary":
        return {policy.label: np.arange(_rows(columns)) % 2}
    known = np.flatnonzero(_labelled(columns, policy))
    if len(known):
        return {name: _filled_up(columns[name], int(known[0])) for name in columns_named(policy.label, columns)}
    if policy.task == "ranking":
        return {policy.label: np.arange(_rows(columns)) % 2}
    before, star, after = policy.candidate.partition("*")
    if star and policy.task == "multiclass":
        found = columns_named(policy.candidate, columns)
        classes = [name[len(before) : len(name) - len(after)] for name in found]
        return {policy.label: np.array([classes[row % len(classes)] for row in range(_rows(columns))], dtype=object)}
    return {policy.label: columns[policy.candidate]}


def _filled_up(values: NDArray[Any], known: int) -> NDArray[Any]:
    """The values, and that of the row ``known`` in every gap."""
    return values[np.where(_filled(values), np.arange(len(values)), known)]


def _seen(columns: Columns, known: NDArray[np.bool_], policy: CheckPolicy) -> Evidence | None:
    """The labelled rows as evidence; None where they are too few, or cannot be judged by."""
    if int(known.sum()) < MIN_ROWS:
        return None
    return read_evidence({name: values[known] for name, values in columns.items()}, policy).evidence


def _parts(policy: CheckPolicy, evidence: Evidence) -> Iterator[_Part]:
    """Everything that must pass: each rule on all rows, and on every slice that must itself be proven."""
    for rule in policy.rules:
        if rule.test not in MEASURED:
            continue
        metric = parse_metric(rule.metric, policy.task, rule.costs)
        yield _Part(rule, metric, "", "")
        if rule.slice_mode == "all_not_worse":
            for column in rule.slices:
                yield from (_Part(rule, metric, column, value) for value in evidence.slices[column].values)


def _planned(part: _Part, policy: CheckPolicy, everything: Evidence, seen: Evidence | None, each: float) -> PlannedRule:
    alpha = (1 - policy.confidence) / 2
    here = _rows_of(part, everything)
    count = _count(here)
    share = count / _count(everything) if everything.rows else 0.0
    labelled = None if seen is None else _rows_of(part, seen)
    sight = _sight(part, policy, labelled)
    spread = sight.spread if sight else None
    known = "scores" if policy.task == "scores" else f"labelled {noun_of(policy.task)}"
    basis = "unknown" if spread is None else known
    disagreeing = _differing(here, part.metric.threshold) if part.metric.is_accuracy and part.rule.test != "floor" else None
    rate = None
    if disagreeing is not None and disagreeing.any() and here.clusters is None and here.weights is None:
        rate = float(disagreeing.mean())
        spread, basis = sqrt(rate), "disagreements"
    distance = _distance(part, sight)
    distance = None if distance == 0 and sight is None else distance
    null = None
    if rate is not None and distance is not None:
        truth = sight.gain if sight is not None and part.question.test == "superior" else 0.0
        null = paired_null(rate, min(max(truth, -rate), rate), truth - distance)
    needed = labels = power = least = None
    if spread is not None and distance is not None and distance > 0 and share > 0:
        wanted = rows_for(spread, distance, alpha=alpha, power=each, null=null) / share
        needed = ceil(wanted) if wanted < _MOST else None
        if needed is not None and policy.task != "scores":
            labels = needed if rate is None else ceil(needed * rate)
    if spread and distance is not None and count:
        power = power_at(spread, distance, count, alpha=alpha, null=null)
    if spread and count:
        least = detectable(spread, count, alpha=alpha, power=each)
        if rate is not None and part.question.test == "not_worse":
            least = paired_detectable(rate, count, alpha=alpha, power=each)
    return PlannedRule(
        metric=part.metric.name,
        test=part.rule.test,
        where=f"{part.column} = {part.value}" if part.column else "",
        rows=count,
        basis=basis,
        spread=_tidy(spread),
        distance=_tidy(distance),
        power=_tidy(power),
        detectable=_tidy(least),
        rows_needed=needed,
        labels_needed=labels,
    )


def _count(evidence: Evidence) -> int:
    """Rows, queries or items."""
    return support_of(evidence).rows


def _labelled_count(everything: Evidence, known: NDArray[np.bool_]) -> int:
    """How many have their labels: of a query all its rows. Scores need none."""
    if everything.task == "scores":
        return everything.rows
    if everything.queries is None:
        return int(known.sum())
    return _count(everything) - len(np.unique(everything.queries[~known]))


def _rows_of(part: _Part, evidence: Evidence) -> Evidence:
    if not part.column:
        return evidence
    slicing = evidence.slices[part.column]
    code = slicing.values.index(part.value) if part.value in slicing.values else -1
    return evidence.take(np.flatnonzero(slicing.codes == code))


def _sight(part: _Part, policy: CheckPolicy, labelled: Evidence | None) -> _Sight | None:
    if labelled is None or shortage(part.metric, labelled)[0]:
        return None
    measured = part.metric.measure(labelled, policy.confidence, generator(policy.seed, part.rule.metric))
    estimate = measured.candidate if part.rule.test == "floor" else measured.difference
    if estimate is None or not isfinite(estimate.high - estimate.low):
        return None
    error = (estimate.high - estimate.low) / 2 / critical(policy.confidence, estimate.df)
    return _Sight(error * sqrt(_count(labelled)), part.metric.sign * estimate.value, allowed(part.question, measured))


def _distance(part: _Part, sight: _Sight | None) -> float | None:
    """How far the truth is taken to lie beyond the bound; None where nobody can say yet."""
    question = part.question
    if question.test == "not_worse" and (sight is not None or question.share is None):
        margin = question.margin if sight is None else sight.margin
        return margin if margin > 0 or sight is None else sight.gain
    if sight is None:
        return None
    if question.test == "floor":
        return sight.gain - part.metric.sign * (question.value or 0.0)
    return sight.gain - sight.margin


def _threshold(parts: list[_Part]) -> float | None:
    return next((part.metric.threshold for part in parts if part.metric.is_accuracy), 0.5)


def _differing(evidence: Evidence, threshold: float | None) -> NDArray[np.bool_] | None:
    """[n] on which rows the models decide differently; None where they decide nothing."""
    if evidence.champion is None or evidence.task not in {"binary", "multiclass"}:
        return None
    if evidence.task == "binary":
        cut = 0.5 if threshold is None else threshold
        return np.asarray((evidence.candidate >= cut) != (evidence.champion >= cut))
    return np.asarray(decided(evidence.candidate) != decided(evidence.champion))


def _to_label(wanted: NDArray[np.bool_], columns: Columns, policy: CheckPolicy) -> ToLabel:
    numbers = np.flatnonzero(wanted)
    names = columns[policy.key][numbers].tolist() if policy.key in columns else numbers.tolist()
    return ToLabel([str(name) for name in names], numbers)


def _tidy(value: float | None) -> float | None:
    return None if value is None else tidy(value)


def _sentence(plan: Plan) -> str:
    scores = plan.noun == "items"
    beyond = [rule for rule in plan.rules if rule.rows_needed is None]
    if beyond:
        first = beyond[0]
        what = f"{first.metric} ({first.test}{', ' + first.where if first.where else ''})"
        if first.distance is not None and first.distance <= 0:
            return (
                f"No number of {plan.noun} would prove {what}: by what is labelled so far the candidate does not reach the bound."
            )
        if first.detectable is not None:
            return (
                f"The {plan.rows:,} {plan.noun} can prove {what} if the truth is {first.detectable:.3g} or more beyond the bound."
            )
        return (
            f"Nothing is known yet about {what}: {'score' if scores else 'label'} {MIN_ROWS} {plan.noun} or more, and plan again."
        )
    assert plan.rows_needed is not None
    chance = f"{plan.power:.0%} power"
    if scores:
        said = "are enough" if plan.rows_needed <= plan.rows else "are too few"
        return f"The {plan.rows:,} items {said} for {chance}: it takes about {plan.rows_needed:,}."
    assert plan.labels_needed is not None
    if plan.only_disagreements:
        bill = f"label only the rows on which the models disagree, about {plan.labels_needed:,}"
    else:
        bill = f"about {plan.labels_needed:,} {'labels' if plan.noun == 'rows' else f'{plan.noun} to label'}"
    if plan.rows_needed <= plan.rows:
        return f"The {plan.rows:,} {plan.noun} are enough for {chance} ({plan.rows_needed:,} would do): {bill}."
    return f"{plan.rows_needed:,} {plan.noun} are needed for {chance}, there are {plan.rows:,}: {bill}."
