"""A service whose projections are fed by MariaDB's log: killed, rebuilt, and left behind by a log that was purged."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from serving import Process, Served, hire, lived, until, waited, written
from streamed import own_server
from test_streams_served import TEXT, hired, shown

from lab.engines.mariadb import MariadbSession
from lab.feed.mariadb_streams import BinlogFeed
from lab.running.streaming import StreamFollower
from lab.servers.mariadb import SERVER
from lab.service.mending import Origin, ProjectionHome
from lab.truth.binlog import BinlogGone
from lab.truth.timeline import Diverged
from lab.wiring import Plan

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
            assert waited(lambda key=key: found(service, key, last)) == [key]

    def found(service: Process, key: int, last: int) -> list[int] | None:
        """The keys of the rows; None while it can't be told, since the projection is started or built anew."""
        reply = service.client.get("/projections/directory/employee", params={"key": key, "at_least": last})
        assert reply.status_code in (200, 503, 504), reply.text
        return [row["key"] for row in reply.json()["rows"]] if reply.status_code == 200 else None

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


def fed_on_disk(folder: Path) -> Plan:
    """The plan of a projection that has kept five records and its place in the log."""
    text = MARIADB.format(feed="log").replace('store = "memory"', 'store = "sqlite.table"')
    made = written(folder, text=text)

    async def story(service: Served) -> None:
        await hired(service, 1, 5)
        assert await shown(service) == [1, 2, 3, 4, 5]

    lived(made, folder, story)
    return made


def delayed(patch: pytest.MonkeyPatch) -> threading.Event:
    """Have each connection to the log wait until the event is set."""
    event, opened = threading.Event(), BinlogFeed.open

    def late(self: BinlogFeed, checkpoints: Mapping[str, int]) -> bool:
        assert event.wait(60)
        return opened(self, checkpoints)

    patch.setattr(BinlogFeed, "open", late)
    return event


def test_readers_of_a_projection_that_is_built_anew_get_what_they_asked_for_or_are_told_that_it_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fed_on_disk(tmp_path)
    purged()

    async def until_found(service: Served) -> None:
        # What it has is what it had read: the position is true.
        kept = await service.query("directory/employee", key=5, at_least=5)
        assert (kept.status_code, [row["key"] for row in kept.json()["rows"]]) == (200, [5])
        assert (kept.json()["position"], kept.json()["age_seconds"]) == (5, None)
        gate.set()
        await until(lambda: bool(service.projections["directory"].unfit), 60)
        refused = await service.query("directory/employee", key=5)
        assert refused.status_code == 503
        assert "the projection is built anew: its place in the server's log" in refused.json()["detail"]

    async def anew(service: Served) -> None:
        begun = await service.query("directory/employee", key=5)
        assert (begun.status_code, begun.json()["rows"], begun.json()["position"]) == (200, [], 0)
        late = await service.query("directory/employee", key=5, at_least=5, timeout=0)
        assert (late.status_code, late.json()["position"]) == (504, 0)
        gate.set()
        built = await service.query("directory/employee", key=5, at_least=5, timeout=50)
        assert (built.status_code, [row["key"] for row in built.json()["rows"]]) == (200, [5])

    with monkeypatch.context() as patch:
        gate = delayed(patch)
        with pytest.raises(BinlogGone):
            lived(made, tmp_path, until_found)
    ProjectionHome(made, made.projections[0], tmp_path, print).set_aside("its place is gone")
    gate = delayed(monkeypatch)
    lived(made, tmp_path, anew)


def test_what_was_read_from_another_history_is_refused_before_the_log_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fed_on_disk(tmp_path)
    home = ProjectionHome(made, made.projections[0], tmp_path, print)
    home.record(home.place.current, Origin("of another", begun=True))
    gate = delayed(monkeypatch)

    async def story(service: Served) -> None:
        await until(lambda: bool(service.projections["directory"].unfit), 60)
        assert (await service.query("directory/employee", key=5)).status_code == 503

    try:
        with pytest.raises(Diverged, match="another one"):
            lived(made, tmp_path, story)
    finally:
        gate.set()


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
