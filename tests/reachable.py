"""Servers that tests need: a test without its server is skipped, and fails where LAB_REQUIRE names the server."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from lab.base import MissingDriver
from lab.ports import Missing
from lab.servers import Instance, instance, server


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


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "server(name): needs this server")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the servers of a test before its fixtures are made."""
    for mark in item.iter_markers("server"):
        needed(*mark.args)
