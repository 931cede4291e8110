"""The share of rows on which a prediction holds, such as a predicted quantile's coverage: counts, so exact intervals of shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.gate.evidence import Evidence, Groups
from tidegate.gate.metrics.mean_sums import MeanSums, State
from tidegate.gate.metrics.metric import Measured
from tidegate.stats import proportions
from tidegate.stats.estimate import Floats


class Held(NamedTuple):
    """Sums of rows by group: those of the mean, and [size, 4] how many rows both, only the candidate, only the champion, neither has right."""

    sums: State
    table: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Rows on which ``holds`` (labels, predictions) is true. Weighted or clustered, it is a mean like any other."""

    holds: Callable[[Any, Any], Any]

    @property
    def _sums(self) -> MeanSums:
        return MeanSums(loss=self._as_numbers, limit=1.0)

    def gather(self, evidence: Evidence, groups: Groups | None, size: int) -> Held:
        """See ``Additive``."""
        wrong = [~np.asarray(self.holds(evidence.labels, each), dtype=bool) for each in evidence.models]
        codes = 2 * wrong[0] + wrong[-1] + (0 if groups is None else 4 * groups)
        table = np.bincount(codes, minlength=4 * size).reshape(size, 4)
        return Held(self._sums.gather(evidence, groups, size), table)

    def merge(self, first: Held, second: Held) -> Held:
        """See ``Additive``."""
        return Held(self._sums.merge(first.sums, second.sums), first.table + second.table)

    def settle(self, state: Held, place: int, confidence: float, rng: np.random.Generator) -> Measured:
        """See ``Additive``."""
        form = state.sums.form
        both, gained, lost, neither = (int(count) for count in state.table[place])
        table, n = (both, gained, lost, neither), both + gained + lost + neither
        details = paired_figures(table, confidence) if form.paired and n else {}
        if form.weighted or form.clustered:
            found = self._sums.settle(state.sums, place, confidence, rng)
            return found._replace(details=found.details | details)
        single = proportions.wilson(both + gained, n, confidence=confidence)
        if not form.paired:
            return Measured(single, None, None, "Wilson score interval", {})
        return Measured(
            single,
            proportions.wilson(both + lost, n, confidence=confidence),
            proportions.tango(gained, lost, n, confidence=confidence),
            "Tango score interval of paired proportions",
            details,
        )

    def _as_numbers(self, labels: Any, predictions: Any) -> Floats:
        return np.asarray(self.holds(labels, predictions), dtype=np.float64)


def paired_figures(table: tuple[int, int, int, int], confidence: float) -> dict[str, float]:
    """What else is told of a 2 x 2 table of who is right: both, only the candidate, only the champion, neither.

    The figures take rows one by one: without weights and clusters.
    """
    both, gained, lost, neither = table
    tango = proportions.tango(gained, lost, sum(table), confidence=confidence)
    newcombe = proportions.newcombe(both, gained, lost, neither, confidence=confidence)
    return {
        "only_candidate_right": float(gained),
        "only_champion_right": float(lost),
        "mcnemar_exact_p": proportions.mcnemar_exact(gained, lost),
        "mcnemar_midp_p": proportions.mcnemar_midp(gained, lost),
        "newcombe_low": newcombe.low,
        "newcombe_high": newcombe.high,
        "tango_low": tango.low,
        "tango_high": tango.high,
    }
