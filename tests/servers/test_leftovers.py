"""What the lab makes on a server is written down first, dropped with its owner, and nothing else ever is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.base import Unavailable
from lab.engines.postgres import Session
from lab.place import IDENTITY, FolderPlace
from lab.servers.ledger import NAMED, Ledger
from lab.servers.place import ServerPlace
from lab.servers.postgres_ledger import OWNERS
from lab.servers.sql import SqlServer

# Another owner, whose process then waits for its end. Told to be `kept`, the folder says whose it is.
OTHER = """
import sys, time
from importlib import import_module
from pathlib import Path
from lab.place import IDENTITY, FolderPlace
folder, how, module, name = Path(sys.argv[1]), *sys.argv[2:]
folder.mkdir()
if how == "kept":
    (folder / IDENTITY).write_text("{}")
print(getattr(import_module(module), name).of(FolderPlace(folder)).claim(), flush=True)
if how == "waits" or how == "kept":
    time.sleep(120)
"""


@dataclass(frozen=True)
class Kind:
    """One kind of server of SQL, and how these tests look at it."""

    name: str
    place: type[ServerPlace]
    server: SqlServer[Any]
    there: str
    # Makes a table of more than 100,000 bytes in a schema.
    fill: str
    # Ends the session that holds an owner's lock.
    lost: Callable[[Any, int], None]

    @property
    def ledger(self) -> Ledger[Any]:
        return self.server.book

    def of(self, folder: Path) -> ServerPlace:
        return self.place.of(FolderPlace(folder))

    def exists(self, session: Any, name: str) -> bool:
        return bool(session.execute(self.there, (name,)).fetchone()[0])

    def written(self, session: Any, name: str) -> bool:
        return any(line.name == name for line in self.ledger.lines(session))

    def other(self, folder: Path, how: str) -> tuple[subprocess.Popen[str], str]:
        """Start another owner; its process and its schema."""
        environment = {name: value for name, value in os.environ.items() if name != self.ledger.variable}
        what = [self.place.__module__, self.place.__name__]
        command = [sys.executable, "-c", OTHER, str(folder), how, *what]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()


def postgres() -> Kind:
    from lab.servers.postgres import SERVER
    from lab.servers.postgres_place import PostgresPlace

    def lost(session: Session, number: int) -> None:
        lock = "locktype = 'advisory' AND granted AND classid::bigint = ? AND objid::bigint = ?"
        found = session.execute(f"SELECT pid FROM pg_locks WHERE {lock}", (OWNERS, number)).fetchall()
        assert len(found) == 1
        session.execute("SELECT pg_terminate_backend(?::integer, 5000)", found[0])

    fill = "CREATE TABLE {}.mine AS SELECT generate_series(1, 10000)"
    return Kind("postgres", PostgresPlace, SERVER, "SELECT to_regnamespace(?) IS NOT NULL", fill, lost)


def mariadb() -> Kind:
    from lab.servers.mariadb import SERVER
    from lab.servers.mariadb_place import MariadbPlace

    def lost(session: Any, number: int) -> None:
        (holder,) = session.execute("SELECT IS_USED_LOCK(?)", (f"lab_owner_{number}",)).fetchone()
        session.execute(f"KILL {holder}")

    there = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?"
    counted = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 1000)"
    fill = f"CREATE TABLE {{}}.mine AS {counted} SELECT n, REPEAT('x', 200) FROM t"
    return Kind("mariadb", MariadbPlace, SERVER, there, fill, lost)


@pytest.fixture(params=[pytest.param(one, marks=pytest.mark.server(one.__name__)) for one in (postgres, mariadb)])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param()
    return found


@pytest.fixture
def session(kind: Kind) -> Iterator[Any]:
    with kind.ledger.session() as found:
        yield found


def ended(process: subprocess.Popen[str], how: int | None = None) -> None:
    if how is not None:
        process.send_signal(how)
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()


def test_a_place_is_a_schema_that_is_written_down(kind: Kind, session: Any, tmp_path: Path) -> None:
    place = kind.of(tmp_path / "My store")
    assert place.named == ""
    assert place.size_bytes() == 0
    name = place.claim()
    assert place.claim() == name == place.named
    assert name.startswith("lab_my_store_0_")
    assert kind.exists(session, name)
    assert kind.written(session, name)
    session.execute(kind.fill.format(name))
    assert place.size_bytes() > 100_000
    assert place.within_reach()
    assert name in place.shown()
    place.drop()
    place.drop()
    assert not kind.exists(session, name)
    assert not kind.written(session, name)
    assert not (tmp_path / "My store").exists()


def test_generations_are_schemas_beside_and_a_swap_drops_the_former(kind: Kind, session: Any, tmp_path: Path) -> None:
    first = kind.of(tmp_path / "store")
    names = [first.claim()]
    second = first.beside()
    names.append(second.claim())
    assert len(set(names)) == 2
    assert first.current.named == names[0]
    first.swap(second)
    assert first.current.named == names[1]
    assert [kind.exists(session, name) for name in names] == [False, True]
    aside = second.put_aside("it is damaged")
    assert kind.exists(session, names[1])
    (line,) = [line for line in kind.ledger.lines(session) if line.name == names[1]]
    assert line.folder == str(tmp_path / aside)
    first.erase()
    assert not kind.exists(session, names[1])


def test_a_schema_that_is_gone_is_made_anew(kind: Kind, session: Any, tmp_path: Path) -> None:
    place = kind.of(tmp_path / "store")
    former = place.claim()
    kind.ledger.remove(session, kind.place.kind, former)
    assert place.claim() != former
    place.drop()


def test_what_a_killed_process_left_is_dropped_and_what_a_living_one_has_is_not(
    kind: Kind, session: Any, tmp_path: Path
) -> None:
    living, mine = kind.other(tmp_path / "living", "waits")
    killed, left = kind.other(tmp_path / "killed", "waits")
    try:
        ended(killed, signal.SIGKILL)
        # Its session ends a moment after the process.
        gone = [name for _ in range(100) for name in kind.server.clean() if not kind.exists(session, left)]
        assert left in gone or not kind.exists(session, left)
        assert not kind.written(session, left)
        assert kind.exists(session, mine)
        assert kind.written(session, mine)
    finally:
        ended(living, signal.SIGKILL)


def test_a_process_that_ends_by_itself_leaves_nothing(kind: Kind, session: Any, tmp_path: Path) -> None:
    process, name = kind.other(tmp_path / "store", "ends")
    ended(process)
    assert not kind.exists(session, name)
    assert not kind.written(session, name)


def test_what_a_kept_folder_names_stays_until_the_folder_is_gone(kind: Kind, session: Any, tmp_path: Path) -> None:
    place = kind.of(tmp_path / "store")
    process, name = kind.other(place.folder, "kept")
    ended(process, signal.SIGKILL)
    for _ in range(3):
        kind.server.clean()
    assert kind.exists(session, name)
    assert place.claim() == name
    # Renamed with its folder and used there, it goes on.
    renamed = place.folder.rename(tmp_path / "renamed")
    place = kind.of(renamed)
    assert place.claim() == name
    assert {line.folder for line in kind.ledger.lines(session) if line.name == name} == {str(renamed)}
    for _ in range(3):
        kind.server.clean()
    assert kind.exists(session, name)
    # Once the folder is gone, so is the schema: by the next process, since this one owns it now.
    kind.ledger.note(session, kind.place.kind, name, 1, place.folder, True)
    (place.folder / IDENTITY).unlink()
    (place.folder / NAMED).unlink()
    place.folder.rmdir()
    for _ in range(100):
        kind.server.clean()
        if not kind.exists(session, name):
            break
    assert not kind.exists(session, name)


def test_nothing_is_dropped_that_is_not_written_down(kind: Kind, session: Any) -> None:
    name = f"lab_of_a_user_{os.getpid()}"
    session.execute(f"CREATE SCHEMA {name}")
    try:
        assert name not in kind.server.clean()
        assert kind.exists(session, name)
    finally:
        session.execute(f"DROP SCHEMA {name}")


def test_only_what_belongs_to_a_folder_is_forgotten_with_it(kind: Kind, session: Any, tmp_path: Path) -> None:
    inside, beside = (kind.of(tmp_path / name / "store") for name in ("run", "run-2"))
    one, two = inside.claim(), beside.claim()
    kind.server.forget(tmp_path / "run")
    assert (kind.exists(session, one), kind.exists(session, two)) == (False, True)
    beside.drop()


def test_an_owner_whose_session_was_lost_takes_its_lock_again(kind: Kind, session: Any, tmp_path: Path) -> None:
    place = kind.of(tmp_path / "store")
    name, number = place.claim(), kind.ledger.owner()
    kind.lost(session, number)
    assert kind.ledger.owner() == number
    assert name not in kind.server.clean()
    place.drop()


def test_threads_that_find_it_lost_at_the_same_time_take_it_once(kind: Kind, session: Any, tmp_path: Path) -> None:
    place = kind.of(tmp_path / "store")
    place.claim()
    number = kind.ledger.owner()
    kind.lost(session, number)
    with ThreadPoolExecutor(8) as threads:
        found = [threads.submit(kind.ledger.owner) for _ in range(32)]
    assert {each.result() for each in found} == {number}
    place.drop()


def test_a_server_that_is_away_is_told_and_a_folder_goes_without_it(
    kind: Kind, session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = kind.of(tmp_path / "store")
    name = place.claim()
    with monkeypatch.context() as away:
        away.setenv(
            kind.server.variable, {"postgres": "postgresql"}.get(kind.name, kind.name) + "://nobody@127.0.0.1:1/"
        )
        assert not place.within_reach()
        with pytest.raises(Unavailable, match="Connection refused"):
            place.claim()
        place.drop()
        assert not place.folder.exists()
    kind.server.forget(tmp_path)
    assert not kind.exists(session, name)
