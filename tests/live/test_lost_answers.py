"""The link to the source of truth is cut at a commit: what a live writer asked for is done once, and noted once."""

from __future__ import annotations

import json
import re
import select
import socket
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import quote

import pytest
from effort import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import conninfo
from test_gone_back import TEXT as GONE_BACK
from test_live_run import TEXT, planned

from lab.base import Unavailable, stream
from lab.live.run import run_live
from lab.live.writer import Pauses, Writer
from lab.place import FolderPlace
from lab.servers.mariadb import SERVER as MARIADB
from lab.servers.postgres import SERVER as POSTGRES
from lab.truth import EXTRAS, Change, open_truth
from lab.truth.server_truth import AWAY_SECONDS, ServerTruth

# What becomes of a commit: it is answered; it happens, and its answer is lost; it never comes to the server.
Fate = Literal["answered", "done", "undone"]
ANSWERED, DONE, UNDONE = FATES = ("answered", "done", "undone")
# A commit of a writer that keeps what a request came to.
KEEPING = rb"(?s)INSERT INTO lab_requests.*\bCOMMIT\b"

each_engine = pytest.mark.parametrize("engine", [pytest.param(one, marks=pytest.mark.server(one)) for one in EXTRAS])
each_model = pytest.mark.parametrize("model", ["snapshot", "history", "events"])


class CutLink:
    """A proxy before a server: of each message that `cuts` is found in, the next one of `fates` says what it does."""

    def __init__(self, server: str | tuple[str, int], cuts: bytes) -> None:
        self._server, self._cuts = server, re.compile(cuts)
        self.fates = deque[Fate]()
        self.cut = Counter[Fate]()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._lines: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._passing: list[threading.Thread] = []
        self._accepting.start()

    def close(self) -> None:
        """End all connections."""
        for line in (self._listening, *self._lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in (self._accepting, *self._passing):
            thread.join()
        for line in (self._listening, *self._lines):
            line.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                there = socket.socket(socket.AF_UNIX if isinstance(self._server, str) else socket.AF_INET)
                there.connect(self._server)
                self._lines += [client, there]
                self._passing.append(threading.Thread(target=self._pass_on, args=(client, there)))
                self._passing[-1].start()

    def _pass_on(self, client: socket.socket, there: socket.socket) -> None:
        with suppress(OSError), client:
            while True:
                for line in select.select([client, there], [], [])[0]:
                    found = line.recv(2**16)
                    fate = self._fate(found) if line is client else ANSWERED
                    if found and fate != UNDONE:
                        (there if line is client else client).sendall(found)
                    if fate == DONE:
                        # The server may still be at it while the writer asks already: its connection stays.
                        return
                    if not found or fate == UNDONE:
                        there.shutdown(socket.SHUT_RDWR)
                        return

    def _fate(self, found: bytes) -> Fate:
        fate: Fate = self.fates.popleft() if self.fates and self._cuts.search(found) else "answered"
        self.cut[fate] += fate != ANSWERED
        return fate


@contextmanager
def link_before(engine: str, cuts: bytes) -> Iterator[CutLink]:
    """A link before the server that there is; for as long as it lives, the lab finds the server behind it."""
    address: str | tuple[str, int]
    if engine == "postgres":
        told: dict[str, Any] = conninfo.conninfo_to_dict(POSTGRES.dsn().secret)
        host, port = str(told.get("host") or "127.0.0.1"), int(told.get("port") or 5432)
        address = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
    else:
        told = MARIADB.dsn().words
        address = told.get("unix_socket") or (told["host"], told["port"])
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        link = CutLink(address, cuts)
        stack.callback(link.close)
        if engine == "postgres":
            here = {"host": "127.0.0.1", "port": link.port, "sslmode": "disable", "gssencmode": "disable"}
            patch.setenv("LAB_POSTGRES", conninfo.make_conninfo(POSTGRES.dsn().secret, **here))
        else:
            who, word = quote(told["user"], safe=""), quote(told.get("password", b""), safe="")
            patch.setenv("LAB_MARIADB", f"mariadb://{who}{f':{word}' if word else ''}@127.0.0.1:{link.port}/")
        yield link


class Written:
    """A live writer behind a link, and a source of truth in a file for which the same commands are carried out."""

    def __init__(self, engine: str, model: str, folder: Path, link: CutLink) -> None:
        made = planned(folder, TEXT, f"truth.engine={engine}", f"truth.model={model}", "workload.commands=5000")
        self.link, self.journal = link, StringIO()
        self.commands = enumerate(made.domain.workload(made.options, stream(made.scenario.seed, "workload")))
        self.first = made.truth(FolderPlace(folder / "truth"))
        self.truth = made.truth_joined(FolderPlace(folder / "truth"))
        self.plain = open_truth("sqlite", model, FolderPlace(folder / "plain"), made.domain, "normal")
        self.wanted: list[Any] = []
        self._changes: list[Change] = []
        self.plain.publish = self._changes.append
        self.writer = Writer(made, self.truth, None, self.journal, Pauses.draw(None, 5000, made.scenario.seed))

    def go_on(self) -> None:
        """Carry out the next command on both."""
        number, command = next(self.commands)
        self._changes.clear()
        outcome = self.plain.execute(command)
        self.wanted.append((outcome.status, [(one.key, one.revision, one.event) for one in self._changes]))
        self.writer.execute(number, command, 0.0)

    @property
    def noted(self) -> list[tuple[str, list[Any]]]:
        """The lines of the journal: of each the outcome, and the rows with their entity."""
        return [tuple(json.loads(line)[-2:]) for line in self.journal.getvalue().splitlines()]

    def confirm(self) -> None:
        """What was noted is what had to come of the commands, and what the server has."""
        told = [(status, [(row[2], row[3], row[-1]) for row in rows]) for status, rows in self.noted]
        assert told == self.wanted
        rows = {(row[1], row[2], row[3]) for _, rows in self.noted for row in rows}
        if not self.truth.publishes_every_revision:
            newest = {key: (position, key, revision) for position, key, revision in sorted(rows)}
            rows = set(newest.values())
        there = self.first.changes_since("employee", 0, 10**6).select("position", "key", "revision").rows()
        assert sorted(there) == sorted(rows)

    def close(self) -> None:
        """Drop what is on the server."""
        for each in (self.truth, self.plain):
            each.close()
        self.first.drop()


@pytest.fixture
def written(engine: str, model: str, tmp_path: Path) -> Iterator[Written]:
    """A writer, and the link that it writes through."""
    with link_before(engine, rb"\bCOMMIT\b") as link:
        made = Written(engine, model, tmp_path, link)
        try:
            yield made
        finally:
            link.fates.clear()
            made.close()


@each_engine
@each_model
# One writer for all examples: each goes on with the commands that are next.
@settings(max_examples=examples(2), suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(fates=[DONE])
@example(fates=[UNDONE])
# The question is not answered either.
@example(fates=[DONE, DONE, DONE])
@example(fates=[UNDONE, DONE, UNDONE, ANSWERED, DONE])
@given(fates=st.lists(st.sampled_from(FATES), max_size=8))
def test_a_command_whose_commit_was_not_answered_is_done_once_and_noted_once(
    written: Written, fates: list[Fate]
) -> None:
    before = written.link.cut.total()
    written.link.fates.extend(fates)
    for _ in range(2):
        written.go_on()
    while written.link.fates:
        written.go_on()
    assert written.link.cut.total() - before == len(fates) - fates.count(ANSWERED)
    written.confirm()


@each_engine
@pytest.mark.parametrize("model", ["history"])
@pytest.mark.parametrize("fate", [DONE, UNDONE])
def test_without_an_id_nobody_knows_and_the_writer_ends(
    written: Written, fate: Fate, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.go_on()
    # A source of truth without a server is told no ids.
    monkeypatch.setattr(type(written.truth), "server", "")
    written.link.fates.append(fate)
    with pytest.raises(Unavailable, match="without the id of a request it can't be found out"):
        written.go_on()
    assert len(written.noted) == 1


@each_engine
@pytest.mark.parametrize("model", ["history"])
def test_a_server_that_is_away_after_a_long_transaction_is_waited_for_as_well(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long it has been away is counted from when that was noticed, not from when the command began."""
    truth, now, away = written.truth, [0.0], iter([True, True])
    assert isinstance(truth, ServerTruth)
    connected = truth.on._connected

    def reached(*arguments: Any) -> Any:
        if next(away, False):
            raise Unavailable("the server is away")
        return connected(*arguments)

    def pass_on(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(truth.on, "_connected", reached)
    monkeypatch.setattr("lab.truth.server_truth.time", SimpleNamespace(monotonic=lambda: now[0], sleep=pass_on))
    truth.committing = lambda _: pass_on(2 * AWAY_SECONDS)
    written.link.fates.append(DONE)
    written.go_on()
    assert next(away, None) is None
    written.confirm()


@pytest.mark.server("mariadb")
def test_a_run_whose_link_is_cut_at_commits_loses_and_doubles_nothing(tmp_path: Path) -> None:
    text = GONE_BACK.replace('"postgres"', '"mariadb"').replace("[catch_up]", '[catch_up]\ngaps = "hold"')
    fates: list[Fate] = [ANSWERED, DONE, UNDONE, ANSWERED, DONE, DONE, UNDONE]
    with link_before("mariadb", KEEPING) as link:
        link.fates.extend(fates)
        made = planned(tmp_path, f"{text}[writers]\ncount = 2\nabort = 0.1\n", "workload.commands=60")
        done = run_live(made, tmp_path / "runs", report=False)
        assert link.cut.total() == 5
    # Compared with what the source of truth holds: a change that nobody noted, or is not there, makes a run unsound.
    assert done.manifest["verdict"] == "pass"
    (writes,) = done.table("writes").to_dicts()
    assert writes["accepted"] + writes["rejected"] + writes["conflicts"] == 60
    assert done.table("lag").height == done.manifest["changes"]
