"""A service whose projections are fed by MariaDB's log: killed, rebuilt, and left behind by a log that was purged."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Process, Served, hire, lived, until, waited, written
from streamed import own_server
from test_streams_served import TEXT, hired, shown

from lab.engines.mariadb import MariadbSession
from lab.running.streaming import StreamFollower
from lab.servers.mariadb import SERVER

pytestmark = pytest.mark.server("mariadb")
MARIADB = TEXT.replace('engine = "postgres"', 'engine = "mariadb"').replace(
    "every = 0.05", "every = 0.05\ngap_limit = 0.3"
)


@pytest.fixture(scope="module", autouse=True)
def own() -> Iterator[None]:
    """One server for all tests of this file."""
    with own_server("mariadb"):
        yield


def purged() -> None:
    """Begin a new file of the log, and purge all before it."""
    session: MariadbSession = SERVER.connect()
    session.execute("FLUSH BINARY LOGS")
    last = session.execute("SHOW MASTER STATUS").fetchone()[0]
    ends = time.monotonic() + 20
    while len(session.execute("SHOW BINARY LOGS").fetchall()) > 1:
        session.execute(f"PURGE BINARY LOGS TO '{last}'")
        assert time.monotonic() < ends
        time.sleep(0.02)
    session.close()


@pytest.mark.parametrize("feed", ["outbox", "log"])
def test_a_projection_that_lost_its_content_reads_what_it_had_acknowledged_from_the_tables(
    feed: str, tmp_path: Path
) -> None:
    made = written(tmp_path, text=MARIADB.format(feed=feed))

    async def first(service: Served) -> None:
        await hired(service, 1, 5)
        assert await shown(service) == [1, 2, 3, 4, 5]
        await hired(service, 6, 8)
        assert await shown(service) == list(range(1, 9))

    async def second(service: Served) -> None:
        await hired(service, 9, 10)
        assert await shown(service) == list(range(1, 11))

    lived(made, tmp_path, first)
    lived(made, tmp_path, second)


def test_a_projection_that_is_killed_has_everything_again_and_one_whose_place_was_purged_is_built_anew(
    tmp_path: Path,
) -> None:
    text = MARIADB.format(feed="log").replace('store = "memory"', 'store = "sqlite.table"')
    written(tmp_path, text=text)
    arguments = (str(tmp_path / "served.toml"), "--folder", str(tmp_path / "shop"))

    def all_in(service: Process, last: int) -> None:
        waited(lambda: service.parts()["directory"]["position"] == last)
        for key in range(1, last + 1):
            found = service.client.get("/projections/directory/employee", params={"key": key, "at_least": last})
            assert [row["key"] for row in found.json()["rows"]] == [key]

    with Process(*arguments) as service:

        def command(key: int) -> None:
            assert service.client.post("/commands/employee", json=hire(key)).status_code == 201

        for key in range(1, 6):
            command(key)
        all_in(service, 5)
        os.kill(service.parts()["directory"]["pid"], signal.SIGKILL)
        command(6)
        waited(lambda: service.parts()["directory"]["restarts"] == 1)
        all_in(service, 6)
        service.stop()
    purged()
    with Process(*arguments) as service:
        all_in(service, 6)
        command(7)
        all_in(service, 7)
        _, said = service.stop()
    assert len([line for line in said.splitlines() if "its place in the server's log" in line]) == 1, said


def test_a_projection_that_was_rebuilt_goes_on_with_the_log(tmp_path: Path) -> None:
    made = written(tmp_path, text=MARIADB.format(feed="log"))

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
        assert worker is not former
        assert isinstance(worker, StreamFollower)
        await hired(service, 9, 12)
        assert await shown(service) == list(range(1, 13))
        await until(lambda: worker.stream is not None and worker.stream.opened)

    lived(made, tmp_path, story)
