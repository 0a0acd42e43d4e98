"""Servers that tests need: a test without its server is skipped, and fails where LAB_REQUIRE names the server."""

from __future__ import annotations

import os
from functools import cache

import pytest

from lab.base import MissingDriver
from lab.ports import Missing
from lab.servers import server


@cache
def missing(name: str, _environment: str) -> str:
    """Why a server isn't reached, and how to start it; "" for one that is reached. Looked up once."""
    try:
        found = server(name).find()
    except MissingDriver as error:
        return str(error)
    return f"{found.reason}; {found.way_out}" if isinstance(found, Missing) else ""


def needed(name: str) -> None:
    """Skip the test without this server; fail it where the server is required."""
    reason = missing(name, str(sorted(one for one in os.environ.items() if one[0].startswith("LAB_"))))
    if not reason:
        return
    if name in os.environ.get("LAB_REQUIRE", "").split(","):
        pytest.fail(f"LAB_REQUIRE names {name}, and {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "server(name): needs this server")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the servers of a test before its fixtures are made."""
    for mark in item.iter_markers("server"):
        needed(*mark.args)
