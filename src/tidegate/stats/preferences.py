"""Pairwise preferences with ties: how often one of two is preferred, and by how much more often than the other."""

from __future__ import annotations

import numpy as np

from tidegate.stats.estimate import Estimate, Floats
from tidegate.stats.proportions import mcnemar_exact, mcnemar_midp, tango


def is_decided(wins: Floats) -> bool:
    """Whether every item was won, lost or tied: 1, 0 or 0.5, nothing between."""
    return bool(np.all((wins == 0) | (wins == 0.5) | (wins == 1)))


def counts(wins: Floats) -> tuple[int, int, int]:
    """Items won, lost and tied of [n] outcomes 1, 0 and 0.5."""
    won, lost = int(np.count_nonzero(wins == 1)), int(np.count_nonzero(wins == 0))
    return won, lost, wins.size - won - lost


def net_wins(wins: Floats, *, confidence: float) -> Estimate:
    """Share of items won less the share lost, with Tango's score interval: a tie is a pair in which both do equally well.

    Source: Tango, Statistics in Medicine 17 (1998), 891-908; that ties belong to the denominator and to neither side: the sign
    test's exclusion of ties would count a judge that nearly always says "tie" as sure. Agresti, Categorical Data Analysis (2013), 11.1.
    """
    won, lost, tied = counts(wins)
    return tango(won, lost, won + lost + tied, confidence=confidence)


def win_rate(net: Estimate) -> Estimate:
    """The share of items won, ties counted half, from the net wins: (1 + net) / 2, and so are its interval's ends."""
    return Estimate((1 + net.value) / 2, (1 + net.low) / 2, (1 + net.high) / 2, net.df)


def sign_test(wins: Floats) -> tuple[float, float]:
    """Two-sided p-values of the sign test over items that are not tied: exact, and mid-p.

    Source: Dixon & Mood, JASA 41 (1946); mid-p as in ``proportions.mcnemar_midp``.
    """
    won, lost, _ = counts(wins)
    return mcnemar_exact(won, lost), mcnemar_midp(won, lost)
