"""What the lab makes on a server is written down first, dropped with its owner, and nothing else ever is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.base import Unavailable
from lab.engines.postgres import Session
from lab.place import IDENTITY, FolderPlace
from lab.servers.ledger import NAMED
from lab.servers.postgres import LEDGER, SERVER
from lab.servers.postgres_ledger import OWNERS
from lab.servers.postgres_place import PostgresPlace

pytestmark = pytest.mark.server("postgres")

# Another owner, whose process then waits for its end. Told to be `kept`, the folder says whose it is.
OTHER = """
import sys, time
from pathlib import Path
from lab.place import IDENTITY, FolderPlace
from lab.servers.postgres_place import PostgresPlace
folder, how = Path(sys.argv[1]), sys.argv[2]
folder.mkdir()
if how == "kept":
    (folder / IDENTITY).write_text("{}")
print(PostgresPlace.of(FolderPlace(folder)).claim(), flush=True)
if how == "waits" or how == "kept":
    time.sleep(120)
"""


@pytest.fixture
def session() -> Iterator[Session]:
    with SERVER.connect() as connection:
        yield Session(connection)


def there(session: Session, schema: str) -> bool:
    return bool(session.execute("SELECT to_regnamespace(?) IS NOT NULL", (schema,)).fetchone()[0])


def written(session: Session, schema: str) -> bool:
    return any(line.name == schema for line in LEDGER.lines(session))


def other(folder: Path, how: str) -> tuple[subprocess.Popen[str], str]:
    """Start another owner; its process and its schema."""
    environment = {name: value for name, value in os.environ.items() if name != LEDGER.variable}
    command = [sys.executable, "-c", OTHER, str(folder), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ended(process: subprocess.Popen[str], how: int | None = None) -> None:
    if how is not None:
        process.send_signal(how)
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()


def test_a_place_is_a_schema_that_is_written_down(session: Session, tmp_path: Path) -> None:
    place = PostgresPlace.of(FolderPlace(tmp_path / "My store"))
    assert place.named == ""
    assert place.size_bytes() == 0
    name = place.claim()
    assert place.claim() == name == place.named
    assert name.startswith("lab_my_store_0_")
    assert there(session, name)
    assert written(session, name)
    session.execute(f"CREATE TABLE {name}.mine AS SELECT generate_series(1, 10000)")
    assert place.size_bytes() > 100_000
    assert place.within_reach()
    assert name in place.shown()
    place.drop()
    place.drop()
    assert not there(session, name)
    assert not written(session, name)
    assert not (tmp_path / "My store").exists()


def test_generations_are_schemas_beside_and_a_swap_drops_the_former(session: Session, tmp_path: Path) -> None:
    first = PostgresPlace.of(FolderPlace(tmp_path / "store"))
    names = [first.claim()]
    second = first.beside()
    names.append(second.claim())
    assert len(set(names)) == 2
    assert first.current.named == names[0]
    first.swap(second)
    assert first.current.named == names[1]
    assert [there(session, name) for name in names] == [False, True]
    aside = second.put_aside("it is damaged")
    assert there(session, names[1])
    (line,) = [line for line in LEDGER.lines(session) if line.name == names[1]]
    assert line.folder == str(tmp_path / aside)
    first.erase()
    assert not there(session, names[1])


def test_a_schema_that_is_gone_is_made_anew(session: Session, tmp_path: Path) -> None:
    place = PostgresPlace.of(FolderPlace(tmp_path / "store"))
    former = place.claim()
    session.execute(f"DROP SCHEMA {former} CASCADE")
    assert place.claim() != former
    place.drop()


def test_what_a_killed_process_left_is_dropped_and_what_a_living_one_has_is_not(
    session: Session, tmp_path: Path
) -> None:
    living, mine = other(tmp_path / "living", "waits")
    killed, left = other(tmp_path / "killed", "waits")
    try:
        ended(killed, signal.SIGKILL)
        # Its session ends a moment after the process.
        gone = [name for _ in range(100) for name in SERVER.clean() if not there(session, left)]
        assert left in gone or not there(session, left)
        assert not written(session, left)
        assert there(session, mine)
        assert written(session, mine)
    finally:
        ended(living, signal.SIGKILL)


def test_a_process_that_ends_by_itself_leaves_nothing(session: Session, tmp_path: Path) -> None:
    process, name = other(tmp_path / "store", "ends")
    ended(process)
    assert not there(session, name)
    assert not written(session, name)


def test_what_a_kept_folder_names_stays_until_the_folder_is_gone(session: Session, tmp_path: Path) -> None:
    place = PostgresPlace.of(FolderPlace(tmp_path / "store"))
    process, name = other(place.folder, "kept")
    ended(process, signal.SIGKILL)
    for _ in range(3):
        SERVER.clean()
    assert there(session, name)
    assert place.claim() == name
    # Renamed with its folder and used there, it goes on.
    renamed = place.folder.rename(tmp_path / "renamed")
    place = PostgresPlace.of(FolderPlace(renamed))
    assert place.claim() == name
    assert {line.folder for line in LEDGER.lines(session) if line.name == name} == {str(renamed)}
    for _ in range(3):
        SERVER.clean()
    assert there(session, name)
    # Once the folder is gone, so is the schema: by the next process, since this one owns it now.
    LEDGER.note(session, "schema", name, 1, place.folder, True)
    (place.folder / IDENTITY).unlink()
    (place.folder / NAMED).unlink()
    place.folder.rmdir()
    for _ in range(100):
        SERVER.clean()
        if not there(session, name):
            break
    assert not there(session, name)


def test_nothing_is_dropped_that_is_not_written_down(session: Session) -> None:
    name = f"lab_of_a_user_{os.getpid()}"
    session.execute(f"CREATE SCHEMA {name}")
    try:
        assert name not in SERVER.clean()
        assert there(session, name)
    finally:
        session.execute(f"DROP SCHEMA {name}")


def test_only_what_belongs_to_a_folder_is_forgotten_with_it(session: Session, tmp_path: Path) -> None:
    inside, beside = (PostgresPlace.of(FolderPlace(tmp_path / name / "store")) for name in ("run", "run-2"))
    one, two = inside.claim(), beside.claim()
    SERVER.forget(tmp_path / "run")
    assert (there(session, one), there(session, two)) == (False, True)
    beside.drop()


def test_an_owner_whose_session_was_lost_takes_its_lock_again(session: Session, tmp_path: Path) -> None:
    place = PostgresPlace.of(FolderPlace(tmp_path / "store"))
    name, number = place.claim(), LEDGER.owner()
    lock = "locktype = 'advisory' AND granted AND classid::bigint = ? AND objid::bigint = ?"
    found = session.execute(f"SELECT pid FROM pg_locks WHERE {lock}", (OWNERS, number)).fetchall()
    assert len(found) == 1
    session.execute("SELECT pg_terminate_backend(?::integer, 5000)", found[0])
    assert LEDGER.owner() == number
    assert name not in SERVER.clean()
    place.drop()


def test_a_server_that_is_away_is_told_and_a_folder_goes_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = PostgresPlace.of(FolderPlace(tmp_path / "store"))
    name = place.claim()
    with monkeypatch.context() as away:
        away.setenv("LAB_POSTGRES", "postgresql://nobody@127.0.0.1:1/nothing")
        assert not place.within_reach()
        with pytest.raises(Unavailable, match="Connection refused"):
            place.claim()
        place.drop()
        assert not place.folder.exists()
    SERVER.forget(tmp_path)
    with SERVER.connect() as connection:
        assert not there(Session(connection), name)
