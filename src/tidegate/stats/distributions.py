"""The distribution functions and sparse matrices of SciPy, loaded when first needed: they take longer to load than a server to start."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def special() -> Any:
    """``scipy.special``: normal and t distributions and their quantiles, binomial tails."""
    from scipy import special as functions

    return functions


@cache
def sparse() -> Any:
    """``scipy.sparse``: matrices of which most entries are 0."""
    from scipy import sparse as matrices

    return matrices
