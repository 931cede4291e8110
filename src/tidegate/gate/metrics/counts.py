"""How a counting metric is measured: rows to codes, codes to cells, cells to intervals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from tidegate.gate.evidence import Evidence, Groups
from tidegate.gate.metrics.metric import MIN_CLASS, MIN_CLUSTERS, Measured, refuses_codes
from tidegate.gate.metrics.shares import paired_figures
from tidegate.gate.right import decided
from tidegate.records.names import nearest
from tidegate.stats import cells, proportions
from tidegate.stats.confusion import Score
from tidegate.stats.estimate import UNKNOWN, Codes
from tidegate.stats.tally import Tally, merge, part, tally

SLICE_DRAWS = 2_000
"""Draws where a column's slices are measured: there may be hundreds."""

_SLACK = 1e-9

Need = Literal["positive", "negative", "predicted", "each"]
"""Rows without which there is no interval: of the class, of the others, decided for the class by either model, of every class."""


class Coded(NamedTuple):
    """The rows of some evidence as codes of a scheme."""

    scheme: cells.Scheme
    codes: Codes


class Share(NamedTuple):
    """A metric that is a plain share of rows: of those with these labels, the ones with this decision count."""

    labels: tuple[int, ...]
    decision: int


class Counted(NamedTuple):
    """What was counted in ``size`` groups of rows."""

    scheme: cells.Scheme
    table: Tally
    size: int
    paired: bool
    classes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """A metric of counts; its state are cells, which add up."""

    code: partial[Coded]
    """Of evidence."""
    score: Score
    share: Share | None = None
    needs: tuple[Need, ...] = ()
    noun: str = "label 1"
    """How the positive class is named."""

    def gather(self, evidence: Evidence, groups: Groups | None, size: int) -> Counted:
        """See ``Additive``."""
        key = ("codes", self.code.func, tuple(sorted(self.code.keywords.items())))
        coded = evidence.derive(key, lambda: self.code(evidence))
        table = tally(
            coded.codes,
            base=coded.scheme.base,
            groups=groups,
            size=size,
            clusters=evidence.clusters,
            weights=evidence.weights,
        )
        return Counted(coded.scheme, table, size, evidence.champion is not None, evidence.classes)

    def merge(self, first: Counted, second: Counted) -> Counted:
        """See ``Additive``."""
        return first._replace(table=merge(first.table, second.table))

    def settle(self, state: Counted, place: int, confidence: float, rng: np.random.Generator) -> Measured:
        """See ``Additive``."""
        table = part(state.table, place)
        if not table.rows:
            return Measured(UNKNOWN, UNKNOWN if state.paired else None, UNKNOWN if state.paired else None, "", {})
        plain = table.clusters is None and table.powers is None
        if self.share is not None:
            chosen = np.isin(_square(state).read(table.codes)[0], self.share.labels)
            found = self._share(self.share, state, table.only(chosen), confidence, plain=plain)
        elif plain:
            draws = cells.DRAWS if state.size == 1 else SLICE_DRAWS
            compared = cells.compare(state.scheme, self.score, table, confidence=confidence, rng=rng, draws=draws)
            method = f"multinomial bootstrap over cells, {draws:,} draws, percentile or BCa interval"
            found = _measured(compared, state, method if compared.drawn else "delta method over cells", {})
        else:
            compared = cells.linear(state.scheme, self.score, table, confidence=confidence)
            found = _measured(compared, state, "linearisation over cells" + _grouped(compared, table), {})
        return found._replace(few=self._few(state, table))

    def _share(self, share: Share, state: Counted, table: Tally, confidence: float, *, plain: bool) -> Measured:
        _, ours, theirs = _square(state).read(table.codes)
        right = [each == share.decision for each in (ours, theirs)]
        both, gained, lost = (
            int(table.counts[flags].sum()) for flags in (right[0] & right[1], right[0] & ~right[1], right[1] & ~right[0])
        )
        counts = (both, gained, lost, table.rows - both - gained - lost)
        details = paired_figures(counts, confidence) if state.paired and table.rows else {}
        if not plain:
            compared = cells.linear(state.scheme, self.score, table, confidence=confidence)
            return _measured(compared, state, "difference of shares by linearisation" + _grouped(compared, table), details)
        single = proportions.wilson(both + gained, table.rows, confidence=confidence)
        if not state.paired:
            return Measured(single, None, None, "Wilson score interval", {})
        return Measured(
            single,
            proportions.wilson(both + lost, table.rows, confidence=confidence),
            proportions.tango(gained, lost, table.rows, confidence=confidence),
            "Tango score interval of paired proportions",
            details,
        )

    def _few(self, state: Counted, table: Tally) -> str:
        """Why these cells are too few for an interval; empty: they are not."""
        if not isinstance(state.scheme, cells.Square):
            return ""
        labels, ours, theirs = state.scheme.read(table.codes)
        one_of_several = state.scheme.classes == 2 and state.classes
        names = (
            [f"without {self.noun}", f"with {self.noun}"] if one_of_several else [f"with label {name}" for name in state.classes]
        )
        kinds: list[tuple[str, Any]] = []
        for need in self.needs:
            if need == "each":
                present = [0, 1] if state.scheme.classes == 2 else np.unique(labels).tolist()
                kinds += [(names[label] if names else f"with label {label}", labels == label) for label in present]
            elif need == "predicted":
                kinds.append((f"that the candidate gives {self.noun}", ours == 1))
                kinds += [(f"that the champion gives {self.noun}", theirs == 1)] if state.paired else []
            else:
                kinds.append((f"{'with' if need == 'positive' else 'without'} {self.noun}", labels == int(need == "positive")))
        return next((few for name, chosen in kinds if (few := _scarce(name, table.only(chosen)))), "")


def binary_codes(evidence: Evidence, *, threshold: float) -> Coded:
    """Codes of a binary task."""
    square = cells.Square()
    ours, theirs = (None if each is None else each >= threshold for each in (evidence.candidate, evidence.champion))
    assert ours is not None
    return Coded(square, square.codes(_whole(evidence.labels > 0), _whole(ours), None if theirs is None else _whole(theirs)))


def class_codes(evidence: Evidence, *, name: str, threshold: float) -> Coded:
    """Codes of one class against all others (multiclass), or of one label (multilabel)."""
    square, place = cells.Square(), class_place(evidence.classes, name)
    if evidence.task == "multilabel":
        columns = [evidence.labels[:, place] > 0.5]
        columns += [each[:, place] >= threshold for each in evidence.models]
    else:
        columns = [evidence.labels == place, *(decided(each) == place for each in evidence.models)]
    return Coded(square, square.codes(*(_whole(column) for column in columns)))


def right_codes(evidence: Evidence, *, threshold: float, name: str | None = None) -> Coded:
    """Codes of rows by whether they are right: every label is a 1, and a decision tells whether the row was right.

    Multilabel: right are all labels of the row, or the one that is named.
    """
    square = cells.Square()
    if evidence.task == "multiclass":
        right = [decided(each) == evidence.labels for each in evidence.models]
    elif evidence.task == "multilabel":
        truth = evidence.labels > 0.5
        right = [(each >= threshold) == truth for each in evidence.models]
        place = None if name is None else class_place(evidence.classes, name)
        right = [each.all(1) if place is None else np.ascontiguousarray(each[:, place]) for each in right]
    else:
        right = [(each >= threshold) == (evidence.labels > 0) for each in evidence.models]
    return Coded(square, square.codes(np.ones(evidence.rows, dtype=np.int64), *(_whole(each) for each in right)))


def square_codes(evidence: Evidence, *, threshold: float, costs: tuple[tuple[float, ...], ...] = ()) -> Coded:
    """Codes of the whole table of a binary or multiclass task."""
    if evidence.task == "binary":
        coded = binary_codes(evidence, threshold=threshold)
        return coded._replace(scheme=cells.Square(2, costs))
    columns = [evidence.labels.astype(np.int64), *(decided(each) for each in evidence.models)]
    size = max(len(evidence.classes), len(costs)) or int(max(column.max(initial=0) for column in columns)) + 1
    square = cells.Square(max(size, 2), costs)
    return Coded(square, square.codes(*columns))


def level_codes(evidence: Evidence, *, threshold: float, share: bool) -> Coded:
    """Codes of multilabel rows by how many labels are given and right."""
    levels = cells.Levels(evidence.labels.shape[1], share)
    return Coded(levels, levels.codes(evidence.labels > 0.5, *(each >= threshold for each in evidence.models)))


def class_place(classes: list[str], name: str) -> int:
    """The place of a class by its name, or by its number written otherwise (``1`` for ``1.0``); -1 where there is none."""
    if name in classes:
        return classes.index(name)
    number = _number(name)
    return next((place for place, each in enumerate(classes) if number is not None and _number(each) == number), -1)


def refuses_part(part: str | None, evidence: Evidence) -> str:
    """The refusal of a metric that takes the probability of every class, or of the class ``part``."""
    refusal = refuses_codes(evidence)
    if not refusal and part is not None and class_place(evidence.classes, part) < 0:
        return f"asks for {part!r}, which occurs nowhere: {nearest(part, evidence.classes)}"
    return refusal


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _whole(flags: Any) -> Codes:
    return np.asarray(flags).view(np.int8)


def _scarce(name: str, table: Tally) -> str:
    """Why these rows are too few; empty: they are not. Heavy ones count for less (Kish, Survey Sampling, 1965, section 11.7)."""
    if table.rows < MIN_CLASS:
        return f"{table.rows} rows {name} are too few: at least {MIN_CLASS} are needed"
    noun, needed, count = "rows", MIN_CLASS, table.rows
    sizes = np.empty(0)
    if table.clusters is not None:
        clusters, places = np.unique(table.clusters, return_inverse=True)
        noun, needed, count = "clusters with rows", MIN_CLUSTERS, clusters.size
        sizes = np.bincount(places, weights=table.amounts)
    if count < needed:
        return f"{count} {noun} {name} are too few: at least {needed} are needed"
    total, squares = (float(sizes.sum()), float(np.square(sizes).sum())) if sizes.size else (float(count), float(count))
    if table.powers is not None and not sizes.size:
        total, squares = (float(power) for power in table.powers.sum(0)[:2])
    if total * total < needed * squares * (1 - _SLACK):
        worth = total * total / squares if squares else 0.0
        return f"the {noun} {name} are so uneven that they count as {worth:.1f} equal ones: at least {needed} are needed"
    return "" if total > 0 else f"the {noun} {name} weigh nothing"


def _square(state: Counted) -> cells.Square:
    assert isinstance(state.scheme, cells.Square)
    return state.scheme


def _measured(compared: cells.Compared, state: Counted, method: str, details: dict[str, float]) -> Measured:
    if not state.paired:
        return Measured(compared.candidate, None, None, method, details)
    return Measured(compared.candidate, compared.champion, compared.difference, "paired " + method, details)


def _grouped(compared: cells.Compared, table: Tally) -> str:
    df: float = compared.difference.df
    clusters = "" if table.clusters is None else f", over {np.unique(table.clusters).size:,} clusters"
    freedom = f", t({df:.4g})" if np.isfinite(df) else ""
    return clusters + freedom + (", weighted" if table.powers is not None else "")
