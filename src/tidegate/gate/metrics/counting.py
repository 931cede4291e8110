"""Metrics that count, by name: functions of a confusion table, of the whole table or of one class, at a threshold.

Names: ``recall`` (binary, at 0.5), ``recall@0.3``, ``f2@0.3`` (F-beta: ``f`` and beta), ``recall[late]`` (one class of a multiclass
task), ``recall[late]@0.3`` (one label of a multilabel task), ``macro_f1`` (over all classes).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tidegate.errors import UsageError
from tidegate.gate.evidence import Evidence
from tidegate.gate.metrics import counts
from tidegate.gate.metrics.counts import Coded, Counting, Need, Share
from tidegate.gate.metrics.entry import Entry, Named, takes_none
from tidegate.gate.metrics.macro import macro_labels
from tidegate.gate.metrics.metric import Better, Metric, Scarce, measured_at_once
from tidegate.records.names import nearest
from tidegate.stats import confusion
from tidegate.stats.confusion import Function, Score, on_margins

THRESHOLD = 0.5
Costs = tuple[tuple[float, ...], ...]

_ALL = ("binary", "multiclass", "multilabel")
_BETA = re.compile(r"(?P<mean>macro_|weighted_|micro_|)f(?P<beta>\d+(?:\.\d+)?)")
_MOST_BETA = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a stem means."""

    name: str
    about: str
    of: Function
    """Of [..., 3, K] margins; where it is about one class, of those of a binary table."""
    one: tuple[str, ...] = ()
    """Tasks in which it is about one class, which the name must then say (binary: class 1, which it must not)."""
    whole: tuple[str, ...] = ()
    """Tasks in which it is about all classes together."""
    share: Share | None = None
    needs: tuple[Need, ...] = ()
    low: float = 0.0


_KINDS = (
    Kind(
        name="balanced_accuracy",
        about="mean recall of the classes",
        of=confusion.balanced_accuracy,
        one=("binary", "multilabel"),
        whole=("multiclass",),
        needs=("each",),
    ),
    Kind(
        name="precision",
        about="share of predicted positives that are positive",
        of=confusion.precision,
        one=_ALL,
        needs=("positive", "predicted"),
    ),
    Kind(
        name="recall",
        about="share of positives that are found",
        of=confusion.recall,
        one=_ALL,
        share=Share((1,), 1),
        needs=("positive",),
    ),
    Kind(
        name="specificity",
        about="share of negatives that are not taken for positives",
        of=confusion.specificity,
        one=_ALL,
        share=Share((0,), 0),
        needs=("negative",),
    ),
    Kind(
        name="positive_rate",
        about="share of rows that are predicted positive",
        of=confusion.positive_rate,
        one=_ALL,
        share=Share((0, 1), 1),
    ),
    Kind(
        name="mcc",
        about="Matthews' correlation of label and decision",
        of=confusion.mcc,
        one=("binary", "multilabel"),
        whole=("multiclass",),
        needs=("each",),
        low=-1.0,
    ),
    Kind(
        name="kappa",
        about="Cohen's kappa: agreement beyond chance",
        of=confusion.kappa,
        one=("binary", "multilabel"),
        whole=("multiclass",),
        needs=("each",),
        low=-1.0,
    ),
)
_PLAIN = {"f1", "f2", "f0.5", "macro_f1", "weighted_f1", "micro_f1"}


def family(stem: str) -> Entry | None:
    """The entry of a stem that holds a number: F-beta, as ``f3``, ``macro_f2``."""
    match = _BETA.fullmatch(stem)
    if match is None or not 0 < float(match["beta"]) <= _MOST_BETA:
        return None
    beta, mean = float(match["beta"]), match["mean"]
    how = "harmonic mean of precision and recall" + ("" if beta == 1 else f", recall weighing {beta:g} squared times as much")
    if not mean:
        of = partial(confusion.fbeta, beta=beta)
        return _entry(Kind(name=stem, about=how, of=of, one=_ALL, needs=("positive",)))
    if mean == "weighted_":
        of = partial(confusion.weighted_fbeta, beta=beta)
        return _entry(Kind(name=stem, about=f"mean over classes by their rows of the {how}", of=of, whole=("multiclass",)))
    if mean == "micro_":
        return Entry(metric=_micro(Named(stem, stem, None, None), beta), tasks=("multilabel",), read=partial(_read_micro, beta))
    of = partial(confusion.macro_fbeta, beta=beta)
    kind = Kind(name=stem, about=f"mean over classes of the {how}", of=of, whole=("multiclass",), needs=("each",))
    return Entry(metric=_whole(kind, stem), tasks=("multiclass", "multilabel"), read=partial(_read_macro, kind, beta))


def _entry(kind: Kind) -> Entry:
    metric = _one(kind, kind.name, None, THRESHOLD) if "binary" in kind.one else _whole(kind, kind.name)
    return Entry(metric=metric, tasks=tuple(task for task in _ALL if task in kind.one + kind.whole), read=partial(_read, kind))


def _read(kind: Kind, named: Named, task: str, costs: Costs) -> Metric:
    del costs
    if task in kind.whole or task == "binary":
        _refuse_part(named)
        return _whole(kind, _unthresholded(named)) if task in kind.whole else _one(kind, named.name, None, _threshold(named))
    part = _part(named, task)
    return _one(kind, named.name, part, _no_threshold(named) if task == "multiclass" else _threshold(named))


def _one(kind: Kind, name: str, part: str | None, threshold: float) -> Metric:
    """A metric of one class against the rest."""
    code: partial[Coded] = (
        partial(counts.binary_codes, threshold=threshold)
        if part is None
        else partial(counts.class_codes, name=part, threshold=threshold)
    )
    scarce: Scarce = "rarer" if "each" in kind.needs else "positive" if "positive" in kind.needs else ""
    return _metric(
        name,
        kind.about if part is None else f"{kind.about}, of {part}",
        Counting(
            code=code,
            score=Score(on_margins(kind.of), kind.low),
            share=kind.share,
            needs=kind.needs,
            noun="label 1" if part is None else f"label {part}",
        ),
        scarce=scarce,
        threshold=threshold,
        refuses=None if part is None else partial(_refuses_class, part),
    )


def _whole(kind: Kind, name: str) -> Metric:
    """A metric of all classes together."""
    code = partial(counts.square_codes, threshold=THRESHOLD)
    return _metric(name, kind.about, Counting(code=code, score=Score(on_margins(kind.of), kind.low), needs=kind.needs))


def _accuracy(name: str, threshold: float, about: str, part: str | None = None) -> Metric:
    sums = Counting(
        code=partial(counts.right_codes, threshold=threshold, name=part),
        score=Score(on_margins(confusion.recall)),
        share=Share((1,), 1),
    )
    return _metric(name, about, sums, threshold=threshold, refuses=None if part is None else partial(_refuses_class, part))


def _read_accuracy(named: Named, task: str, costs: Costs) -> Metric:
    del costs
    if task == "multilabel":
        part = _part(named, task)
        return _accuracy(named.name, _threshold(named), f"share of rows that are right about {part}", part)
    _refuse_part(named)
    return _accuracy(named.name, _threshold(named) if task == "binary" else _no_threshold(named), "share of rows that are right")


def _read_subset(named: Named, task: str, costs: Costs) -> Metric:
    del task, costs
    _refuse_part(named)
    return _accuracy(named.name, _threshold(named), "share of rows of which every label is right")


def _read_hamming(named: Named, task: str, costs: Costs) -> Metric:
    del task, costs
    _refuse_part(named)
    threshold = _threshold(named)
    sums = Counting(code=partial(counts.level_codes, threshold=threshold, share=True), score=Score(confusion.mean_of))
    return _metric(named.name, "share of all labels that are right", sums, threshold=threshold)


def _read_micro(beta: float, named: Named, task: str, costs: Costs) -> Metric:
    del task, costs
    _refuse_part(named)
    return _micro(named, beta)


def _micro(named: Named, beta: float) -> Metric:
    threshold, of = _threshold(named), partial(confusion.micro_fbeta, beta=beta)
    sums = Counting(code=partial(counts.level_codes, threshold=threshold, share=False), score=Score(on_margins(of)))
    return _metric(named.name, "F of the decisions on all labels together", sums, threshold=threshold)


def _read_macro(kind: Kind, beta: float, named: Named, task: str, costs: Costs) -> Metric:
    del costs
    _refuse_part(named)
    if task == "multiclass":
        return _whole(kind, _unthresholded(named))
    return macro_labels(named.name, kind.about, _threshold(named), beta)


def _read_costs(better: Better, named: Named, task: str, costs: Costs) -> Metric:
    _refuse_part(named)
    _check_costs(named, task, costs)
    values = [value for line in costs for value in line] or [0.0]
    threshold = _threshold(named) if task == "binary" else _no_threshold(named)
    sums = Counting(
        code=partial(counts.square_codes, threshold=threshold, costs=costs),
        score=Score(confusion.mean_of, min(values), max(values)),
    )
    about = "mean cost of a row" if better == "lower" else "mean utility of a row"
    return _metric(named.name, about, sums, better=better, threshold=threshold, refuses=partial(_refuses_costs, len(costs)))


def _check_costs(named: Named, task: str, costs: Costs) -> None:
    size = len(costs)
    if size < 2 or any(len(line) != size for line in costs) or (task == "binary" and size != 2):
        what = "2 by 2" if task == "binary" else "square, as large as there are classes"
        raise UsageError(
            "bad-costs",
            f"{named.name} needs costs, {what}: a line for each true class, in it a number for each decision",
            fix="write costs = [[0, 1], [5, 0]]: a false alarm costs 1, a miss 5",
        )
    if not all(abs(value) < float("inf") for line in costs for value in line):
        raise UsageError("bad-costs", "a cost is infinite or no number", fix="write finite numbers")


def _refuses_costs(size: int, evidence: Evidence) -> str:
    classes = len(evidence.classes)
    if evidence.task == "multiclass" and classes != size:
        return f"has costs for {size} classes, but there are {classes}: {_some(evidence.classes)}"
    return ""


def _refuses_class(part: str, evidence: Evidence) -> str:
    if counts.class_place(evidence.classes, part) >= 0:
        return ""
    return f"asks for {part!r}, which occurs nowhere ({nearest(part, evidence.classes)})"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def _metric(
    name: str,
    about: str,
    sums: Counting,
    *,
    better: Better = "higher",
    scarce: Scarce = "",
    threshold: float | None = None,
    refuses: Callable[[Evidence], str] | None = None,
) -> Metric:
    return Metric(
        name=name,
        better=better,
        about=about,
        measure=measured_at_once(sums),
        additive=sums,
        scarce=scarce,
        threshold=threshold,
        refuses=refuses,
    )


def _threshold(named: Named) -> float:
    if named.at is None:
        return THRESHOLD
    if not re.fullmatch(r"\d*\.?\d+", named.at) or not 0 < float(named.at) <= 1:
        raise UsageError(
            "bad-threshold",
            f"{named.at!r} is no threshold of a probability",
            why="it lies above 0 and at most at 1",
            fix=f"write {named.stem}@0.5",
        )
    return float(named.at)


def _no_threshold(named: Named) -> float:
    _unthresholded(named)
    return THRESHOLD


def _unthresholded(named: Named) -> str:
    if named.at is not None:
        raise takes_none(named)
    return named.name


def _part(named: Named, task: str) -> str:
    if not named.part:
        raise UsageError(
            "bad-metric",
            f"{named.name!r} is about one class of a {task} task, and does not say which",
            fix=f"write {named.stem}[CLASS], with the name of a class",
        )
    return named.part


def _refuse_part(named: Named) -> None:
    if named.part is not None:
        raise UsageError("bad-metric", f"{named.stem} takes no class: {named.name!r}", fix=f"write {named.stem!r}")


def _plain(stem: str, tasks: tuple[str, ...], read: Callable[[Named, str, Costs], Metric], *, costs: bool = False) -> Entry:
    example: Costs = ((0.0, 1.0), (1.0, 0.0)) if costs else ()
    return Entry(metric=read(Named(stem, stem, None, None), tasks[0], example), tasks=tasks, read=read, costs=costs)


ENTRIES: tuple[Entry, ...] = (
    _plain("accuracy", _ALL, _read_accuracy),
    _plain("subset_accuracy", ("multilabel",), _read_subset),
    _plain("hamming_accuracy", ("multilabel",), _read_hamming),
    _plain("expected_cost", ("binary", "multiclass"), partial(_read_costs, "lower"), costs=True),
    _plain("utility", ("binary", "multiclass"), partial(_read_costs, "higher"), costs=True),
    *(_entry(kind) for kind in _KINDS),
    *(found for stem in sorted(_PLAIN) if (found := family(stem)) is not None),
)
