"""Rows and policies that the gate's tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.gate import parse_check_policy
from tidegate.records.policy import CheckPolicy


def binary_rows(n: int = 2000, *, seed: int = 0, candidate_noise: float = 0.2, champion_noise: float = 0.9) -> dict[str, Any]:
    """Labels, and two models that see the truth through more or less noise; a slice and a cluster column."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    chance = 1 / (1 + np.exp(-2 * truth))
    return {
        "id": np.arange(n),
        "y": (rng.random(n) < chance).astype(np.int64),
        "new": 1 / (1 + np.exp(-2 * (truth + candidate_noise * rng.normal(size=n)))),
        "old": 1 / (1 + np.exp(-2 * (truth + champion_noise * rng.normal(size=n)))),
        "origin": np.array(["EWR", "JFK", "LGA"], dtype=object)[rng.integers(0, 3, n)],
        "tail": rng.integers(0, max(n // 10, 1), n),
        "weight": rng.uniform(0.5, 2, n),
    }


def policy(*rules: dict[str, Any], **keys: Any) -> CheckPolicy:
    """A check policy over these rows; without rules: log loss superior."""
    chosen = list(rules) or [{"metric": "log_loss", "test": "superior"}]
    return parse_check_policy({"task": "binary", "label": "y", "candidate": "new", "champion": "old", "rules": chosen} | keys)


def rule(metric: str, test: str = "superior", **keys: Any) -> dict[str, Any]:
    """One rule as TOML gives it."""
    return {"metric": metric, "test": test, **keys}
