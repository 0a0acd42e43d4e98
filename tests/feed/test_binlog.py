"""MariaDB's binary log: servers that write none of use, places that are gone, a server that is killed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from streamed import FED, Reader, hire, made_truth, own_server

from lab.base import Unavailable, Unsound
from lab.domain.employees import EMPLOYEES
from lab.engines.binlog import AHEAD, BinlogRow, BinlogTransaction, LogPlace
from lab.engines.mariadb import MariadbSession, connect
from lab.engines.mariadb_url import MariadbUrl
from lab.feed.mariadb_streams import BinlogFeed, StreamedPositions
from lab.servers.instances import Instance
from lab.truth import Truth, binlog
from lab.truth.evidence import LiveEvidence
from lab.truth.mariadb import Mariadb
from lab.truth.timeline import Diverged
from lab.truth.transaction import SEQUENCE

pytestmark = pytest.mark.server("mariadb")


@pytest.fixture(scope="module")
def own() -> Iterator[Instance]:
    """One server for all tests of this file, whose log can be read."""
    with own_server("mariadb") as one:
        yield one


@pytest.fixture
def root(own: Instance) -> Iterator[MariadbSession]:
    """A connection that may do anything."""
    session = MariadbSession(connect(MariadbUrl(own.url)))
    yield session
    session.close()


@pytest.fixture
def truth(own: Instance, tmp_path: Path) -> Iterator[Truth]:
    """An empty source of truth."""
    found = made_truth("mariadb", "history", tmp_path)
    yield found
    found.drop()


@pytest.fixture
def reader(truth: Truth, tmp_path: Path) -> Iterator[Reader]:
    """A reader of the log, open."""
    found = Reader(FED["binlog"], truth, tmp_path)
    found.open()
    yield found
    found.stream.close()


def file_of(folder: Path) -> Path:
    return folder / "reader.binlog"


# -- what a server must have -------------------------------------------------------------------------------------------


def test_a_server_that_writes_rows_is_read(own: Instance) -> None:
    assert binlog.refusal() is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("binlog_format", "MIXED", "binlog_format is MIXED: what it writes there are statements"),
        ("binlog_row_image", "MINIMAL", "binlog_row_image is MINIMAL: a row lacks the columns"),
        ("log_bin_compress", "ON", "log_bin_compress is ON"),
    ],
)
def test_a_log_that_lacks_rows_is_refused_with_the_statement_that_mends_it(
    root: MariadbSession, name: str, value: str, said: str
) -> None:
    (before,) = root.execute(f"SELECT @@GLOBAL.{name}").fetchone()
    root.execute(f"SET GLOBAL {name} = {value}")
    try:
        found = binlog.refusal()
        assert found is not None
        assert found[0].startswith(said)
        root.execute(found[1].partition(", or ")[0])
        assert binlog.refusal() is None
    finally:
        root.execute(f"SET GLOBAL {name} = {before}")


def test_a_user_who_may_not_read_the_log_is_told_what_to_grant(
    root: MariadbSession, own: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.execute("CREATE OR REPLACE USER 'clerk'@'127.0.0.1'")
    root.execute("GRANT ALL ON `lab\\_%`.* TO 'clerk'@'127.0.0.1'")
    monkeypatch.setenv("LAB_MARIADB", own.url.replace("root@", "clerk@"))
    # Each of the two rights alone isn't enough.
    for given_ in ("", "REPLICATION SLAVE", "BINLOG MONITOR"):
        if given_:
            root.execute(f"GRANT {given_} ON *.* TO 'clerk'@'127.0.0.1'")
        found = binlog.refusal()
        assert found is not None
        assert found[0] == "the user may not read the server's log"
        if given_:
            root.execute(f"REVOKE {given_} ON *.* FROM 'clerk'@'127.0.0.1'")
    root.execute(found[1].partition(", or ")[0])
    assert binlog.refusal() is None
    root.execute("DROP USER 'clerk'@'127.0.0.1'")


def test_a_server_without_a_log_is_refused_with_the_way_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with own_server("mariadb", {"skip_log_bin": "1"}):
        found = binlog.refusal()
    assert found is not None
    assert found[0].startswith("log_bin is OFF")
    assert "lab servers start mariadb" in found[1]


# -- what is read ------------------------------------------------------------------------------------------------------


def test_what_others_write_is_passed_over_and_holds_up_no_mark(
    root: MariadbSession, truth: Truth, reader: Reader
) -> None:
    root.execute("CREATE DATABASE others")
    root.execute("CREATE TABLE others.employee (x integer, note longtext)")
    root.execute("INSERT INTO others.employee VALUES (1, REPEAT('x', 100000))")
    truth.execute(hire(1))
    # The last thing in the log has no commit of the engine.
    root.execute("DROP DATABASE others")
    assert [change.row[1] for change in reader.until_passed()] == [1]
    assert reader.until_passed() == []


def test_a_row_without_all_its_columns_is_an_error_and_no_change(
    root: MariadbSession, own: Instance, tmp_path: Path
) -> None:
    truth = made_truth("mariadb", "snapshot", tmp_path)
    reader = Reader(FED["binlog"], truth, tmp_path)
    reader.open()
    truth.execute(hire(1))
    reader.until_passed()
    assert isinstance(truth, Mariadb)
    truth.on.execute("SET SESSION binlog_row_image = MINIMAL")
    truth.on.execute("UPDATE employee SET salary = 9000, revision = 2 WHERE key = 1")
    with pytest.raises(Unsound, match="lacks columns"):
        reader.until_passed()
    truth.drop()


def test_a_reader_that_is_connected_twice_is_the_later_one(truth: Truth, reader: Reader, tmp_path: Path) -> None:
    other = Reader(FED["binlog"], truth, tmp_path)
    other.checkpoint = reader.checkpoint
    other.open()
    truth.execute(hire(1))
    assert [change.row[1] for change in other.until_passed()] == [1]
    with pytest.raises(Unavailable, match="already connected"):
        kept_on(reader)
    other.stream.close()


def test_a_server_that_is_killed_is_gone_on_with_and_nothing_is_lost(
    own: Instance, truth: Truth, reader: Reader
) -> None:
    truth.execute(hire(1))
    reader.until_passed()
    for number in (2, 3):
        truth.execute(hire(number))
        own.stop("kill")
        with pytest.raises(Unavailable):
            kept_on(reader)
        assert not reader.stream.opened
        own.start()
        truth.execute(hire(10 * number), f"request {number}")
        reader.until_passed()
    assert [change.row[1] for change in reader.seen] == [1, 2, 20, 3, 30]


def test_a_reader_that_takes_nothing_is_hung_up_on_and_goes_on_from_its_place(
    root: MariadbSession, truth: Truth, reader: Reader
) -> None:
    root.execute("SET GLOBAL net_write_timeout = 1")
    reader.again()
    entity = EMPLOYEES.entities["employee"]
    many = [(key, key, 1, False, 1.0, "x" * 1_000, None, "", key, "hired") for key in range(1, 3 * AHEAD)]
    frame = pl.DataFrame(many, entity.schema | {"event": pl.String()}, orient="row")
    for part in frame.iter_slices(AHEAD // 5):
        truth.load("employee", part)
    found = list[int]()
    with suppress(Unavailable):
        while len(found) < len(many):
            time.sleep(1.5 if not found else 0)
            taken = reader.stream.take(500)
            found += [change.row[1] for change in taken]
            reader.keep(taken)
    assert len(found) < len(many)
    found += [change.row[1] for change in reader.until_passed(10_000)]
    assert found == list(range(1, 3 * AHEAD))
    root.execute("SET GLOBAL net_write_timeout = 60")


def kept_on(reader: Reader) -> None:
    """Take for ten seconds, and keep what comes."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        reader.keep(reader.stream.take(10))
        time.sleep(0.001)


# -- places ------------------------------------------------------------------------------------------------------------


def rotated(root: MariadbSession) -> None:
    """Begin a new file, and purge all before it."""
    root.execute("FLUSH BINARY LOGS")
    last = root.execute("SHOW MASTER STATUS").fetchone()[0]
    until = time.monotonic() + 20
    while len(root.execute("SHOW BINARY LOGS").fetchall()) > 1:
        # A file is kept for as long as the server believes that it is being read.
        root.execute(f"PURGE BINARY LOGS TO '{last}'")
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_place_that_was_purged_is_told_and_the_reader_begins_anew(
    root: MariadbSession, truth: Truth, reader: Reader, tmp_path: Path
) -> None:
    truth.execute(hire(1))
    reader.until_passed()
    assert (found := binlog.state(file_of(tmp_path))) is not None
    assert (found.active, found.status) == (True, "kept")
    reader.stream.close()
    truth.execute(hire(2))
    state = binlog.state(file_of(tmp_path))
    assert state is not None
    assert state.retained_bytes > found.retained_bytes
    rotated(root)
    state = binlog.state(file_of(tmp_path))
    assert state is not None
    assert (state.active, state.status) == (False, "purged")
    with pytest.raises(Diverged, match=r"its place in the server's log, lab-log\.\d+ at \d+, is gone"):
        reader.stream.open(reader.checkpoints)
    assert not file_of(tmp_path).exists()
    # The projection is built anew, from the tables and the log from now on.
    reader.checkpoint = 0
    assert reader.stream.open({})
    assert not reader.stream.whole
    truth.execute(hire(3))
    assert [change.row[1] for change in reader.until_passed()] == [3]


def test_a_place_at_which_the_log_has_something_else_is_told(
    root: MariadbSession, truth: Truth, reader: Reader
) -> None:
    for key in (1, 2, 3):
        truth.execute(hire(key))
    reader.until_passed()
    reader.stream.close()
    # As of a server that was set up anew: the file is called as it was.
    root.execute("RESET MASTER")
    root.execute("CREATE DATABASE other")
    for _ in range(60):
        root.execute("CREATE OR REPLACE TABLE other.x (x longtext COMMENT 'as long as what the log had before this')")
    root.execute("DROP DATABASE other")
    with pytest.raises(Diverged, match="its place in the server's log"):
        reader.stream.open(reader.checkpoints)


def test_a_place_before_which_other_transactions_were_is_told(truth: Truth, reader: Reader, tmp_path: Path) -> None:
    truth.execute(hire(1))
    reader.until_passed()
    reader.stream.close()
    thread, pairs = json.loads(file_of(tmp_path).read_text())
    # Of a server that lost its last commits and went on: the byte is there, and another transaction ends at it.
    file_of(tmp_path).write_text(json.dumps([thread, [[*pair[:3], "0-1-999999"] for pair in pairs]]))
    with pytest.raises(Diverged, match=r"is another one: 0-1-\d+ came before it, and not 0-1-999999"):
        reader.stream.open(reader.checkpoints)


def test_a_store_older_than_every_place_that_was_kept_is_built_anew(reader: Reader, tmp_path: Path) -> None:
    reader.checkpoint = 7
    reader.keep([])
    file = file_of(tmp_path)
    thread, pairs = json.loads(file.read_text())
    file.write_text(json.dumps([thread, [[{"employee": 8}, *pairs[-1][1:]]]]))
    reader.stream.close()
    with pytest.raises(Diverged, match="no place in the server's log is known for a store at position 3"):
        reader.stream.open({"employee": 3})


def test_a_rebuild_goes_back_to_where_it_began(truth: Truth, reader: Reader) -> None:
    place = reader.stream.here()
    truth.execute(hire(1))
    assert [change.row[1] for change in reader.until_passed()] == [1]
    reader.stream.go_back(place)
    reader.open()
    # What the tables have is read, too: not all of it need have been there when the rebuild read them.
    assert not reader.stream.whole
    assert [change.row[1] for change in reader.until_passed()] == [1]


def test_a_place_moves_with_the_checkpoint_and_for_the_same_one_only_past_what_others_wrote(
    root: MariadbSession, truth: Truth, reader: Reader
) -> None:
    def take(marks: bool) -> list[int]:
        until, found = time.monotonic() + 20, list[int]()
        while (marks and not reader.stream.passed) or (not marks and not found):
            found += [change.row[1] for change in reader.stream.take(10)]
            reader.stream.acknowledge(reader.checkpoints)
            assert time.monotonic() < until
        return found

    reader.until_passed()
    truth.execute(hire(1))
    # The store hasn't moved its checkpoint since: it may still lose what came.
    assert take(marks=False) == [1]
    reader.again()
    assert take(marks=False) == [1]
    reader.keep([])
    before = binlog.end(root)
    root.execute("CREATE OR REPLACE DATABASE others")
    reader.stream.mark()
    assert take(marks=True) == []
    assert reader.stream.take(10) == []
    reader.stream.acknowledge(reader.checkpoints)
    kept = binlog.KeptPlaces(reader.stream._kept.file)  # type: ignore[attr-defined]
    assert kept.read()
    assert kept.pairs[-1].checkpoints == reader.checkpoints
    assert kept.pairs[-1].place.order > before.order


def test_a_change_that_is_in_the_log_and_not_in_the_tables_yet_comes_by_the_log(
    root: MariadbSession, truth: Truth, tmp_path: Path
) -> None:
    truth.execute(hire(1))
    settings = {"enabled": "ON", "wait_point": "'AFTER_SYNC'", "timeout": "3000"}
    before = binlog.end(root)
    for name, value in settings.items():
        root.execute(f"SET GLOBAL rpl_semi_sync_master_{name} = {value}")
    try:
        # Its commit waits for a replica between the two, until that is given up.
        writer = threading.Thread(target=truth.execute, args=(hire(2),))
        writer.start()
        until = time.monotonic() + 20
        while binlog.end(root).order <= before.order:
            assert time.monotonic() < until
        assert isinstance(truth, Mariadb)
        count = root.execute(f"SELECT COUNT(*) FROM {truth.on.named}.employee").fetchone()
        reader = Reader(FED["binlog"], truth, tmp_path)
        reader.open()
        assert count == (1,)
        writer.join()
    finally:
        root.execute("SET GLOBAL rpl_semi_sync_master_enabled = OFF")
    assert [change.row[1] for change in reader.until_passed()] == [2]
    reader.stream.close()


def next_process(reader: Reader, checkpoints: dict[str, int]) -> list[int]:
    """Open the reader's stream in a new process, for a store at these checkpoints; the keys that come."""
    reader.stream.close()
    reader.stream = reader._fed.stream(*reader._made)
    until = time.monotonic() + 20
    while not reader.stream.opened:
        with suppress(Unavailable):
            reader.stream.open(checkpoints)
        assert time.monotonic() < until
    reader.stream.mark()
    found = list[int]()
    while not reader.stream.passed:
        found += [change.row[1] for change in reader.stream.take(10)]
        assert time.monotonic() < until
    return found


def took(reader: Reader, count: int) -> list[int]:
    """Take until so many changes have come; their keys."""
    until, found = time.monotonic() + 20, list[int]()
    while len(found) < count:
        found += [change.row[1] for change in reader.stream.take(10)]
        assert time.monotonic() < until
    return found


def test_a_commit_below_the_checkpoint_comes_although_the_reader_was_killed_while_it_read_the_tables(
    root: MariadbSession, truth: Truth, tmp_path: Path
) -> None:
    for key in (1, 2):
        truth.execute(hire(key))
    assert isinstance(truth, Mariadb)
    root.execute(f"USE {truth.on.named}")
    listed = "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = 'employee'"
    rows = root.execute(f"{listed} ORDER BY ordinal_position", (truth.on.named,)).fetchall()
    columns = ", ".join(f'"{name}"' for (name,) in rows)
    drawn = ", ".join({"position": f"NEXTVAL({SEQUENCE})", "key": "3"}.get(name, f'"{name}"') for (name,) in rows)
    root.execute("BEGIN")
    root.execute(f"INSERT INTO employee ({columns}) SELECT {drawn} FROM employee WHERE position = 1")
    for key in (4, 5, 6):
        truth.execute(hire(key))
    assert truth.changes_since("employee", 0, 99)["position"].to_list() == [1, 2, 4, 5, 6]
    reader = Reader(FED["binlog"], truth, tmp_path)
    # It reads the tables up to 6, where 3 is given up, and is killed before anything comes by the log.
    reader.stream.open({})
    reader.stream.close()
    root.execute("COMMIT")
    assert 3 in next_process(reader, {"employee": 6})
    assert not reader.stream.whole
    reader.stream.close()


@pytest.mark.parametrize("content", [None, "", "[7, [[", "[7, []]", '[7, [[5, "lab-log.000001", 4, ""]]]', "{}"])
def test_a_store_whose_places_can_not_be_read_is_built_anew(
    truth: Truth, reader: Reader, content: str | None, tmp_path: Path
) -> None:
    truth.execute(hire(1))
    reader.until_passed()
    reader.stream.close()
    file_of(tmp_path).unlink()
    if content is not None:
        file_of(tmp_path).write_text(content)
    for _ in range(2):
        with pytest.raises(Diverged, match="no place in the server's log is known for a store at position 2"):
            reader.stream.open({"employee": 2, "other": 0})
    assert reader.stream.open({})


def test_what_came_before_the_checkpoint_moved_comes_again_to_a_store_that_read_the_tables(
    truth: Truth, reader: Reader, tmp_path: Path
) -> None:
    reader.stream.close()
    file_of(tmp_path).unlink()
    reader.stream.open({})
    truth.execute(hire(1))
    assert took(reader, 1) == [1]
    # The tables were read up to here; what came since is a commit of its own, which the store may lose.
    reader.stream.acknowledge({"employee": 500})
    assert next_process(reader, {"employee": 500}) == [1]


def test_a_place_moves_on_beside_an_entity_that_is_not_written(truth: Truth, reader: Reader) -> None:
    truth.execute(hire(1))
    took(reader, 1)
    reader.stream.acknowledge({"employee": 2, "other": 0, "older": 1})
    truth.execute(hire(2))
    took(reader, 1)
    reader.stream.acknowledge({"employee": 3, "other": 0, "older": 1})
    assert next_process(reader, {"employee": 3, "other": 0, "older": 1}) == []
    assert reader.stream.whole
    # One that has lost its last commit lacks what came with it.
    assert next_process(reader, {"employee": 2, "other": 0, "older": 1}) == [2]


def test_a_rebuild_that_is_killed_after_its_swap_goes_back_all_the_same(truth: Truth, reader: Reader) -> None:
    place = reader.stream.here()
    truth.execute(hire(1))
    reader.until_passed()
    reader.stream.go_back(place)
    assert next_process(reader, {"employee": 9}) == [1]
    assert not reader.stream.whole


def test_a_store_that_was_to_be_replaced_lacks_nothing_if_it_is_not(truth: Truth, reader: Reader) -> None:
    reader.until_passed()
    truth.execute(hire(1))
    # The rebuild begins before the stream has brought what it finds in the tables.
    place = reader.stream.here()
    reader.stream.go_back(place)
    assert next_process(reader, reader.checkpoints) == [1]


class Fake:
    """A stream of a log of one row for each place."""

    thread_id = 7

    def __init__(self, place: int, end: int) -> None:
        self.place, self.end = place, end

    @property
    def taken(self) -> LogPlace:
        return at(self.place)

    def take(self, most: int) -> list[BinlogTransaction]:
        first, self.place = self.place, min(self.end, self.place + most)
        return [BinlogTransaction(at(number + 1), [BinlogRow("a", (number,))]) for number in range(first, self.place)]

    def close(self) -> None:
        pass


def at(number: int) -> LogPlace:
    return LogPlace("log.000001", number)


class Stored(NamedTuple):
    """A commit of the store: its checkpoints, and the rows that it has by then."""

    checkpoints: dict[str, int]
    rows: frozenset[int]


MOVES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "", "a", "b"]), st.integers(0, 9)), max_size=40)


@example([(1, "", 9), (0, "", 1)])
@example([(1, "", 1), (0, "", 9), (0, "", 1)])
@given(MOVES)
def test_whatever_a_store_loses_it_has_everything_or_it_comes_again(moves: list[tuple[int, str, int]]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        log, tables = 0, 0
        patch.setattr(binlog, "here", lambda _: at(log))
        patch.setattr(binlog, "confirm", lambda *_: None)
        patch.setattr(binlog.KeptPlaces, "connected", lambda *_: None)
        stored, feed = [Stored({"a": 0, "b": 0}, frozenset())], BinlogFeed("", "", {}, Path(folder, "kept"))

        def begin() -> BinlogFeed:
            nonlocal tables
            found = BinlogFeed("", "", {}, Path(folder, "kept"))
            found._columns = {"a": [(0, int)]}
            now = stored[-1]
            found._taken = found._place(object(), now.checkpoints)  # type: ignore[arg-type]
            if not any(now.checkpoints.values()):
                # All that is committed by now is read from the tables.
                tables = log
            assert now.rows >= set(range(tables, found._taken.offset)), (now, found._kept.pairs)
            if not found.whole:
                stored.append(Stored({"a": now.checkpoints["a"] + 1, "b": now.checkpoints["b"]}, now.rows))
            found._stream = Fake(found._taken.offset, log)  # type: ignore[assignment]
            return found

        feed = begin()
        for count, moving, loses in moves:
            log += count
            assert isinstance(feed._stream, Fake)
            feed._stream.end = log
            now = stored[-1]
            taken = frozenset(change.row[0] for change in feed.take(max(1, count)))
            if taken:
                stored.append(now := Stored(now.checkpoints, now.rows | taken))
            if moving:
                stored.append(now := Stored(now.checkpoints | {moving: now.checkpoints[moving] + 1}, now.rows))
            if loses != 1:
                feed.acknowledge(now.checkpoints)
            if loses < 4:
                stored = stored[: max(1, len(stored) - loses)]
                feed = begin()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=30), st.integers(0, 40), st.integers(0, 40))
def test_a_store_goes_on_from_the_last_place_that_holds_for_it(
    moves: list[tuple[int, int]], one: int, other: int
) -> None:
    kept = binlog.KeptPlaces(Path("/nowhere/file"))
    kept._write = lambda: None  # type: ignore[method-assign]
    kept.begin(at(0))
    a = b = 0
    for number, (first, second) in enumerate(moves, 1):
        a, b = a + first, b + second
        kept.add({"a": a, "b": b}, at(number))
    fitting = [
        pair for pair in kept.pairs if pair.checkpoints.get("a", 0) <= one and pair.checkpoints.get("b", 0) <= other
    ]
    found = kept.go_on({"a": one, "b": other})
    assert found is not None
    assert found == fitting[-1] == kept.pairs[-1]


class Tables:
    """What tables show."""

    def __init__(self, *positions: int) -> None:
        self.positions = positions

    def newest(self) -> int:
        return max(self.positions)

    def settled(self) -> int:
        return 0

    def shown(self, after: int) -> np.ndarray:
        return np.array([one for one in self.positions if one > after], np.int64)

    def blockers(self, at: float) -> list[object]:
        return []


def test_what_was_overwritten_since_it_came_by_the_stream_is_no_gap() -> None:
    tables, brought = Tables(2, 5), {1, 3, 5}
    known: LiveEvidence = StreamedPositions(tables, brought)  # type: ignore[arg-type]
    assert known.shown(0).tolist() == [1, 2, 3, 5]
    assert known.shown(2).tolist() == [3, 5]
    # What lies below is remembered no longer.
    assert brought == {3, 5}


def test_places_are_ordered_by_the_number_of_their_file() -> None:
    assert LogPlace("log.999999", 9).order < LogPlace("log.1000000", 4).order
