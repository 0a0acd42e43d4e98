"""The change feed over a socket is the feed itself: on random histories, for every model, engine and question."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import IN_FILES, commands

from lab.base import Unavailable
from lab.domain.employees import EMPLOYEES
from lab.feed.reader import ChangeReader
from lab.place import FolderPlace
from lab.service import feeding
from lab.service.feeding import HEAD, NUMBER, ChangeServer, RemoteChanges
from lab.truth import Truth, open_truth

MODELS = ("snapshot", "history", "events")
COLUMNS = tuple(EMPLOYEES.entities["employee"].columns)


@contextmanager
def remote(truth: Truth) -> Iterator[RemoteChanges]:
    """The feed of an open source of truth as another process has it: its server's loop is in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(30)

    try:
        # The path of a socket has a limit of about a hundred characters.
        with tempfile.TemporaryDirectory(prefix="feed-") as folder:
            path, server = Path(folder) / "feed.sock", ChangeServer(truth)
            run(server.listen(path))
            client = RemoteChanges(path, truth.model, truth.publishes_every_revision, truth.domain)
            try:
                yield client
            finally:
                client.close()
                run(server.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@pytest.mark.parametrize("engine", IN_FILES)
@pytest.mark.parametrize("model", MODELS)
def test_the_remote_feed_is_the_local_one(model: str, engine: str) -> None:
    questions = st.tuples(
        st.integers(0, 45),
        st.sampled_from((1, 2, 7, 1_000)),
        st.none() | st.lists(st.sampled_from(COLUMNS), unique=True),
    )

    @settings(max_examples=examples(2), deadline=None, database=None)
    @given(seed=st.integers(0, 999), count=st.integers(1, 30), asked=st.lists(questions, min_size=1, max_size=4))
    def same(seed: int, count: int, asked: list[Any]) -> None:
        orders = commands(count, seed, records=5, deletes=0.2)
        with tempfile.TemporaryDirectory() as folder:
            truth = open_truth(engine, model, FolderPlace(Path(folder)), EMPLOYEES, "normal")
            try:
                with remote(truth) as feed:
                    # While it is written, and afterwards.
                    for order in orders:
                        truth.execute(order)
                        assert feed.head("employee") == truth.head("employee")
                    assert feed.timeline() == truth.timeline() != []
                    for position, limit, columns in asked:
                        before = list(columns or ())[:2] if model == "history" else []
                        here = truth.changes_since("employee", position, limit, before, columns)
                        assert feed.changes_since("employee", position, limit, before, columns).equals(here)
                        if model == "events":
                            one = truth.earlier("employee", position, limit, columns).sort("position")
                            assert feed.earlier("employee", position, limit, columns).sort("position").equals(one)
                        # As a projection reads it: states, with before-images, and a whole rebuild.
                        wanted = ("salary",) if model != "snapshot" else ()
                        near, far = ChangeReader(truth, wanted), ChangeReader(feed, wanted)
                        assert far.changes_since("employee", position, limit).equals(
                            near.changes_since("employee", position, limit)
                        )
                        pages = [
                            pl.concat(list(one.pages("employee", max(limit, 2))) or [here[:0]]) for one in (near, far)
                        ]
                        assert pages[0].equals(pages[1])
            finally:
                truth.close()

    same()


def test_a_feed_that_breaks_off_is_unavailable_and_then_there_again(tmp_path: Path) -> None:
    truth = open_truth("duckdb", "history", FolderPlace(tmp_path), EMPLOYEES, "normal")
    for order in commands(20):
        truth.execute(order)
    with tempfile.TemporaryDirectory(prefix="feed-") as short:
        path = Path(short) / "feed.sock"
        client = RemoteChanges(path, "history", True, EMPLOYEES)
        with pytest.raises(Unavailable, match="does not answer"):
            client.head("employee")

        async def twice() -> None:
            for _ in range(2):
                server = ChangeServer(truth)
                await server.listen(path)
                assert await asyncio.to_thread(client.head, "employee") == truth.head("employee")
                # What can't be answered is told, and the next question is answered all the same.
                with pytest.raises(Unavailable, match="could not be read: "):
                    await asyncio.to_thread(client.changes_since, "nobody", 0, 10)
                with pytest.raises(Unavailable, match="no method is called close"):
                    await asyncio.to_thread(client._asked, NUMBER, "close")
                assert await asyncio.to_thread(client.head, "employee") == truth.head("employee")
                await server.close()
            # The second server was found by itself; now there is none.
            with pytest.raises(Unavailable):
                await asyncio.to_thread(client.head, "employee")

        asyncio.run(asyncio.wait_for(twice(), 30))
    truth.close()


def test_a_long_page_is_waited_for_and_silence_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "SILENCE", 1.5)
    with tempfile.TemporaryDirectory(prefix="feed-") as short, socket.socket(socket.AF_UNIX) as listening:
        path = Path(short) / "feed.sock"
        listening.bind(str(path))
        listening.listen()
        client = RemoteChanges(path, "history", True, EMPLOYEES)

        def hum(times: int) -> None:
            with listening.accept()[0] as line:
                line.recv(1_000)
                for _ in range(times):
                    threading.Event().wait(0.4)
                    line.sendall(HEAD.pack(feeding.AT_WORK, 0))
                line.sendall(HEAD.pack(NUMBER, 2) + b"17")
                line.recv(1_000)
                # And then nothing, until the reader gives up.
                assert line.recv(1_000) == b""

        # Longer in all than silence may be.
        humming = threading.Thread(target=hum, args=(6,), daemon=True)
        humming.start()
        try:
            assert client.head("employee") == 17
            with pytest.raises(Unavailable, match="timed out"):
                client.head("employee")
        finally:
            client.close()
            humming.join(10)
        assert not humming.is_alive()


@pytest.mark.parametrize(
    "sent", [b"\n", b"[]\n", b"x" * 200_000, b'["head", 7]\n', b"\xff\n", json.dumps(["head"]).encode()]
)
def test_nonsense_takes_nothing_down(sent: bytes, tmp_path: Path) -> None:
    truth = open_truth("sqlite", "history", FolderPlace(tmp_path), EMPLOYEES, "normal")
    with contextlib.closing(truth), remote(truth) as feed:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect(str(feed.path))
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65_536):
                pass
        assert feed.head("employee") == 0
