"""Servers that tests need: a test without its server is skipped, and fails where LAB_REQUIRE names the server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import monotonic, sleep

import pytest

from lab.base import MissingDriver
from lab.ports import Missing
from lab.servers import Instance, instance, server
from lab.servers.processes import ends_with_parent, free_port

# How long a server may take until it answers, on a machine that is busy.
STARTS_SECONDS = 120.0


@cache
def missing(name: str, _environment: str) -> str:
    """Why a server isn't reached, and how to start it; "" for one that is reached. Looked up once."""
    try:
        found = server(name).find()
    except MissingDriver as error:
        return str(error)
    return f"{found.reason}; {found.way_out}" if isinstance(found, Missing) else ""


def unreached(name: str) -> str:
    """Why this server isn't reached by the environment as it is; "" for one that is reached."""
    return missing(name, str(sorted(one for one in os.environ.items() if one[0].startswith("LAB_"))))


def needed(name: str) -> None:
    """Skip the test without this server; fail it where the server is required."""
    if reason := unreached(name):
        absent(name, reason)


def absent(name: str, reason: str) -> None:
    """Skip the test, or fail it where the server is required."""
    if name in os.environ.get("LAB_REQUIRE", "").split(","):
        pytest.fail(f"LAB_REQUIRE names {name}, and {reason}", pytrace=False)
    pytest.skip(reason)


@contextmanager
def instance_folder(name: str) -> Iterator[Path]:
    """A folder for an instance of the lab's own, which every user can reach; the test is skipped without its program.

    Where the server is required, a program that is missing fails the test.
    """
    try:
        instance(name, Path("nowhere")).kind.binary()
    except MissingDriver as error:
        absent(name, str(error))
    # Not below pytest's own folder, which another user can't enter.
    folder = Path(tempfile.mkdtemp(prefix=f"lab-{name}-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_instance(name: str, settings: Mapping[str, str] | None = None) -> Iterator[Instance]:
    """An instance of the lab's own that runs, with these settings of the server; it is gone at the end."""
    with instance_folder(name) as folder:
        one = instance(name, folder, bound=True)
        one.start(settings)
        try:
            yield one
        finally:
            if one.process:
                one.stop("kill")


@contextmanager
def logical_server() -> Iterator[None]:
    """A PostgreSQL server of the tests' own, whose log can be read: that of a shared one seldom can."""
    with own_instance("postgres") as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_POSTGRES", one.url)
        yield


@contextmanager
def small_cache() -> Iterator[Instance]:
    """A Memcached server of the tests' own with room for some hundred rows, each of which takes at least 4 KiB."""
    with own_instance("memcached", {"m": "2", "n": "4000"}) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_MEMCACHED", one.url)
        yield one


@contextmanager
def emulated_aws() -> Iterator[Instance]:
    """An emulator of Amazon's services of the tests' own."""
    with own_instance("aws") as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_AWS", one.url)
        yield one


# The program that stands for MongoDB in tests, where the environment names none. It is under the GPL: it is no
# dependency of the lab, nothing of it is imported, and it is run as a process of its own.
SECANTUS, SECANTUS_WAYS = "secantusd-py", "pip install secantusdb, in an environment of its own, and its bin in PATH"


@contextmanager
def emulated_mongodb() -> Iterator[str]:
    """The URL of an emulator of MongoDB of the tests' own; of the real one, where LAB_MONGODB names it."""
    if os.environ.get("LAB_MONGODB"):
        needed("mongodb")
        yield os.environ["LAB_MONGODB"]
        return
    program = shutil.which(os.environ.get("LAB_SECANTUS", SECANTUS))
    if program is None:
        absent("mongodb", f"no MongoDB is named in LAB_MONGODB, and no emulator is installed: {SECANTUS_WAYS}")
        return
    port = free_port()
    command = [program, "--host", "127.0.0.1", "--port", str(port), "--storage-path", ":memory:", "--cache-size", "64M"]
    bound = ends_with_parent(signal.SIGKILL)
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=said, stderr=said, preexec_fn=bound) as process,
    ):
        try:
            with pytest.MonkeyPatch.context() as patch:
                url = f"mongodb://127.0.0.1:{port}"
                patch.setenv("LAB_MONGODB", url)
                until = monotonic() + STARTS_SECONDS
                while isinstance(found := server("mongodb").find(), Missing):
                    if process.poll() is not None or monotonic() > until:
                        said.seek(0)
                        raise AssertionError(f"{found.reason}: {said.read().decode()}")
                    sleep(0.1)
                yield url
        finally:
            process.kill()


@contextmanager
def emulated_search(name: str) -> Iterator[Instance]:
    """An emulator of a search server of the tests' own."""
    with own_instance(name) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv(one.kind.variable, one.url)
        yield one


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "server(name): needs this server")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the servers of a test before its fixtures are made."""
    for mark in item.iter_markers("server"):
        needed(*mark.args)
