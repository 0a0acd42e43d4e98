"""How a MariaDB server is found, that its password is shown nowhere, and that values come back as they were."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pymysql
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lab.base import BadInput, CannotTake, Damaged, ReadOnly, Unavailable
from lab.cli import lab
from lab.engines.mariadb import KEY_TEXT, TYPES, MariadbSession, collation, connect, settings
from lab.engines.mariadb_errors import mapped
from lab.engines.mariadb_text import literal, pieces, written
from lab.engines.mariadb_url import MariadbUrl
from lab.ports import Endpoint
from lab.servers import require
from lab.servers.mariadb import LEDGER, SERVER

SECRET = "hunter2-é"
SERVER_MARK = pytest.mark.server("mariadb")
KINDS = {"number": pl.Int64(), "text": pl.String(), "measure": pl.Float64(), "truth": pl.Boolean()}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"mariadb://me:{SECRET}@db.example:3307/?ssl_ca=/ca.pem", "mariadb://me@db.example:3307/"),
        ("mysql://db.example", "mysql://db.example"),
        (f"mariadb://me@localhost/?ssl_key_password={SECRET}", "mariadb://me@localhost/"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, said: str) -> None:
    found = MariadbUrl(url)
    assert str(found) == repr(found) == said
    assert SECRET not in found.without_secrets(f"Access denied for {SECRET}") or SECRET not in url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql://me:{SECRET}@here/", "it is no URL that begins with mariadb://"),
        (f"mariadb://me:{SECRET}@here/shop", "the lab makes databases of its own"),
        (f"mariadb://me:{SECRET}@here/?charset=latin1", "its parameter `charset` isn't known"),
    ],
)
def test_what_is_no_such_url_is_refused_and_not_quoted(url: str, why: str) -> None:
    with pytest.raises(BadInput, match=f"^LAB_MARIADB: .*{why}") as caught:
        MariadbUrl(url)
    assert SECRET not in str(caught.value)


def test_no_password_is_printed_by_any_way_of_failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_MARIADB", f"mariadb://somebody:{SECRET}@127.0.0.1:1/")
    said = [str(SERVER.find()), repr(SERVER.find())]
    with pytest.raises(Unavailable) as lost:
        SERVER.connect()
    with pytest.raises(BadInput) as refused:
        require([("projection.mine.store", "mariadb")])
    said += [str(lost.value), str(refused.value)]
    for arguments in (["servers"], ["servers", "--json"], ["servers", "--clean"]):
        found = CliRunner().invoke(lab, arguments)
        assert found.exit_code == 0
        said.append(found.output)
    assert not any(SECRET in one or "hunter2" in one for one in said)
    assert all("127.0.0.1:1" in one for one in said)
    assert "no MariaDB server is reached" in said[3]
    monkeypatch.delenv("LAB_MARIADB")
    (tmp_path / "url").write_text(f"mariadb://other:{SECRET}@127.0.0.1:1/\nmore\n")
    monkeypatch.setenv("LAB_MARIADB_FILE", str(tmp_path / "url"))
    assert "mariadb://other@127.0.0.1:1/" in str(SERVER.find())


def test_a_server_that_accepts_and_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.engines.mariadb.CONNECT_SECONDS", 0.3)
    with socket.socket() as silent, ThreadPoolExecutor(1) as beside:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = MariadbUrl(f"mariadb://somebody:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/")
        tried = beside.submit(connect, url)
        try:
            found = tried.exception(20)
        finally:
            # What still waits is let go.
            silent.close()
    assert isinstance(found, Unavailable)
    assert str(found) == f"{url}: the server is silent: it gave no answer in time"


def test_a_question_mark_within_quotes_and_comments_is_no_parameter() -> None:
    statement = """SELECT "a?", '?''?', '\\'?', ? /* ? */ -- ?\n FROM "?""?" WHERE x = ?"""
    assert len(pieces(statement)) == 3
    assert written(statement, (1, "it's ?")) == (
        """SELECT "a?", '?''?', '\\'?', 1 /* ? */ -- ?\n FROM "?""?" WHERE x = 'it\\'s ?'"""
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_a_value_that_the_server_has_not_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(CannotTake):
        literal(value)


@SERVER_MARK
def test_lab_servers_tells_product_and_settings() -> None:
    rows = json.loads(CliRunner().invoke(lab, ["servers", "--json"]).output)
    (row,) = [row for row in rows if row["server"] == "mariadb"]
    assert row["reachable"]
    assert row["settings"]["product"] in row["version"]
    assert {"innodb_flush_log_at_trx_commit", "innodb_autoinc_lock_mode", "log_bin"} <= set(row["settings"])
    assert isinstance(SERVER.find(), Endpoint)


@pytest.fixture(scope="module")
def session() -> Iterator[MariadbSession]:
    """A session with temporary tables only."""
    found = SERVER.connect("test", bulk=True)
    yield found
    found.close()


@SERVER_MARK
def test_a_connection_has_its_limits_and_settings(session: MariadbSession) -> None:
    assert settings(session)["durability"] in ("full", "normal")
    reader = SERVER.connect("test", read_only=True, statement_seconds=0.2)
    for statement, kind in (
        ("CREATE TABLE mine (x integer)", ReadOnly),
        ("SELECT SLEEP(5)", Unavailable),
        ("SELECT * FROM lab_nothing.at_all", Damaged),
        ("SELECT 9223372036854775807 + 1", CannotTake),
        ("KILL CONNECTION_ID()", Unavailable),
        ("SELECT 1", Unavailable),
    ):
        with pytest.raises(kind), mapped("here"):
            reader.execute(statement)
    with pytest.raises(pymysql.ProgrammingError), mapped("here"):
        session.execute("SELEC 1")


@SERVER_MARK
def test_a_server_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.engines.mariadb.STATEMENT_SECONDS", 0.3)
    monkeypatch.setattr("lab.engines.mariadb.SILENT_SECONDS", 3)
    quiet, limited = SERVER.connect("test"), SERVER.connect("test", statement_seconds=20.0)
    assert limited.execute("SELECT SLEEP(1)").fetchall() == [(0,)]
    limited.close()
    with pytest.raises(Unavailable, match="here: the server is silent"), mapped("here"):
        quiet.execute("SELECT SLEEP(3)")
    assert not quiet.alive


@SERVER_MARK
def test_an_owner_is_not_taken_for_living_without_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a sweep would take it for dead, and drop what it has."""
    monkeypatch.setattr("lab.engines.mariadb.LOCK_SECONDS", 1)
    number = 2**31 + secrets.randbelow(2**31)
    first = LEDGER.hold(number)
    with pytest.raises(Unavailable, match=f"another session holds the lock lab_owner_{number}"):
        LEDGER.hold(number)
    first.close()
    with LEDGER.session() as session:
        for _ in range(100):
            with LEDGER.dead(session, number) as dead:
                if dead:
                    break
            time.sleep(0.05)
        assert dead
    LEDGER.hold(number).close()


@SERVER_MARK
def test_texts_are_equal_only_where_all_their_bytes_are(session: MariadbSession) -> None:
    texts = ["a", "A", "a ", "á", "a\u0301", "", " ", "\U0001f600", "a\x00"]
    for one in texts:
        for other in texts:
            (same, less) = session.execute("SELECT ? = ?, ? < ?", (one, other, one, other)).fetchone()
            assert (bool(same), bool(less)) == (one == other, one < other)


TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["", "\\N", "\\.", "a\n\\.\nb", "\t", "\r\n", '"', '""', ",", "NULL", "\\", "\\\\n", "\x00", "%s", " ", "a "]
)
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | TEXT,
        st.none() | st.floats(allow_nan=False, allow_infinity=False), st.none() | st.booleans(),
    ),
    min_size=1,
    max_size=20,
)  # fmt: skip


@SERVER_MARK
@given(rows=ROWS)
def test_a_frame_comes_back_as_it_was_loaded_and_as_it_was_inserted(
    session: MariadbSession, rows: list[tuple[object, ...]]
) -> None:
    frame = pl.DataFrame(rows, schema=KINDS, orient="row")
    columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in KINDS.items())
    binary = collation(session.connection.server_version)
    session.execute(f"CREATE OR REPLACE TEMPORARY TABLE mine (n bigint AUTO_INCREMENT PRIMARY KEY, {columns}) "
                    f"COLLATE {binary}")  # fmt: skip
    session.load("mine", list(KINDS), frame)
    session.together([(f"INSERT INTO mine ({', '.join(KINDS)}) VALUES (?, ?, ?, ?)", row) for row in rows])
    found = session.execute(f"SELECT {', '.join(KINDS)} FROM mine ORDER BY n").fetchall()
    back = pl.DataFrame(found, schema=KINDS, orient="row")
    assert back.equals(pl.concat([frame, frame]), null_equal=True)


@SERVER_MARK
def test_what_the_server_would_cut_off_is_refused(session: MariadbSession) -> None:
    session.execute(f"CREATE OR REPLACE TEMPORARY TABLE mine (text {KEY_TEXT})")
    long = pl.DataFrame({"text": ["x" * 800]})
    with pytest.raises(CannotTake, match="truncated"):
        session.load("mine", ["text"], long)
    with pytest.raises(CannotTake, match="too long"), mapped("here"):
        session.execute("INSERT INTO mine VALUES (?)", ("x" * 800,))
    with pytest.raises(CannotTake, match="infinite"):
        session.load("mine", ["text"], pl.DataFrame({"text": [float("inf")]}))
