"""Worlds whose truth is known: each draws labels and the predictions of two models as the gate gets them.

In a *null* world the two models are exchangeable, so every true difference is 0. In a *loss* world the candidate sees the
truth through more noise; what it truly loses is measured once on a million rows, and becomes the margin of the rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.gate.evidence import Evidence

Array = NDArray[Any]
Rng = np.random.Generator
CLASSES = ["a", "b", "c", "d"]
DOCUMENTS = 12


@dataclass(frozen=True)
class World:
    """How rows come about, and on how many of them the gate is tried."""

    name: str
    about: str
    task: str
    draw: Callable[[Rng, int, float], Evidence]
    """Randomness, rows, and how much noisier the candidate is than the champion (1: exchangeable)."""
    tried: dict[int, tuple[str, ...]]
    """Which metrics on how many rows; none named: all of the task."""
    noise: float = 1.0
    """1 for a null world."""
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What a rule must say beside the metric's name, by metric."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of rows."""
        return tuple(self.tried)


def _sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


def _views(rng: Rng, truth: Array, noise: float, *, spread: float = 0.7) -> tuple[Array, Array]:
    """What the candidate and the champion see of the truth: half of their errors they share."""
    shared = rng.normal(size=truth.shape)
    ours, theirs = (0.5 * shared + rng.normal(size=truth.shape) for _ in range(2))
    return truth + spread * noise * ours, truth + spread * theirs


def _groups(rng: Rng, n: int, clusters: int, *, even: bool) -> Array:
    """[n] codes of clusters; uneven ones differ in size like log-normal numbers."""
    if even:
        return np.arange(n) % clusters
    sizes = rng.lognormal(sigma=0.7, size=clusters)
    return np.concatenate([np.arange(clusters), rng.choice(clusters, size=n - clusters, p=sizes / sizes.sum())])


def _shared(rng: Rng, codes: Array | None, n: int, strength: float) -> Array:
    """What the rows of a cluster have in common."""
    if codes is None:
        return np.zeros(n)
    return strength * rng.normal(size=int(codes.max()) + 1)[codes]


def binary(
    *, offset: float = 0.0, digits: int | None = None, clusters: int = 0, even: bool = True, weighted: bool = False
) -> Callable[[Rng, int, float], Evidence]:
    """0/1 labels with calibrated-looking probabilities; rounding to ``digits`` makes ties."""

    def draw(rng: Rng, n: int, noise: float) -> Evidence:
        many = n if clusters == 0 else clusters * max(n // 1000, 1) if n > 100_000 else clusters
        codes = _groups(rng, n, many, even=even) if clusters else None
        truth = rng.normal(size=n) + _shared(rng, codes, n, 0.5)
        ours, theirs = _views(rng, truth, noise)
        ours, theirs = ours + _shared(rng, codes, n, 0.3 * noise), theirs + _shared(rng, codes, n, 0.3)
        labels = (rng.random(n) < _sigmoid(1.5 * truth + offset)).astype(float)
        scores = [_sigmoid(1.5 * each + offset) for each in (ours, theirs)]
        if digits is not None:
            scores = [np.clip(np.round(each, digits), 0.02, 0.98) for each in scores]
        weights = rng.uniform(0.5, 2.0, n) if weighted else None
        return Evidence("binary", labels, scores[0], scores[1], clusters=codes, weights=weights)

    return draw


def multiclass(*, probabilities: bool, rare: bool = False) -> Callable[[Rng, int, float], Evidence]:
    """Four classes; the models give codes, or a probability for each class."""

    def draw(rng: Rng, n: int, noise: float) -> Evidence:
        prior = np.array([1.2, 0.4, 0.0, -1.0]) if rare else np.zeros(4)
        truth = 1.2 * rng.normal(size=(n, 4)) + prior
        labels = (truth + rng.gumbel(size=(n, 4))).argmax(axis=1).astype(float)
        views = _views(rng, truth, noise)
        if not probabilities:
            ours, theirs = (each.argmax(axis=1).astype(float) for each in views)
        else:
            powers = [np.exp(each - each.max(axis=1, keepdims=True)) for each in views]
            ours, theirs = (each / each.sum(axis=1, keepdims=True) for each in powers)
        return Evidence("multiclass", labels, ours, theirs, classes=CLASSES)

    return draw


def multilabel(rng: Rng, n: int, noise: float) -> Evidence:
    """Three labels a row, that depend on each other."""
    truth = rng.normal(size=(n, 3)) + 0.7 * rng.normal(size=(n, 1)) - np.array([0.0, 0.5, 1.0])
    labels = (rng.random((n, 3)) < _sigmoid(1.5 * truth)).astype(float)
    ours, theirs = _views(rng, truth, noise)
    return Evidence("multilabel", labels, _sigmoid(1.5 * ours), _sigmoid(1.5 * theirs), classes=CLASSES[:3])


def regression(*, skewed: bool = False, clusters: int = 0) -> Callable[[Rng, int, float], Evidence]:
    """Numbers well above 0, with normal or log-normal errors."""

    def draw(rng: Rng, n: int, noise: float) -> Evidence:
        many = clusters * max(n // 1000, 1) if n > 100_000 else clusters
        codes = _groups(rng, n, many, even=True) if clusters else None
        x = rng.normal(size=n) + _shared(rng, codes, n, 0.5)
        ours, theirs = _views(rng, x, noise)
        if skewed:
            return Evidence(
                "regression", np.exp(1 + 0.5 * x + 0.5 * rng.normal(size=n)), *(np.exp(1 + 0.5 * v) for v in (ours, theirs))
            )
        return Evidence("regression", 10 + 2 * x + rng.normal(size=n), 10 + 2 * ours, 10 + 2 * theirs, clusters=codes)

    return draw


def ranking(rng: Rng, n: int, noise: float) -> Evidence:
    """Lists of a dozen documents with grades 0 to 3; ``n`` counts the lists."""
    truth = rng.normal(size=(n, DOCUMENTS)) + 0.3 * rng.normal(size=(n, 1))
    ours, theirs = _views(rng, truth, noise)
    grades = np.clip(np.floor(truth + 0.6 * rng.normal(size=truth.shape) + 1.0), 0, 3)
    return Evidence("ranking", grades.ravel(), ours.ravel(), theirs.ravel(), queries=np.repeat(np.arange(n), DOCUMENTS))


def scores(*, coarse: bool) -> Callable[[Rng, int, float], Evidence]:
    """Scores of items, such as a judge's marks: whole ones from 1 to 5, or fine ones; noise lowers the candidate's."""

    def draw(rng: Rng, n: int, noise: float) -> Evidence:
        hard = rng.normal(size=n)
        ours, theirs = hard + rng.normal(size=n) - 0.2 * (noise - 1), hard + rng.normal(size=n)
        if coarse:
            ours, theirs = (np.clip(np.round(3 + each), 1, 5) for each in (ours, theirs))
        return Evidence("scores", np.zeros(n), ours, theirs)

    return draw


def _costs(lines: list[list[float]]) -> dict[str, dict[str, Any]]:
    return {"expected_cost": {"costs": lines}, "utility": {"costs": [[-each for each in line] for line in lines]}}


_COSTS = _costs([[0.0, 1.0], [5.0, 0.0]])
_COSTS4 = _costs([[0.0 if i == j else 1.0 + i for j in range(4)] for i in range(4)])
ALL: tuple[str, ...] = ()
_FEW = ("accuracy", "f1", "log_loss", "roc_auc", "average_precision", "calibration_error")
_LARGE = ("accuracy", "f1", "roc_auc", "average_precision", "brier", "calibration_error")
_RARE = (*_FEW, "recall", "precision", "mcc", "brier")
_SORTED = ("accuracy", "brier", "roc_auc", "average_precision")
_CALIBRATION = ("calibration_error", "calibration_error[b]")
_CLASSES = ("accuracy", "recall[b]", "f1[b]", "macro_f1", "mcc")
_NUMBERS = ("mae", "rmse", "r2", "coverage")


def _pair(
    name: str,
    about: str,
    task: str,
    draw: Callable[[Rng, int, float], Evidence],
    tried: dict[int, tuple[str, ...]],
    noise: float = 1.4,
    keys: dict[str, dict[str, Any]] | None = None,
) -> list[World]:
    return [
        World(f"{name}, equal", f"{about}; the models are equal", task, draw, tried, keys=keys or {}),
        World(f"{name}, worse", f"{about}; the candidate loses exactly the margin", task, draw, tried, noise, keys or {}),
    ]


def _clustered(clusters: int, *, even: bool = True) -> list[World]:
    kind = f"{clusters} {'even' if even else 'uneven'} clusters"
    return _pair(f"binary, {kind}", kind, "binary", binary(clusters=clusters, even=even), {1000: ALL}, keys=_COSTS)


_PROBABILITIES = {1000: ("log_loss", "brier", "roc_auc", "average_precision", "calibration_error")}
WORLDS: list[World] = [
    *_pair(
        "binary",
        "balanced labels, probabilities",
        "binary",
        binary(),
        {60: _FEW, 200: ALL, 1000: _FEW, 5000: _LARGE},
        keys=_COSTS,
    ),
    *_pair("binary, rare", "one label in ten is 1", "binary", binary(offset=-3.0), {200: _FEW, 1000: _RARE}),
    *_pair("binary, ties", "scores rounded to one digit", "binary", binary(digits=1), {200: _SORTED, 1000: _CALIBRATION}),
    *_pair("binary, weights", "weights from 0.5 to 2", "binary", binary(weighted=True), {200: _FEW, 1000: _CALIBRATION}),
    *_clustered(10),
    *_clustered(30),
    *_clustered(30, even=False),
    *_clustered(100),
    *_pair("multiclass", "four classes, models give the class", "multiclass", multiclass(probabilities=False), {200: _CLASSES}),
    World(
        "multiclass, all, worse",
        "four classes of unequal size; the candidate loses exactly the margin",
        "multiclass",
        multiclass(probabilities=True, rare=True),
        {1000: ALL},
        1.4,
        _COSTS4,
    ),
    *_pair(
        "multiclass, probabilities",
        "four classes of unequal size, a probability each",
        "multiclass",
        multiclass(probabilities=True, rare=True),
        _PROBABILITIES,
    ),
    *_pair("multilabel", "three labels a row", "multilabel", multilabel, {200: ALL, 1000: _CALIBRATION}),
    *_pair("regression", "normal errors", "regression", regression(), {60: _NUMBERS, 200: ALL, 1000: _NUMBERS}, 1.2),
    World(
        "regression, skewed, worse",
        "log-normal labels and errors; the candidate loses exactly the margin",
        "regression",
        regression(skewed=True),
        {200: ALL, 1000: ("mse", "rmse", "r2", "mape")},
        1.2,
    ),
    *_pair("regression, 30 clusters", "30 even clusters", "regression", regression(clusters=30), {1000: ALL}, 1.2),
    *_pair("ranking", "lists of 12 documents, grades 0 to 3", "ranking", ranking, {60: ("ndcg", "map"), 200: ALL}, 1.3),
    *_pair("scores", "fine scores", "scores", scores(coarse=False), {60: ALL, 200: ALL, 1000: ALL}, 2.0),
    *_pair("scores, coarse", "marks from 1 to 5", "scores", scores(coarse=True), {200: ALL}, 2.0),
]
