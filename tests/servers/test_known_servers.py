"""How a PostgreSQL server is found, and that its password is shown nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lab.base import BadInput, CannotTake, Damaged, ReadOnly, Unavailable
from lab.cli import lab
from lab.engines import postgres as engine
from lab.engines.dsn import Dsn, shown
from lab.engines.postgres import Session, numbered
from lab.ports import Endpoint, Missing
from lab.servers import require, server
from lab.servers.postgres import SERVER

SECRET = "hunter2-é"
NOWHERE = "127.0.0.1:1"
SERVER_MARK = pytest.mark.server("postgres")
KINDS = {"number": pl.Int64(), "text": pl.String(), "real": pl.Float64(), "truth": pl.Boolean()}


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection string of no server, with a password."""
    dsn = f"postgresql://somebody:{SECRET}@{NOWHERE}/nothing"
    monkeypatch.setenv("LAB_POSTGRES", dsn)
    return dsn


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        (f"postgresql://me:{SECRET}@db.example:5433/mine?sslmode=require", "postgresql://me@db.example:5433/mine"),
        (f"host=/run/pg user=me password='{SECRET}' dbname=mine", "postgresql://me@/mine?host=/run/pg"),
        ("", "postgresql:///"),
    ],
)
def test_a_connection_string_is_shown_without_its_password(dsn: str, said: str) -> None:
    assert shown(dsn) == str(Dsn(dsn)) == repr(Dsn(dsn)) == said
    assert Dsn(dsn).secret == dsn


def test_what_is_no_connection_string_is_not_quoted() -> None:
    with pytest.raises(BadInput, match=r"^LAB_POSTGRES: it is no connection string") as caught:
        Dsn(f"password {SECRET}")
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_variable_goes_before_the_file_and_both_before_the_usual_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nowhere: str
) -> None:
    match SERVER.find():
        case Missing(reason, way_out):
            assert "postgresql://somebody@127.0.0.1:1/nothing" in reason
            assert "export LAB_POSTGRES=" in way_out
        case found:
            raise AssertionError(found)
    monkeypatch.delenv("LAB_POSTGRES")
    (tmp_path / "dsn").write_text(f"postgresql://other:{SECRET}@{NOWHERE}/of_file\nmore\n")
    monkeypatch.setenv("LAB_POSTGRES_FILE", str(tmp_path / "dsn"))
    assert "other@127.0.0.1:1/of_file" in str(SERVER.find())
    for name, said in (("gone", "there is no such file"), (".", "can't be read")):
        monkeypatch.setenv("LAB_POSTGRES_FILE", str(tmp_path / name))
        assert said in str(SERVER.find())


def test_no_password_is_printed_by_any_way_of_failing(nowhere: str) -> None:
    said = [str(SERVER.find()), repr(SERVER.find())]
    with pytest.raises(Unavailable) as lost:
        SERVER.connect()
    with pytest.raises(BadInput) as refused:
        require([("projection.mine.store", "postgres")])
    said += [str(lost.value), str(refused.value)]
    for arguments in (["servers"], ["servers", "--json"], ["servers", "--clean"]):
        found = CliRunner().invoke(lab, arguments)
        assert found.exit_code == 0
        said.append(found.output)
    assert not any(SECRET in one or "hunter2" in one for one in said)
    assert all("127.0.0.1" in one for one in said)
    assert "projection.mine.store: no PostgreSQL server is reached" in said[3]


def test_a_question_mark_within_quotes_and_comments_is_no_parameter() -> None:
    statement = """SELECT "a?", '?''?', ? /* ? */ -- ?\n FROM "?""?" WHERE x = ?"""
    assert numbered(statement).decode() == (
        """SELECT "a?", '?''?', $1 /* ? */ -- ?\n FROM "?""?" WHERE x = $2"""
    )  # fmt: skip


@SERVER_MARK
def test_lab_servers_tells_version_and_settings() -> None:
    rows = json.loads(CliRunner().invoke(lab, ["servers", "--json"]).output)
    (row,) = [row for row in rows if row["server"] == "postgres"]
    assert row["reachable"]
    assert int(row["version"].partition(".")[0]) >= 12
    assert row["settings"]["server_encoding"] == "UTF8"
    assert row["settings"]["synchronous_commit"] in ("on", "off", "local", "remote_write", "remote_apply")
    assert isinstance(SERVER.find(), Endpoint)
    assert row["version"] in CliRunner().invoke(lab, ["servers"]).output


@SERVER_MARK
def test_a_connection_has_its_limits_and_settings() -> None:
    with SERVER.connect(read_only=True, durability="normal", statement_seconds=0.2) as connection:
        session = Session(connection)
        assert engine.settings(session)["durability"] == "normal"
        with pytest.raises(ReadOnly), engine.mapped("here"):
            session.execute("CREATE TABLE mine (x integer)")
        with pytest.raises(Unavailable, match="statement timeout"), engine.mapped("here"):
            session.execute("SELECT pg_sleep(5)")
    with SERVER.connect() as connection:
        assert engine.settings(Session(connection))["synchronous_commit"] == "on"


@SERVER_MARK
def test_what_the_driver_raises_is_told_apart() -> None:
    with SERVER.connect() as connection:
        session = Session(connection)
        for statement, arguments, kind in (
            ("SELECT ?::text", ("nul\x00",), CannotTake),
            ("SELECT ?", (2**70,), CannotTake),
            ("SELECT 9223372036854775807 + ?", (1,), CannotTake),
            ("SELECT * FROM lab_nothing.at_all", (), Damaged),
            ("SELECT pg_terminate_backend(pg_backend_pid())", (), Unavailable),
            ("SELECT 1", (), Unavailable),
        ):
            with pytest.raises(kind), engine.mapped("here"):
                session.execute(statement, arguments)


TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])) | st.sampled_from(
    ["", "\\N", "\\.", "a\n\\.\nb", "\t", "\r\n", '"', '""', ",", "NULL", "\\", "\\\\n"]
)
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | TEXT, st.none() | st.floats(),
        st.none() | st.booleans(),
    ),
    min_size=1,
    max_size=20,
)  # fmt: skip


@SERVER_MARK
@given(rows=ROWS)
def test_a_frame_comes_back_as_it_was_copied_in(rows: list[tuple[object, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=KINDS, orient="row")
    columns = ", ".join(f"{name} {engine.TYPES[kind]}" for name, kind in KINDS.items())
    with SERVER.connect() as connection:
        session = Session(connection)
        session.execute(f"CREATE TEMP TABLE copied ({columns})")
        session.copy_in("copied", list(KINDS), frame)
        assert session.frame("SELECT * FROM copied", KINDS).equals(frame, null_equal=True)
        assert session.execute("SELECT * FROM copied WHERE number IS NOT NULL").fetchall() is not None


def test_a_text_with_a_nul_is_refused_before_it_is_sent() -> None:
    with pytest.raises(CannotTake, match="NUL"):
        engine.as_text(pl.DataFrame({"text": ["a", None, "b\x00"]}))


def test_a_mongodb_that_is_away_is_told_in_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MONGODB", "mongodb://127.0.0.1:1")
    found = server("mongodb").find()
    assert isinstance(found, Missing)
    assert "127.0.0.1:1: [Errno" in found.reason
    assert not {"Topology", "configured", "Timeout:"} & set(found.reason.replace("(", " ").split())
