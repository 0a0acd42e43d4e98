"""A MariaDB server that is set in another way: its machine's zone, no files from clients, small packets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from beside import Slow, Table, hire
from pieces import commands
from reachable import own_instance

from lab.base import Batch, Unavailable
from lab.domain.employees import EMPLOYEES
from lab.engines.mariadb_errors import mapped
from lab.place import FolderPlace
from lab.servers.mariadb import SERVER
from lab.stores import dump, store_class
from lab.testing.sample import item, items, layout, sums
from lab.truth import open_truth

pytestmark = pytest.mark.server("mariadb")
PACKET = 2**21


@pytest.fixture(scope="module", autouse=True)
def other_settings() -> Iterator[None]:
    """An instance of the lab's own, nine hours before UTC, is the server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        with own_instance("mariadb", {"local_infile": "0", "max_allowed_packet": str(PACKET)}) as one:
            patch.delenv("TZ")
            patch.setenv("LAB_MARIADB", one.url)
            yield


def test_a_transaction_that_holds_readers_back_is_told_in_whatever_zone_the_server_is(tmp_path: Path) -> None:
    table = Table(tmp_path / "truth", "mariadb")
    table.first.execute(hire(1))
    with table.writer() as reading:
        slow, evidence = Slow(table, "naive", hire(2)), reading.evidence()
        # The list of transactions is not renewed while it is read more often.
        until = time.monotonic() + 30
        while not (found := evidence.blockers(1_000.0)) and time.monotonic() < until:
            time.sleep(0.3)
        slow.end()
    table.first.drop()
    (blocker,) = found
    assert 900.0 < blocker.since < 1_000.0
    assert table.named in blocker.owner


@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
def test_a_source_of_truth_is_loaded_without_a_file(model: str, tmp_path: Path) -> None:
    truth = open_truth("mariadb", model, FolderPlace(tmp_path / "truth"), EMPLOYEES, "normal")
    made = [truth.execute(order) for order in commands(40, invalid=0.0)]
    whole = truth.changes_since("employee", 0, 100)
    many = pl.concat(
        whole.with_columns(pl.col("position") + 100 * turn, pl.col("key") + 1_000 * turn) for turn in range(1, 250)
    ).with_columns(event=pl.lit("hired"), name=pl.lit("it's ? " + "x" * 300))
    assert many.height * 300 > PACKET
    truth.load("employee", many)
    found = truth.changes_since("employee", 100, 10**6)
    assert found.equals(many.select(found.columns))
    assert made
    truth.drop()


def test_a_batch_is_written_without_a_file(tmp_path: Path) -> None:
    store = store_class("mariadb.table")(FolderPlace(tmp_path / "store"), layout("records"))
    store.open()
    rows = items(*(item(key, label="it's ? " + "x" * 300) for key in range(8_000)))
    store.apply(Batch("item", rows, 1))
    assert dump(store, "item")["label"].to_list() == rows["label"].to_list()
    store.drop()


def test_increments_of_more_groups_than_a_packet_takes_are_added(tmp_path: Path) -> None:
    store = store_class("mariadb.table")(FolderPlace(tmp_path / "store"), layout("totals"))
    store.open()
    shelves = [f"{at} {'x' * 300}" for at in range(7_000)]
    for turn in (1, 2):
        store.apply(Batch("item", sums(*((shelf, None, 1, 5) for shelf in shelves)), turn))
    found = dump(store, "item").rows()
    assert sorted(found) == sorted((shelf, None, 2, 10) for shelf in shelves)
    store.drop()


def test_a_server_that_takes_no_files_any_more_is_tried_again_without(tmp_path: Path) -> None:
    session = SERVER.connect(bulk=True)
    session._loads = True
    with pytest.raises(Unavailable), mapped("here"):
        session.load("mysql.nothing", ["one"], pl.DataFrame({"one": [1]}))
    assert not session.loads
    session.close()
