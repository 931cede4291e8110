"""A feature view: a declared set of features of an entity with event time, availability and maximum age.

Definitions live in the project's code. Their digest names the rows that were written online by exactly this definition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias, get_args

from tidegate import digest
from tidegate.clock import parse_duration
from tidegate.errors import UsageError
from tidegate.records.names import check_name, nearest

Aggregate = Literal["avg", "sum", "count", "min", "max"]

RESERVED = frozenset({"event_at", "known_at", "reason"})
"""Keys that the online answer needs for itself."""


@dataclass(frozen=True)
class Latest:
    """The value of ``column`` in the newest row that was available. ``name`` replaces the default ``<view>_<column>``."""

    column: str
    name: str = ""

    @property
    def suffix(self) -> str:
        """What follows the view's name in the default name."""
        return self.column


@dataclass(frozen=True)
class Window:
    """``aggregate`` of ``column`` over the rows whose event lies in (t - width, t] and that were available at t.

    ``name`` replaces the default ``<view>_<column>_<aggregate>_<width>``.
    """

    column: str
    aggregate: Aggregate
    width: str
    name: str = ""

    @property
    def suffix(self) -> str:
        """What follows the view's name in the default name."""
        return f"{self.column}_{self.aggregate}_{self.width}"

    @property
    def width_us(self) -> int:
        """The width in microseconds."""
        return parse_duration(self.width)


Feature: TypeAlias = Latest | Window


def latest(column: str, *, name: str = "") -> Latest:
    """A feature that is the newest available value of a column."""
    return Latest(column, name)


def window(column: str, aggregate: Aggregate, width: str, *, name: str = "") -> Window:
    """A feature that is a sliding aggregate (``avg``, ``sum``, ``count``, ``min``, ``max``) over a duration like ``3h``."""
    return Window(column, aggregate, width, name)


@dataclass(frozen=True)
class FeatureView:
    """What is known about an entity, from which dataset, and from when on.

    A row of ``source`` is available from ``max(event_time, created)`` on where ``created`` names the column that says when
    the row was recorded; otherwise from ``event_time + source_delay`` on, a declared assumption.
    ``latest`` features older than ``max_age`` at the time of asking are null; an age of exactly ``max_age`` still counts.

    Raises:
        UsageError: the definition contradicts itself; told when it is written, not when it is used.
    """

    name: str
    _: KW_ONLY
    entity: Iterable[str]
    source: str
    event_time: str
    features: Iterable[Feature]
    created: str | None = None
    source_delay: str = "0s"
    max_age: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "entity", _columns(self.entity))
        object.__setattr__(self, "features", tuple(self.features))
        check_name(self.name, "feature view")
        self._check_times()
        self._check_features()

    @property
    def keys(self) -> tuple[str, ...]:
        """The entity's key columns, in the order of the definition."""
        return tuple(self.entity)

    @property
    def latest_features(self) -> tuple[Latest, ...]:
        """The features that look up a value."""
        return tuple(feature for feature in self.features if isinstance(feature, Latest))

    @property
    def windows(self) -> tuple[Window, ...]:
        """The features that aggregate over a window."""
        return tuple(feature for feature in self.features if isinstance(feature, Window))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the feature columns, in the order of the definition."""
        return tuple(self.name_of(feature) for feature in self.features)

    @property
    def delay_us(self) -> int:
        """``source_delay`` in microseconds."""
        return parse_duration(self.source_delay)

    @property
    def max_age_us(self) -> int | None:
        """``max_age`` in microseconds."""
        return None if self.max_age is None else parse_duration(self.max_age)

    @property
    def digest(self) -> str:
        """SHA-256 of the definition; the order of the features and the spelling of durations do not matter."""
        return digest.of_json(
            {
                "name": self.name,
                "entity": list(self.entity),
                "source": self.source,
                "event_time": self.event_time,
                "created": self.created,
                "source_delay": self.delay_us,
                "max_age": self.max_age_us,
                "features": sorted([self.name_of(feature), feature.column, *_window_text(feature)] for feature in self.features),
            }
        )

    def name_of(self, feature: Feature) -> str:
        """The name of a feature's column."""
        return feature.name or f"{self.name}_{feature.suffix}"

    def _check_times(self) -> None:
        if self.created is not None and self.delay_us:
            raise _contradiction(
                self.name,
                "both created and source_delay are given",
                "created tells when a row became known, source_delay assumes it",
                "keep created and drop source_delay",
            )
        if self.max_age_us is not None and self.max_age_us < self.delay_us:
            raise _contradiction(
                self.name,
                f"max_age {self.max_age} is shorter than source_delay {self.source_delay}",
                "a row would be too old before it is available",
                "make max_age longer",
            )

    def _check_features(self) -> None:
        if not self.keys or not self.features:
            raise _contradiction(
                self.name,
                "a view needs at least one entity column and one feature",
                "",
                'write entity=["origin"], features=[latest("temp")]',
            )
        for feature in self.windows:
            if feature.aggregate not in get_args(Aggregate):
                raise _contradiction(
                    self.name,
                    f"{feature.aggregate!r} is no aggregate",
                    nearest(feature.aggregate, list(get_args(Aggregate))),
                    "use avg, sum, count, min or max",
                )
            if feature.width_us <= self.delay_us:
                raise _contradiction(
                    self.name,
                    f"the window {feature.width} is not longer than source_delay {self.source_delay}",
                    "no row could ever be in it",
                    "make the window longer",
                )
        taken: set[str] = set()
        for name in self.names:
            if name in taken or name in self.keys or name in RESERVED:
                raise _contradiction(
                    self.name,
                    f"the name {name!r} is taken",
                    "two features, a key or a reserved word (event_at, known_at, reason) have the same name",
                    "give the feature another one with name=...",
                )
            taken.add(name)


def _columns(entity: Iterable[str]) -> tuple[str, ...]:
    return (entity,) if isinstance(entity, str) else tuple(entity)


def _window_text(feature: Feature) -> list[str]:
    return [feature.aggregate, str(feature.width_us)] if isinstance(feature, Window) else []


def _contradiction(view: str, what: str, why: str, fix: str) -> UsageError:
    return UsageError("bad-feature-view", f"feature view {view}: {what}", why=why, fix=fix)
