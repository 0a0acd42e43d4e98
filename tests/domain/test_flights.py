"""`flights`: the history that the domain ships is what its README says, and its decider keeps the order.

The year's trace is made once for the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from lab.base import BadInput, Key
from lab.domain.flights import DATA, FLIGHTS, flight_key
from lab.domain.model import Command, Domain, Event, Options, Record, Rejection, Trace
from lab.queries.kinds import KINDS
from lab.queries.resolve import resolve
from lab.scenario import QueryTable

BYTES_MAX = 5_000_000
# The run's clock starts when the flights of 1 January are scheduled: 18:00 in New York the evening before.
START = datetime(2012, 12, 31, 23, 0, tzinfo=UTC).timestamp()
UA_1545 = "2013-01-01T05-UA-1545-EWR"


@pytest.fixture(scope="module")
def year() -> Trace:
    return FLIGHTS.trace(Options())


@pytest.fixture(scope="module")
def flights(year: Trace) -> pl.DataFrame:
    return year.frames["flight"]


@pytest.fixture(scope="module")
def lives(flights: pl.DataFrame) -> pl.DataFrame:
    """For each flight, in the order of position: its events, its revisions, and when they were committed."""
    events = pl.col("event").cast(pl.Categorical)
    return flights.sort("position").group_by("key").agg(events, "revision", "committed_at")


@pytest.fixture(scope="module")
def week() -> Trace:
    return FLIGHTS.trace(Options(days=7))


def instants(flights: pl.DataFrame, key: str) -> dict[str, str]:
    """When each event of a flight was committed, in UTC to the minute."""
    rows = flights.filter(pl.col("key") == key).select("event", "committed_at").rows()
    times = {event: START + round(at * 86_400) for event, at in rows}
    return {event: datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M") for event, at in times.items()}


# The data


def test_the_whole_data_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < BYTES_MAX


def test_counts_are_those_of_the_data_set(year: Trace, flights: pl.DataFrame) -> None:
    assert dict(flights["event"].value_counts().iter_rows()) == {
        "scheduled": 336_776,
        "departed": 328_521,
        "arrived": 327_346,
        "diverted": 717,
        "cancelled": 8_255,
    }
    heights = {name: frame.height for name, frame in year.frames.items() if name != "flight"}
    assert heights == {"airline": 16, "airport": 1_458 + 4, "plane": 3_322}
    assert year.changes == 1_006_415


def test_flights_by_origin_and_by_carrier_are_those_of_the_data_set(flights: pl.DataFrame) -> None:
    scheduled = flights.filter(event="scheduled")
    assert dict(scheduled["origin"].value_counts().iter_rows()) == {
        "EWR": 120_835,
        "JFK": 111_279,
        "LGA": 104_662,
    }
    carriers = dict(scheduled["carrier"].value_counts().iter_rows())
    assert (carriers["UA"], carriers["B6"], carriers["OO"]) == (58_665, 54_635, 32)


def test_mean_delays_are_those_of_the_data_set(flights: pl.DataFrame) -> None:
    assert flights.filter(event="departed")["departure_delay"].mean() == pytest.approx(12.63907, abs=1e-5)
    assert flights.filter(event="arrived")["arrival_delay"].mean() == pytest.approx(6.895377, abs=1e-6)


def test_a_key_belongs_to_one_flight_and_says_when_it_leaves(flights: pl.DataFrame) -> None:
    scheduled = flights.filter(event="scheduled")
    assert scheduled["key"].n_unique() == scheduled.height == 336_776
    sample = scheduled.gather_every(997).select("key", "carrier", "number", "origin", "scheduled_at", "month")
    for key, carrier, number, origin, scheduled_at, month in sample.iter_rows():
        assert key == flight_key(carrier, number, origin, scheduled_at)
        assert int(key.split("-")[1]) == month


def test_every_flight_refers_to_an_airline_and_to_airports_that_are_there(year: Trace, flights: pl.DataFrame) -> None:
    airports = set(year.frames["airport"]["key"])
    assert set(flights["carrier"]) == set(year.frames["airline"]["key"])
    assert set(flights["origin"]) | set(flights["destination"]) <= airports
    zones = dict(year.frames["airport"].select("key", "time_zone").iter_rows())
    assert all(zones[airport] for airport in flights["destination"].unique())


# The history


def test_positions_run_from_1_without_a_gap_and_time_never_falls(year: Trace) -> None:
    columns = ["position", "committed_at"]
    changes = pl.concat([frame.select(columns) for frame in year.frames.values()]).sort("position")
    assert (changes["position"].to_numpy() == np.arange(1, year.changes + 1)).all()
    assert changes["committed_at"].is_sorted()
    assert changes["committed_at"][0] == 0.0
    assert year.frames["flight"]["position"].is_sorted()


def test_frames_have_the_columns_of_their_entity_then_the_event(year: Trace) -> None:
    assert set(year.frames) == set(FLIGHTS.entities)
    for name, frame in year.frames.items():
        assert dict(frame.schema) == {**FLIGHTS.entities[name].schema, "event": pl.String()}
        assert list(frame.columns) == [*FLIGHTS.entities[name].schema, "event"]
        assert set(frame["event"]) <= set(FLIGHTS.events[name])


def test_airlines_airports_and_planes_come_first_at_time_0(year: Trace, flights: pl.DataFrame) -> None:
    for name in ("airline", "airport", "plane"):
        frame = year.frames[name]
        assert frame["key"].is_unique().all()
        assert set(frame["committed_at"]) == {0.0}
        assert set(frame["event"]) == {"registered"}
        assert frame["position"].max() < flights["position"].min()  # type: ignore[operator]


def test_the_revisions_of_a_flight_run_from_1_and_its_time_strictly_rises(lives: pl.DataFrame) -> None:
    assert lives.height == 336_776
    assert {tuple(revisions) for revisions in lives["revision"].unique()} == {(1, 2), (1, 2, 3)}
    assert (lives["committed_at"].list.diff().explode().drop_nulls() > 0).all()


def test_events_of_a_flight_come_in_one_of_four_orders(lives: pl.DataFrame) -> None:
    orders = lives["event"].value_counts()
    assert {tuple(events): count for events, count in orders.iter_rows()} == {
        ("scheduled", "departed", "arrived"): 327_346,
        ("scheduled", "departed", "diverted"): 717,
        ("scheduled", "departed"): 458,
        ("scheduled", "cancelled"): 8_255,
    }


def test_states_are_the_fold_of_what_each_event_sets(week: Trace) -> None:
    for name, frame in week.frames.items():
        columns = list(FLIGHTS.entities[name].columns)
        states: dict[Key, dict[str, Any]] = {}
        for row in frame.sort("position").iter_rows(named=True):
            event = FLIGHTS.events[name][row["event"]]
            if row["key"] not in states:
                assert set(event.sets) == set(columns)
            fields = {column: row[column] for column in event.sets}
            states[row["key"]] = FLIGHTS.evolve(states.get(row["key"]), Event(row["event"], fields))
            assert states[row["key"]] == {column: row[column] for column in columns}
            assert row["deleted"] == event.deletes


def test_a_scheduled_flight_knows_nothing_of_what_comes(flights: pl.DataFrame) -> None:
    scheduled = flights.filter(event="scheduled")
    assert set(scheduled["status"]) == {"scheduled"}
    assert scheduled.select("departure_delay", "arrival_delay", "air_time").null_count().row(0) == (336_776,) * 3
    assert flights.filter(event="departed")["arrival_delay"].null_count() == 328_521


# The clock


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param(
            UA_1545,
            {"scheduled": "2012-12-31T23:00", "departed": "2013-01-01T10:17", "arrived": "2013-01-01T14:30"},
            id="05:17 EST to 08:30 CST",
        ),
        pytest.param(
            "2013-01-01T09-HA-51-JFK",
            {"scheduled": "2012-12-31T23:00", "departed": "2013-01-01T13:57", "arrived": "2013-01-02T01:16"},
            id="08:57 EST to 15:16 in Honolulu, the next day in UTC",
        ),
        pytest.param(
            "2013-03-10T07-DL-763-JFK",
            {"scheduled": "2013-03-09T23:00", "departed": "2013-03-10T11:05", "arrived": "2013-03-10T16:50"},
            id="scheduled in winter time, 07:05 EDT to 09:50 PDT",
        ),
        pytest.param(
            "2013-03-09T21-B6-35-JFK",
            {"scheduled": "2013-03-08T23:00", "departed": "2013-03-10T04:06", "arrived": "2013-03-10T07:03"},
            id="23:06 EST to 02:03, an hour that was skipped, so still EST",
        ),
    ],
)
def test_flights_checked_by_hand(flights: pl.DataFrame, key: str, expected: Mapping[str, str]) -> None:
    assert instants(flights, key) == expected


def test_a_cancelled_flight_is_a_tombstone_at_its_scheduled_departure(flights: pl.DataFrame) -> None:
    cancelled = flights.filter(event="cancelled")
    assert flights["deleted"].sum() == cancelled["deleted"].sum() == 8_255
    at = START + cancelled["committed_at"].to_numpy() * 86_400
    assert np.abs(at - cancelled["scheduled_at"].to_numpy()).max() < 0.001


def test_departures_are_the_scheduled_time_plus_the_delay(flights: pl.DataFrame) -> None:
    departed = flights.filter(event="departed")
    at = START + departed["committed_at"].to_numpy() * 86_400
    planned = (departed["scheduled_at"] + 60 * departed["departure_delay"]).to_numpy()
    assert np.abs(at - planned).max() < 0.001


def test_each_day_is_scheduled_in_one_burst(flights: pl.DataFrame) -> None:
    day = pl.col("key").str.slice(0, 10)
    bursts = flights.filter(event="scheduled").group_by(day).agg(pl.col("committed_at").n_unique())
    assert bursts.height == 365
    assert set(bursts["committed_at"]) == {1}


def test_the_time_scale_stretches_the_clock_and_nothing_else(week: Trace) -> None:
    hourly = FLIGHTS.trace(Options(days=7, time_scale=3_600.0)).frames["flight"]
    daily = week.frames["flight"]
    assert hourly.drop("committed_at").equals(daily.drop("committed_at"))
    assert np.allclose(hourly["committed_at"].to_numpy(), 24 * daily["committed_at"].to_numpy())


# Options


def test_days_are_the_first_days_of_departure(year: Trace) -> None:
    day = FLIGHTS.trace(Options(days=1))
    flight = day.frames["flight"]
    assert flight["key"].n_unique() == 842
    assert set(flight["key"].str.slice(0, 10)) == {"2013-01-01"}
    assert all(day.frames[name].equals(year.frames[name]) for name in ("airline", "airport", "plane"))


def test_records_are_the_first_flights_with_all_their_changes(week: Trace) -> None:
    ten = FLIGHTS.trace(Options(records=10)).frames["flight"]
    assert ten["key"].n_unique() == 10
    assert ten.height > 20
    scheduled = week.frames["flight"].filter(event="scheduled").sort("position")
    assert ten.filter(event="scheduled")["key"].to_list() == scheduled["key"].head(10).to_list()


def test_a_trace_without_flights_has_the_registered_records_only() -> None:
    trace = FLIGHTS.trace(Options(days=0))
    assert trace.frames["flight"].height == 0
    assert trace.changes == 16 + 1_462 + 3_322


def test_a_trace_is_the_same_each_time(week: Trace) -> None:
    again = FLIGHTS.trace(Options(days=7))
    assert all(frame.equals(again.frames[name]) for name, frame in week.frames.items())


def test_assumptions_are_told(year: Trace) -> None:
    assert any("18:00" in note for note in year.notes)
    assert any("cancelled at its scheduled departure" in note for note in year.notes)


# The domain


def test_it_is_a_domain_with_a_trace_and_without_a_workload() -> None:
    domain: Domain = FLIGHTS
    assert domain.has_trace
    with pytest.raises(BadInput, match="replays its own history and takes no commands"):
        domain.workload(Options(commands=10), np.random.default_rng(1))


def test_every_query_resolves_and_the_totals_answer_theirs() -> None:
    queries = {}
    for table in FLIGHTS.queries:
        query, problems = resolve(QueryTable(**table), dict(FLIGHTS.entities), "flights")
        assert problems == []
        assert query is not None
        queries[query.name] = query
    assert {query.kind for query in queries.values()} >= {"get", "get_many", "filter", "aggregate", "join"}
    name = "delays_by_carrier_and_month"
    assert KINDS["aggregate"].answered_from(queries[name], "totals", ["flight"], FLIGHTS.totals[name])


# The decider


class Shelf:
    """A view of records that are there already."""

    def __init__(self, records: Mapping[tuple[str, Key], Record]) -> None:
        self.records = records

    def get(self, entity: str, key: Key) -> Record | None:
        return self.records.get((entity, key))


SCHEDULE: dict[str, Any] = {
    "carrier": "UA",
    "number": 1545,
    "origin": "EWR",
    "destination": "IAH",
    "tail": "N14228",
    "scheduled_at": int(datetime(2013, 1, 1, 10, 15, tzinfo=UTC).timestamp()),
    "distance": 1_400,
}


def shelf(status: str | None = None) -> Shelf:
    """The airline and the airports of UA 1545, and the flight itself if it has a status."""
    there: set[tuple[str, Key]] = {("airline", "UA"), ("airport", "EWR"), ("airport", "IAH")}
    records = {place: Record({"name": place[1]}, 1) for place in there}
    if status:
        records["flight", UA_1545] = Record({**SCHEDULE, "status": status}, 1, deleted=status == "cancelled")
    return Shelf(records)


def decide(view: Shelf, name: str, fields: Mapping[str, Any] | None = None, key: str = UA_1545) -> Any:
    return FLIGHTS.decide(view, Command("flight", name, key, fields or {}))


def test_commands_make_the_history_that_the_trace_has(flights: pl.DataFrame) -> None:
    commands: list[tuple[str, dict[str, Any]]] = [
        ("schedule", SCHEDULE),
        ("depart", {"departure_delay": 2}),
        ("arrive", {"arrival_delay": 11, "air_time": 227}),
    ]
    view = shelf()
    records = dict(view.records)
    rows = flights.filter(key=UA_1545).sort("position").iter_rows(named=True)
    for (name, fields), row in zip(commands, rows, strict=True):
        (event,) = decide(Shelf(records), name, fields)
        assert event.name == row["event"]
        assert set(event.fields) == set(FLIGHTS.events["flight"][event.name].sets)
        known = records.get(("flight", UA_1545))
        state = FLIGHTS.evolve(known.state if known else None, event)
        assert state == {column: row[column] for column in FLIGHTS.entities["flight"].columns}
        records["flight", UA_1545] = Record(state, row["revision"])


@pytest.mark.parametrize(("name", "before"), [("cancel", "scheduled"), ("divert", "departed")])
def test_a_flight_can_be_cancelled_or_diverted(name: str, before: str) -> None:
    (event,) = decide(shelf(before), name)
    assert event.fields == {"status": event.name}


@pytest.mark.parametrize(
    ("status", "name", "fields", "reason"),
    [
        (None, "depart", {"departure_delay": 2}, "there is no flight"),
        ("cancelled", "depart", {"departure_delay": 2}, "is cancelled"),
        ("departed", "depart", {"departure_delay": 2}, "is departed"),
        ("scheduled", "depart", {}, "`departure_delay` is needed"),
        ("scheduled", "depart", {"departure_delay": "two"}, "`departure_delay` is int"),
        ("scheduled", "depart", {"departure_delay": 2, "gate": "A1"}, "no field `gate`"),
        (
            "scheduled",
            "arrive",
            {"arrival_delay": 1, "air_time": 200},
            "only one that is departed can arrive",
        ),
        ("arrived", "arrive", {"arrival_delay": 1, "air_time": 200}, "is arrived"),
        ("scheduled", "divert", {}, "only one that is departed can divert"),
        ("departed", "cancel", {}, "only one that is scheduled can cancel"),
        ("cancelled", "cancel", {}, "is cancelled"),
        ("scheduled", "schedule", SCHEDULE, "is there already"),
        ("cancelled", "schedule", SCHEDULE, "is there already"),
        (None, "schedule", {**SCHEDULE, "carrier": "ZZ"}, "there is no airline ZZ"),
        (None, "schedule", {**SCHEDULE, "origin": "XXX"}, "there is no airport XXX"),
        (None, "schedule", {**SCHEDULE, "destination": "YYY"}, "there is no airport YYY"),
        (None, "schedule", {**SCHEDULE, "destination": "EWR"}, "ends somewhere else"),
        (None, "schedule", {**SCHEDULE, "number": 1546}, "the key of this flight is 2013-01-01T05-UA-1546"),
        (None, "schedule", {**SCHEDULE, "number": True}, "`number` is int"),
        (None, "schedule", {**SCHEDULE, "scheduled_at": 10**15}, "before 2100"),
        (None, "schedule", {**SCHEDULE, "departure_delay": 2}, "no field `departure_delay`"),
        ("scheduled", "departs", {}, "did you mean `depart`?"),
    ],
)
def test_what_can_not_be_is_refused_with_a_reason(
    status: str | None, name: str, fields: dict[str, Any], reason: str
) -> None:
    refused = decide(shelf(status), name, fields)
    assert isinstance(refused, Rejection)
    assert reason in " / ".join(refused.reasons)


def test_every_reason_is_told_at_once() -> None:
    refused = decide(shelf(), "schedule", {**SCHEDULE, "carrier": "ZZ", "destination": "YYY"})
    assert len(refused.reasons) == 3  # the airline, the airport, and a key that is another flight's


def test_records_are_registered_once() -> None:
    accepted = FLIGHTS.decide(Shelf({}), Command("airline", "register", "ZZ", {"name": "Zeppelin"}))
    assert accepted == (Event("registered", {"name": "Zeppelin"}),)
    for command, reason in (
        (Command("airline", "register", "UA", {"name": "United"}), "registered already"),
        (Command("airline", "register", "ZZ", {}), "`name` is needed"),
        (Command("airline", "schedule", "ZZ", {}), "no such command"),
        (Command("airlines", "register", "ZZ", {}), "did you mean `airline`?"),
    ):
        refused = FLIGHTS.decide(shelf(), command)
        assert isinstance(refused, Rejection)
        assert reason in " / ".join(refused.reasons)
