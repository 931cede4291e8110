"""What is known about a flight one hour before its scheduled departure.

Training, evaluation and serving all take their rows from here, so that they cannot differ. Each view says when its values
became known; ``point_in_time`` never looks further.
"""

from __future__ import annotations

from typing import Any

from tidegate import FeatureView, frames, latest, point_in_time, window

WEATHER = FeatureView(
    "weather",
    entity=["origin"],
    source="weather",
    event_time="observed_at",
    source_delay="10m",  # the data has no time of publication: an assumption, on the safe side
    max_age="3h",
    features=[latest(column) for column in ("temp", "humid", "wind_speed", "precip", "pressure", "visib")],
)
"""The newest hourly weather report of the airport."""

PREVIOUS_LEG = FeatureView(
    "previous_leg",
    entity=["tailnum"],
    source="flights",
    event_time="landed_at",
    max_age="24h",
    features=[latest("arr_delay")],
)
"""How late the aircraft was on its previous leg out of New York, once that has landed."""

ORIGIN = FeatureView(
    "origin",
    entity=["origin"],
    source="flights",
    event_time="departed_at",
    features=[window("dep_delay", "avg", "2h"), window("dep_delay", "count", "2h")],
)
"""How late, and how many, flights have just left the airport."""

DESTINATION = FeatureView(
    "destination",
    entity=["dest"],
    source="flights",
    event_time="landed_at",
    features=[window("arr_delay", "avg", "3h")],
)
"""How late flights to the same destination have just landed."""

VIEWS = [WEATHER, PREVIOUS_LEG, ORIGIN, DESTINATION]

CATEGORIES = ["carrier", "origin"]
SCHEDULE = ["minute_of_day", "weekday", "distance"]
SCHEDULE_INPUTS = [*CATEGORIES, *SCHEDULE, *WEATHER.names]
"""Inputs of the first model: the timetable and the weather."""
LIVE_INPUTS = [*SCHEDULE_INPUTS, *PREVIOUS_LEG.names, *ORIGIN.names, *DESTINATION.names]
"""Inputs of the second model: also what is going on right now."""


def flight_rows(con: frames.Connection, flights: Any, weather: Any, *, start: str, until: str) -> frames.Relation:
    """One row per flight whose question is asked in [start, until), in that order, with all features as known then.

    Args:
        con: The connection that the result lives on.
        flights: The table of flights, or a path to it. Outcomes in it are used once they were known, never earlier.
        weather: The table of hourly weather reports, or a path to it.
        start: First time of asking, UTC.
        until: First time of asking that no longer counts, UTC.

    Returns:
        The columns of ``flights``, then those of the feature views.
    """
    table = frames.relation(con, flights)
    asked = table.filter(f"asked_at >= {frames.literal(start)} AND asked_at < {frames.literal(until)}")
    spine = asked.order("asked_at, flight_id")
    return point_in_time(con, spine, VIEWS, {"flights": table, "weather": weather}, time="asked_at")


def labelled_rows(con: frames.Connection, flights: Any, weather: Any, *, start: str, until: str) -> frames.Relation:
    """The ``flight_rows`` that had landed at ``until``: only their labels were known then."""
    rows = flight_rows(con, flights, weather, start=start, until=until)
    return rows.filter(f"landed_at <= {frames.literal(until)}")
