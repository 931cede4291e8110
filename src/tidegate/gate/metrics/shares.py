"""The share of rows on which a prediction holds, such as a predicted quantile's coverage: counts, so exact intervals of shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.gate.evidence import Evidence, Groups
from tidegate.gate.metrics.mean_sums import MeanSums, State
from tidegate.gate.metrics.metric import Measured
from tidegate.stats import proportions
from tidegate.stats.estimate import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Rows on which ``holds`` (labels, predictions) is true. Weighted or clustered, it is a mean like any other."""

    holds: Callable[[Any, Any], Any]

    @property
    def _sums(self) -> MeanSums:
        return MeanSums(loss=self._as_numbers, limit=1.0)

    def gather(self, evidence: Evidence, groups: Groups | None, size: int) -> State:
        """See ``Additive``."""
        return self._sums.gather(evidence, groups, size)

    def merge(self, first: State, second: State) -> State:
        """See ``Additive``."""
        return self._sums.merge(first, second)

    def settle(self, state: State, place: int, confidence: float, rng: np.random.Generator) -> Measured:
        """See ``Additive``."""
        if state.rows is None or state.form.weighted:
            return self._sums.settle(state, place, confidence, rng)
        n = int(state.rows.number[place])
        ours, theirs, differ = (int(count) for count in state.facts.differing[place])
        single = proportions.wilson(ours, n, confidence=confidence)
        if not state.form.paired:
            return Measured(single, None, None, "Wilson score interval", {})
        gained, lost = (differ + ours - theirs) // 2, (differ - ours + theirs) // 2
        details = paired_figures((ours - gained, gained, lost, n - ours - lost), confidence)
        return Measured(
            single,
            proportions.wilson(theirs, n, confidence=confidence),
            proportions.tango(gained, lost, n, confidence=confidence),
            "Tango score interval of paired proportions",
            details,
        )

    def _as_numbers(self, labels: Any, predictions: Any) -> Floats:
        return np.asarray(self.holds(labels, predictions), dtype=np.float64)


def paired_figures(table: tuple[int, int, int, int], confidence: float) -> dict[str, float]:
    """What else is told of a 2 x 2 table of who is right: both, only the candidate, only the champion, neither."""
    both, gained, lost, neither = table
    newcombe = proportions.newcombe(both, gained, lost, neither, confidence=confidence)
    return {
        "only_candidate_right": float(gained),
        "only_champion_right": float(lost),
        "mcnemar_exact_p": proportions.mcnemar_exact(gained, lost),
        "mcnemar_midp_p": proportions.mcnemar_midp(gained, lost),
        "newcombe_low": newcombe.low,
        "newcombe_high": newcombe.high,
    }
