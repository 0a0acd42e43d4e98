"""A service whose projections are fed by streams and notifications: what they lose they read again, and rebuilds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from reachable import logical_server
from serving import Process, Served, hire, lived, until, waited, written

from lab.engines.postgres import Session
from lab.running.streaming import NotifiedFollower, StreamFollower
from lab.servers.postgres import SERVER
from lab.stores.whole import dump
from lab.truth.postgres import Postgres
from lab.truth.slots import slot_name

TEXT = """
schema = 1
name = "fed"
seed = 3
[domain]
name = "employees"
records = 40
[workload]
commands = 100
[truth]
engine = "postgres"
model = "history"
durability = "full"
[time]
mode = "live"
[catch_up]
every = 0.05
[[projection]]
name = "directory"
store = "memory"
subscribe = "catch-up"
feed = "{feed}"
"""


@pytest.fixture(scope="module", autouse=True)
def logical() -> Iterator[None]:
    """One server for all tests of this file."""
    with logical_server():
        yield


async def hired(service: Served, first: int, last: int) -> None:
    for key in range(first, last + 1):
        assert (await service.command(hire(key))).status_code == 201


async def shown(service: Served) -> list[int]:
    """The records that the projection shows, once everything is in."""
    await service.settled("directory")
    return sorted(dump(service.projections["directory"].worker.projector.store, "employee")["key"].to_list())


@pytest.mark.parametrize("feed", ["outbox", "log"])
def test_a_projection_that_lost_its_content_reads_what_it_had_acknowledged_from_the_tables(
    feed: str, tmp_path: Path
) -> None:
    made = written(tmp_path, text=TEXT.format(feed=feed))

    async def first(service: Served) -> None:
        await hired(service, 1, 5)
        assert await shown(service) == [1, 2, 3, 4, 5]
        # What comes by the stream alone is acknowledged.
        await hired(service, 6, 8)
        assert await shown(service) == list(range(1, 9))

    async def second(service: Served) -> None:
        await hired(service, 9, 10)
        assert await shown(service) == list(range(1, 11))

    lived(made, tmp_path, first)
    lived(made, tmp_path, second)


def test_a_projection_fed_by_the_log_that_is_killed_has_everything_again(tmp_path: Path) -> None:
    written(tmp_path, text=TEXT.format(feed="log"))
    with Process(str(tmp_path / "served.toml"), "--folder", str(tmp_path / "shop")) as service:

        def command(key: int) -> None:
            assert service.client.post("/commands/employee", json=hire(key)).status_code == 201

        for key in range(1, 6):
            command(key)
        waited(lambda: service.parts()["directory"]["position"] == 5)
        os.kill(service.parts()["directory"]["pid"], signal.SIGKILL)
        command(6)
        waited(lambda: (told := service.parts()["directory"])["restarts"] == 1 and told["position"] == 6)
        for key in range(1, 7):
            found = service.client.get("/projections/directory/employee", params={"key": key, "at_least": 6})
            assert [row["key"] for row in found.json()["rows"]] == [key]
        service.stop()


def test_queries_are_answered_while_a_slot_waits_for_a_transaction_that_writes(tmp_path: Path) -> None:
    made = written(tmp_path, text=TEXT.format(feed="log"))
    makes = "FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_create_logical%'"

    with SERVER.connect() as connection:
        session = Session(connection)
        session.execute("BEGIN")
        session.execute("SELECT pg_current_xact_id()")

        async def story(service: Served) -> None:
            await hired(service, 1, 1)
            # Seen in this loop while the slot waits: so the loop goes on.
            await until(lambda: asked(f"SELECT count(*) {makes}") == 1)
            assert (await service.query("directory/employee", key=1)).status_code == 200
            session.execute("ROLLBACK")
            assert await shown(service) == [1]

        lived(made, tmp_path, story)


def asked(statement: str) -> int:
    """One number from the server."""
    with SERVER.connect() as connection:
        return int(Session(connection).execute(statement).fetchone()[0])


def kept(feed: str, schema: str, place: int) -> int:
    """What the server keeps for readers: rows of the outbox, or slots that still need its log before a place."""
    if feed == "outbox":
        return asked(f"SELECT count(*) FROM {schema}.lab_outbox")
    behind = f"slot_name = '{slot_name(schema, 'directory')}' AND confirmed_flush_lsn - '0/0'::pg_lsn < {place}"
    return asked(f"SELECT count(*) FROM pg_replication_slots WHERE {behind}")


@pytest.mark.parametrize("feed", ["notify", "outbox", "log"])
def test_a_projection_that_was_rebuilt_goes_on_with_its_feed(feed: str, tmp_path: Path) -> None:
    made = written(tmp_path, text=TEXT.format(feed=feed))

    async def story(service: Served) -> None:
        projection = service.projections["directory"]
        await hired(service, 1, 5)
        await service.settled("directory")
        former = projection.worker
        assert (await service.client.post("/projections/directory/rebuild")).status_code == 202
        await hired(service, 6, 8)
        await until(lambda: not projection.rebuild.running)
        assert projection.rebuild.told()["state"] == "done", projection.rebuild.told()
        worker = projection.worker
        assert type(worker) is type(former)
        assert worker is not former
        await hired(service, 9, 12)
        assert await shown(service) == list(range(1, 13))
        if isinstance(worker, NotifiedFollower):
            assert isinstance(former, NotifiedFollower)
            await until(lambda: worker.socket is not None)
            assert former.socket is None
            return
        assert isinstance(worker, StreamFollower)
        assert worker.stream is not None
        truth = service.executor.truth
        assert isinstance(truth, Postgres)
        place = asked("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint")
        # What it has applied is acknowledged.
        await until(lambda: kept(feed, truth.on.schema, place) == 0)

    lived(made, tmp_path, story)
