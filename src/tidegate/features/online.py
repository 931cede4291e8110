"""The same features for training and for serving: training sets from snapshots, one row per entity online.

A row online holds the newest available values and, for windows, the tail of events that the widest of them can still hold.
So an answer is computed for the time that is asked about, by the rules of the offline join, not for the time of writing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from tidegate import frames
from tidegate.clock import Clock
from tidegate.data.datasets import Datasets
from tidegate.errors import BadInputError, UsageError
from tidegate.features.point_in_time import SourceTable, available_rows, point_in_time
from tidegate.features.view import FeatureView, Window
from tidegate.frames import Connection, Relation
from tidegate.records.dataset import Snapshot
from tidegate.store.ports import OnlineRow, OnlineStore

Entity: TypeAlias = Mapping[str, Any] | Sequence[Any] | str | int
"""One entity: its keys by name, their values in the view's order, or the value of a single key."""

MISSING = "missing"
"""Nothing is known about the entity."""
TOO_OLD = "too_old"
"""What is known is older than ``max_age``, or than the window."""
TOO_NEW = "too_new"
"""Only what became known after the time that is asked about is still here."""

_STORABLE = (
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
    "VARCHAR",
)


class _Stored(msgspec.Struct, frozen=True):
    """The content of a row online. ``tail`` holds [event, available, one value per window column], oldest first."""

    known_at: int
    available: int
    latest: dict[str, Any]
    tail: list[list[Any]] = []


class Features:
    """Feature views bound to a store. Safe to use from several threads and processes."""

    def __init__(self, datasets: Datasets, online: OnlineStore, clock: Clock) -> None:
        self._datasets = datasets
        self._online = online
        self._clock = clock

    def sources(self, views: Sequence[FeatureView], snapshots: Mapping[str, str] | None = None) -> dict[str, Snapshot]:
        """The snapshot of each view's source: the one that ``snapshots`` names for it, else the latest. For lineage as well.

        Raises:
            UsageError: ``snapshots`` names a source that no view has.
            NotFoundError: there is no such snapshot.
        """
        wanted = {view.source for view in views}
        for name in snapshots or {}:
            if name not in wanted:
                raise UsageError(
                    "feature-source-missing",
                    f"no view reads the source {name!r}",
                    why=f"they read {', '.join(sorted(wanted))}",
                    fix="correct the name in snapshots",
                )
        return {name: self._datasets.get((snapshots or {}).get(name, name)) for name in sorted(wanted)}

    def training_set(
        self,
        con: Connection,
        spine: Any,
        views: Sequence[FeatureView],
        *,
        time: str,
        snapshots: Mapping[str, str] | None = None,
    ) -> Relation:
        """``point_in_time`` over the snapshots of the views' sources; ``snapshots`` maps a source to a reference like ``weather@3``.

        Raises:
            UsageError, BadInputError: see ``point_in_time``.
            NotFoundError: a source has no snapshot.
            IntegrityError: a snapshot's bytes were changed.
        """
        found = self.sources(views, snapshots)
        rows = {name: self._datasets.read(con, snapshot) for name, snapshot in found.items()}
        return point_in_time(con, spine, views, rows, time=time)

    def materialize(self, view: FeatureView, *, at: int, snapshot: str = "") -> int:
        """Writes what is available at ``at`` (microseconds UTC) for every entity; returns how many rows were written.

        Repeating it changes nothing. An entity whose stored row has a newer event keeps that one.

        Raises:
            BadInputError: a feature is of a type that cannot be kept online, or infinite.
        """
        with frames.connect() as con:
            found = self._datasets.read(con, self._datasets.get(snapshot or view.source))
            source = available_rows(con, view, found, at=at)
            _refuse_types(view, source)
            stored = _stored_rows(con, view, source, at)
        written_at = self._clock.now()
        rows = (OnlineRow(entity, event, written_at, msgspec.to_builtins(row)) for entity, event, row in stored)
        return self._online.put(view.name, view.digest, rows)

    def online(self, view: FeatureView, entities: Iterable[Entity], *, at: int) -> list[dict[str, Any]]:
        """The features of each entity at ``at`` (microseconds UTC), in the order of ``entities``.

        An answer holds the keys, the features, ``event_at`` (of the newest event) and ``known_at`` (up to when events are
        known), both microseconds UTC or None, and ``reason``: None, or why features are null (``missing``, ``too_old``,
        ``too_new``).
        """
        keys = [_keys(view, entity) for entity in entities]
        names = [entity_text(values) for values in keys]
        found = self._online.get(view.name, view.digest, list(dict.fromkeys(names)))
        return [
            {**dict(zip(view.keys, values, strict=True)), **_answer(view, found.get(name), at)}
            for values, name in zip(keys, names, strict=True)
        ]


def entity_text(values: Sequence[Any]) -> str:
    """An entity's keys as the one text that names it online; 5 and "5" are the same, for a column has one type."""
    return msgspec.json.encode([None if value is None else str(_whole(value)) for value in values]).decode()


# ---- writing ------------------------------------------------------------------------------------------------------------


def _stored_rows(con: Connection, view: FeatureView, source: SourceTable, at: int) -> list[tuple[str, int, _Stored]]:
    keys = ", ".join(source.keys)
    columns = [source.value_of[feature.column] for feature in view.latest_features]
    order = ", ".join(["event DESC", "created DESC", *(f"{column} DESC NULLS LAST" for column in columns)])
    newest = con.execute(
        f"SELECT {', '.join([*source.keys, 'event', 'available', *columns])} FROM {source.table} "
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1 ORDER BY {keys}"
    ).fetchall()
    tails = _tails(con, view, source, at)
    width = len(source.keys)
    rows: list[tuple[str, int, _Stored]] = []
    for row in newest:
        name, (event, available, *values) = entity_text(row[:width]), row[width:]
        latest = {feature.column: _finite(value) for feature, value in zip(view.latest_features, values, strict=True)}
        rows.append((name, event, _Stored(at, available, latest, tails.get(name, []))))
    return rows


def _tails(con: Connection, view: FeatureView, source: SourceTable, at: int) -> dict[str, list[list[Any]]]:
    if not view.windows:
        return {}
    widest = max(feature.width_us for feature in view.windows)
    columns = [source.value_of[column] for column in _window_columns(view)]
    found = con.execute(
        f"SELECT {', '.join([*source.keys, 'event', 'available', *columns])} FROM {source.table} WHERE event > ? "
        f"ORDER BY {', '.join([*source.keys, 'event', 'available', *columns])}",
        [at - widest],
    ).fetchall()
    tails: dict[str, list[list[Any]]] = {}
    width = len(source.keys)
    for row in found:
        tails.setdefault(entity_text(row[:width]), []).append([_finite(value) for value in row[width:]])
    return tails


def _window_columns(view: FeatureView) -> list[str]:
    return list(dict.fromkeys(feature.column for feature in view.windows))


def _refuse_types(view: FeatureView, source: SourceTable) -> None:
    for column, kind in source.type_of.items():
        if kind not in _STORABLE:
            raise BadInputError(
                "online-type",
                f"feature view {view.name}: {column!r} is {kind}, which cannot be kept online",
                why="a row online holds numbers, texts and booleans",
                fix="cast the column in the source",
            )


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInputError(
            "online-not-finite",
            "a feature value is infinite and cannot be kept online",
            why="JSON has no such number, and null would be another value",
            fix="mend the column in the source",
        )
    return value


# ---- answering ----------------------------------------------------------------------------------------------------------


def _answer(view: FeatureView, row: OnlineRow | None, at: int) -> dict[str, Any]:
    empty = {view.name_of(feature): _aggregate(feature, []) if isinstance(feature, Window) else None for feature in view.features}
    if row is None:
        return {**empty, "event_at": None, "known_at": None, "reason": MISSING}
    stored = msgspec.convert(row.values, _Stored)
    told = {"event_at": row.event_at, "known_at": stored.known_at}
    if at < stored.available or (view.windows and at < stored.known_at):
        return {**dict.fromkeys(view.names), **told, "reason": TOO_NEW}
    too_old = view.max_age_us is not None and bool(view.latest_features) and at - row.event_at > view.max_age_us
    values: dict[str, Any] = {}
    for feature in view.features:
        name = view.name_of(feature)
        if not isinstance(feature, Window):
            values[name] = None if too_old else stored.latest[feature.column]
        elif stored.known_at <= at - feature.width_us:
            values[name], too_old = None, True  # all of the window lies after what is known: an empty one would be a lie
        else:
            values[name] = _aggregate(feature, _held(view, feature, stored.tail, at))
    return {**values, **told, "reason": TOO_OLD if too_old else None}


def _held(view: FeatureView, feature: Window, tail: list[list[Any]], at: int) -> list[Any]:
    """The values that are not null of the rows in the window."""
    place = 2 + _window_columns(view).index(feature.column)
    held = (row[place] for row in tail if row[0] > at - feature.width_us and row[1] <= at)
    return [value for value in held if value is not None]


def _aggregate(feature: Window, values: list[Any]) -> Any:
    if feature.aggregate == "count":
        return len(values)
    if not values:
        return None
    match feature.aggregate:
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "sum" | "avg":
            total = math.fsum(values) if any(isinstance(value, float) for value in values) else sum(values)
            return total if feature.aggregate == "sum" else total / len(values)


def _keys(view: FeatureView, entity: Entity) -> list[Any]:
    if isinstance(entity, Mapping):
        values = [entity.get(key) for key in view.keys]
        given = set(entity)
    elif isinstance(entity, str) or not isinstance(entity, Sequence):
        values, given = [entity], set(view.keys[:1])
    else:
        values, given = list(entity), set(view.keys[: len(entity)])
    if len(values) != len(view.keys) or given != set(view.keys):
        raise UsageError(
            "bad-entity",
            f"{entity!r} names no entity of feature view {view.name}",
            why=f"its keys are {', '.join(view.keys)}",
            fix=f"give {', '.join(f'{key}=...' for key in view.keys)}",
        )
    return [_whole(value) for value in values]


def _whole(value: Any) -> Any:
    """A NumPy scalar as Python has it, and a whole float as the integer that it means."""
    plain = value.item() if hasattr(value, "item") else value
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain
