"""`flights`: the departures from New York's three airports in 2013, scheduled and actual.

The domain brings its history along: about a million changes from real data (`data/flights/README.md`), which
the write model loads in bulk. A cancelled flight is a tombstone; one that never arrived stays departed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from lab.base import BadInput, Embed, Entity, Problem, Totals, nearest
from lab.domain import model
from lab.domain.fields import wrong
from lab.domain.model import Command, Contract, Event, EventType, Options, Rejection, Trace, View
from lab.spill import ROWS, here

DATA = Path(__file__).parent / "data" / "flights"
NEW_YORK = "America/New_York"
TIME_SCALE = 86_400.0  # Seconds of reality in a second of the run: a day goes by in a second.
YEAR_2013 = 1_356_998_400  # 2013-01-01T00:00:00Z: the data counts its minutes from here.
YEAR_2100 = 4_102_444_800  # 2100-01-01T00:00:00Z: a later schedule is in another unit.

FLIGHT = Entity(
    name="flight", key="str",
    columns={"carrier": "str", "number": "int", "origin": "str", "destination": "str", "tail": "str",
             "month": "int", "scheduled_at": "int", "departure_delay": "int", "arrival_delay": "int",
             "air_time": "int", "distance": "int", "status": "str"},
    indexes=(("carrier", "origin", "scheduled_at"),),
    embeds=(
        Embed("carrier", "airline", ("name",)),
        Embed("origin", "airport", ("name",)),
        Embed("destination", "airport", ("name",)),
    ),
)  # fmt: skip
AIRPORT = Entity(
    name="airport", key="str",
    columns={"name": "str", "latitude": "float", "longitude": "float", "altitude": "int", "time_zone": "str"},
    texts=("name",),
)  # fmt: skip
AIRLINE = Entity(name="airline", key="str", columns={"name": "str"})
PLANE = Entity(
    name="plane", key="str",
    columns={"year": "int", "manufacturer": "str", "model": "str", "engines": "int", "seats": "int",
             "engine": "str"},
    texts=("manufacturer", "model"),
)  # fmt: skip
# The entities that exist before the first flight, in the order of registration, with their files.
REGISTERED = {"airlines": AIRLINE, "airports": AIRPORT, "planes": PLANE}

# A flight's status is the name of its last event. The codes below are indices into this tuple.
STATUSES = ("scheduled", "departed", "arrived", "diverted", "cancelled")
SCHEDULED, DEPARTED, ARRIVED, DIVERTED, CANCELLED = range(5)
REVISION = np.array([1, 2, 3, 3, 2])

# The status before and after each command.
STEPS = {
    "depart": ("scheduled", "departed"),
    "cancel": ("scheduled", "cancelled"),
    "arrive": ("departed", "arrived"),
    "divert": ("departed", "diverted"),
}
# The columns that are not given when a flight is scheduled: set by `decide`, or not known yet.
NOT_GIVEN = ("month", "departure_delay", "arrival_delay", "air_time", "status")
NULLABLE = ("tail", "year", "time_zone")

NOTES = (
    "All flights of a New York day are scheduled at once, at 18:00 of the evening before (assumed).",
    "A flight departs at its scheduled time plus its delay; its arrival is given in its destination's time.",
    "A flight without a departure time is cancelled at its scheduled departure (assumed), as a tombstone.",
    "The tail number is taken to be known from the schedule; it is null where the data has none.",
    "A flight that departed and has no arrival in the data stays departed.",
    "Airlines, airports and planes are registered at time 0, before the first flight is scheduled (assumed).",
)


class Flights:
    """The decider, its queries and its history."""

    name = "flights"
    has_trace = True
    time_scale = TIME_SCALE
    entities: Mapping[str, Entity] = {entity.name: entity for entity in (FLIGHT, *REGISTERED.values())}
    contracts: Mapping[str, Contract] = MappingProxyType({})
    events: Mapping[str, Mapping[str, EventType]] = {
        "flight": {
            "scheduled": EventType(tuple(FLIGHT.columns)),
            "departed": EventType(("departure_delay", "status")),
            "arrived": EventType(("arrival_delay", "air_time", "status")),
            "diverted": EventType(("status",)),
            "cancelled": EventType(("status",), deletes=True),
        },
        **{entity.name: {"registered": EventType(tuple(entity.columns))} for entity in REGISTERED.values()},
    }
    totals: Mapping[str, Totals] = {
        "delays_by_carrier_and_month": Totals("flight", ("carrier", "month"), ("departure_delay",))
    }
    queries: tuple[dict[str, Any], ...] = (
        {"name": "flight_by_key", "kind": "get", "entity": "flight", "weight": 5.0},
        {"name": "flights_by_key", "kind": "get_many", "entity": "flight", "count": 20},
        {
            "name": "departures_of_carrier_from_origin", "kind": "filter", "entity": "flight", "weight": 3.0,
            "where": {"carrier": "?", "origin": "?"}, "order_by": "scheduled_at", "limit": 50,
        },
        {
            "name": "worst_delays_from_origin_between", "kind": "filter", "entity": "flight",
            "where": {"origin": "?", "scheduled_at": {"at_least": "?", "less_than": "?"}},
            "order_by": "departure_delay", "descending": True, "limit": 20,
        },
        {
            "name": "delays_by_carrier_and_month", "kind": "aggregate", "entity": "flight",
            "group_by": ["carrier", "month"], "sum": ["departure_delay"],
        },
        {
            "name": "routes_of_carrier", "kind": "aggregate", "entity": "flight", "where": {"carrier": "?"},
            "group_by": ["origin", "destination"], "sum": ["distance", "air_time"],
        },
        {
            "name": "flights_with_airline", "kind": "join", "entity": "flight",
            "on": "carrier", "to": "airline", "take": ["name"],
            "where": {"origin": "?", "destination": "?"}, "order_by": "scheduled_at", "limit": 50,
        },
        {
            "name": "flights_with_plane", "kind": "join", "entity": "flight",
            "on": "tail", "to": "plane", "take": ["manufacturer", "model", "seats"],
            "where": {"carrier": "?", "origin": "?"}, "order_by": "scheduled_at", "limit": 50,
        },
        {"name": "planes_called", "kind": "search", "entity": "plane", "words": 2, "limit": 10},
        {"name": "flight_as_of", "kind": "as_of", "entity": "flight"},
        {"name": "flight_history", "kind": "history", "entity": "flight"},
    )  # fmt: skip

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """Return the event of a valid command, or every reason against an invalid one."""
        if command.entity not in self.entities:
            return Rejection((f"no such entity: {command.entity} ({nearest(command.entity, self.entities)})",))
        if command.entity != "flight":
            return _register(view, command, self.entities[command.entity])
        if command.name == "schedule":
            return _schedule(view, command)
        if command.name not in STEPS:
            return Rejection((f"no such command: {command.name} ({nearest(command.name, ['schedule', *STEPS])})",))
        record = view.get("flight", command.key)
        before, event = STEPS[command.name]
        if record is None:
            return Rejection((f"there is no flight {command.key}",))
        if record.deleted or record.state["status"] != before:
            status = record.state["status"]
            return Rejection((f"flight {command.key} is {status}; only one that is {before} can {command.name}",))
        wanted = {name: FLIGHT.columns[name] for name in self.events["flight"][event].sets if name != "status"}
        reasons = wrong(command.fields, wanted, NULLABLE)
        return Rejection(reasons) if reasons else (Event(event, {**command.fields, "status": event}),)

    evolve = staticmethod(model.evolve)

    def workload(self, options: Options, rng: np.random.Generator) -> Iterator[Command]:
        """Raise BadInput: the domain replays a history and takes no commands."""
        what = "the flights domain replays its own history and takes no commands"
        raise BadInput([Problem("[workload]", what, "leave the table out, or take the domain `employees`")])

    def trace(self, options: Options) -> Trace:
        """Return the year, or its first `days` or `records` flights; the registered entities are always complete."""
        frames = {}
        start = 1
        for file, entity in REGISTERED.items():
            frames[entity.name] = _registered(entity, DATA / f"{file}.parquet", start)
            start += frames[entity.name].height
        scale = TIME_SCALE if options.time_scale is None else options.time_scale
        frames["flight"] = _changes(_timetable(options), start, scale)
        return Trace(frames, NOTES)


def flight_key(carrier: str, number: int, origin: str, scheduled_at: int) -> str:
    """Return a flight's key. It begins with the hour of the scheduled departure (New York time), so the flights of a
    day, which change together, are neighbours in an index. Unique in 2013.
    """
    return f"{_local(scheduled_at):%Y-%m-%dT%H}-{carrier}-{number}-{origin}"


def _local(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(NEW_YORK))


def _schedule(view: View, command: Command) -> tuple[Event, ...] | Rejection:
    fields = command.fields
    wanted = {name: kind for name, kind in FLIGHT.columns.items() if name not in NOT_GIVEN}
    reasons = wrong(fields, wanted, NULLABLE)
    if reasons:
        return Rejection(reasons)
    if not 0 <= fields["scheduled_at"] < YEAR_2100:
        return Rejection(("`scheduled_at` is in seconds since 1970, and before 2100",))
    if known := view.get("flight", command.key):
        return Rejection((f"flight {command.key} is there already: it is {known.state['status']}",))
    key = flight_key(fields["carrier"], fields["number"], fields["origin"], fields["scheduled_at"])
    if key != command.key:
        reasons += (f"the key of this flight is {key}, not {command.key}",)
    for column, entity in (("carrier", "airline"), ("origin", "airport"), ("destination", "airport")):
        if view.get(entity, fields[column]) is None:
            reasons += (f"there is no {entity} {fields[column]}",)
    if fields["origin"] == fields["destination"]:
        reasons += (f"a flight from {fields['origin']} ends somewhere else",)
    month = _local(fields["scheduled_at"]).month
    state = dict.fromkeys(FLIGHT.columns) | dict(fields) | {"month": month, "status": "scheduled"}
    return Rejection(reasons) if reasons else (Event("scheduled", state),)


def _register(view: View, command: Command, entity: Entity) -> tuple[Event, ...] | Rejection:
    if command.name != "register":
        return Rejection((f"no such command: {command.name} (valid: register)",))
    reasons = wrong(command.fields, entity.columns, NULLABLE)
    if view.get(entity.name, command.key):
        reasons += (f"{entity.name} {command.key} is registered already",)
    fields = dict.fromkeys(entity.columns) | dict(command.fields)
    return Rejection(reasons) if reasons else (Event("registered", fields),)


def _registered(entity: Entity, path: Path, start: int) -> pl.DataFrame:
    """Return the entity's records, each registered once, at time 0."""
    records = pl.read_parquet(path).sort("key").with_row_index("position", offset=start)
    once = records.with_columns(revision=1, deleted=False, committed_at=0.0, event=pl.lit("registered"))
    return _typed(once, entity)


def _timetable(options: Options) -> pl.DataFrame:
    """Return a row for each flight, by scheduled departure: its columns and the instants of its events.

    `announced_at` is when it is scheduled; `departed_at` and `arrived_at` may be null. All in epoch seconds.
    """
    seconds = YEAR_2013 + 60 * pl.col("scheduled_minutes")
    local = pl.from_epoch("scheduled_at").dt.replace_time_zone("UTC").dt.convert_time_zone(NEW_YORK)
    evening = (pl.col("local").dt.date().cast(pl.Datetime("us")) - pl.duration(hours=6)).dt
    hour = pl.col("local").dt.strftime("%Y-%m-%dT%H")
    flights = pl.read_parquet(DATA / "flights.parquet").cast({pl.Int16: pl.Int64, pl.Int32: pl.Int64})
    flights = flights.with_columns(scheduled_at=seconds).with_columns(local=local)
    if options.days is not None:
        flights = flights.filter(pl.col("local").dt.ordinal_day() <= options.days)
    flights = flights.sort("scheduled_at", "carrier", "number", "origin").slice(0, options.records)
    flights = flights.with_columns(
        key=pl.format("{}-{}-{}-{}", hour, "carrier", "number", "origin"),
        month=pl.col("local").dt.month().cast(pl.Int64),
        announced_at=evening.replace_time_zone(NEW_YORK).dt.epoch("s"),
        departed_at=pl.col("scheduled_at") + 60 * pl.col("departure_delay"),
    )
    return flights.with_columns(arrived_at=pl.col("departed_at") + 60 * pl.col("elapsed_minutes"))


def _changes(flights: pl.DataFrame, start: int, scale: float) -> pl.DataFrame:
    """Return every event of every flight as a change in commit order; at the same instant, by scheduled departure."""
    departed = flights["departed_at"].is_not_null().to_numpy()
    arrived = flights["arrived_at"].is_not_null().to_numpy()
    diverted = arrived & flights["arrival_delay"].is_null().to_numpy()
    happened = (
        (SCHEDULED, np.ones(flights.height, bool), "announced_at"),
        (DEPARTED, departed, "departed_at"),
        (ARRIVED, arrived & ~diverted, "arrived_at"),
        (DIVERTED, diverted, "arrived_at"),
        (CANCELLED, ~departed, "scheduled_at"),
    )
    flight = np.concatenate([np.flatnonzero(those) for _, those, _ in happened])
    status = np.concatenate([np.full(those.sum(), code) for code, those, _ in happened])
    at = np.concatenate([flights[name].filter(pl.Series(those)).to_numpy() for _, those, name in happened])
    order = np.lexsort((flight, at))
    flight, status, at = flight[order], status[order], at[order]
    told = flights.select("key", *(name for name in FLIGHT.columns if name != "status"))

    def piece(first: int) -> pl.DataFrame:
        """So many changes from the first on."""
        some = slice(first, first + ROWS)
        words = pl.Series("status", STATUSES).gather(status[some])
        left, landed = pl.Series(status[some] >= DEPARTED), pl.Series(status[some] == ARRIVED)
        rows = told[flight[some]].with_columns(
            pl.Series("position", np.arange(start + first, start + first + words.len())),
            pl.Series("revision", REVISION[status[some]]),
            pl.Series("deleted", status[some] == CANCELLED),
            pl.Series("committed_at", (at[some] - at[:1]) / scale),
            words,
            words.alias("event"),
            pl.when(left).then("departure_delay").alias("departure_delay"),
            pl.when(landed).then("arrival_delay").alias("arrival_delay"),
            pl.when(landed).then("air_time").alias("air_time"),
        )
        return _typed(rows, FLIGHT)

    pieces = (piece(first) for first in range(0, at.size, ROWS))
    return here().frame(pieces, FLIGHT.schema | {"event": pl.String()})


def _typed(frame: pl.DataFrame, entity: Entity) -> pl.DataFrame:
    """Select the columns of a change frame in their order and types, and the event."""
    return frame.select(*(pl.col(name).cast(kind) for name, kind in entity.schema.items()), "event")


FLIGHTS = Flights()
