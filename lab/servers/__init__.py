"""Servers: how each is found, what of it matters, how to start one; and what the lab made on them.

One module for each kind of server. Nothing here stores or decides anything: stores and write models ask for a place on
a server, `ServerPlace`, and open their connections through `lab.engines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from lab.base import BadInput, LabError, Problem
from lab.ports import Endpoint, Missing
from lab.servers.instances import Instance
from lab.servers.starting import STARTED, described_by, instance, own


class KnownServer(Protocol):
    """One kind of server, as `lab servers` and the wiring ask for it."""

    def find(self) -> Endpoint | Missing:
        """Look where the environment says, or else where such a server usually listens."""

    def settings(self) -> Mapping[str, Any]:
        """The settings that matter, as read back from the server that `find` found. Raises Unavailable."""

    def forget(self, folder: Path) -> None:
        """Drop what this process made for folders below one, unless it is kept."""

    def begin(self) -> None:
        """Take this process's lock: until it ends, what it makes there is its own. Raises Unavailable."""

    def clean(self) -> list[str]:
        """Drop what ended processes of the lab left there; returns the names. Raises Unavailable."""


# Where each kind is described, as lazy strings: a driver that is not installed breaks nothing.
_MODULES = {
    "postgres": "lab.servers.postgres",
    "mariadb": "lab.servers.mariadb",
    "redis": "lab.servers.redis",
    "memcached": "lab.servers.memcached",
    "nats": "lab.servers.nats",
    "rabbitmq": "lab.servers.rabbit",
    "kafka": "lab.servers.kafka",
    "aws": "lab.servers.aws",
    "mongodb": "lab.servers.mongodb",
    "elasticsearch": "lab.servers.elasticsearch",
    "opensearch": "lab.servers.opensearch",
}
SERVERS = tuple(_MODULES)
# Brokers that are served under another name.
_SERVES = {"kinesis": "aws"}


def server_of(broker: str) -> str:
    """The kind of server that a channel's broker is; "" for one of another package, which needs none that is known."""
    found = _SERVES.get(broker, broker)
    return found if found in SERVERS else ""


def server(name: str) -> KnownServer:
    """The server of this kind. Raises MissingDriver where its driver is not installed."""
    found: KnownServer = described_by(name, _MODULES).SERVER
    return found


def require(wanted: Iterable[tuple[str, str]]) -> None:
    """Refuse to begin without the servers that are needed, given as pairs: who needs it, and which kind.

    Raises BadInput with a problem for each that isn't reached, and the way to start it. What ended processes left on
    those that are reached is removed.
    """
    problems: list[Problem] = []
    asked: dict[str, list[str]] = {}
    for where, name in wanted:
        asked.setdefault(name, []).append(where)
    for name, places in asked.items():
        match server(name).find():
            case Missing(reason, way_out):
                problems += [Problem(where, reason, way_out) for where in places]
            case _:
                server(name).clean()
                server(name).begin()
    if problems:
        raise BadInput(problems)


def forget(wanted: Iterable[tuple[str, str]], folder: Path) -> None:
    """Drop what this process made on these servers for folders below one, unless it is kept."""
    for name in dict.fromkeys(name for _, name in wanted):
        server(name).forget(folder)


def catalogue(names: Iterable[str] = SERVERS) -> list[dict[str, Any]]:
    """A row for each kind of server, for `lab servers`: whether it is reached, its version and settings."""
    rows = []
    for name in names:
        row: dict[str, Any] = {
            "server": name, "reachable": False, "url": "", "version": "", "settings": {}, "reason": "", "start": "",
            "folder": "",
        }  # fmt: skip
        try:
            one = server(name)
            match one.find():
                case Missing(reason, way_out):
                    row |= {"reason": reason, "start": way_out}
                case Endpoint(url, version):
                    row |= {"reachable": True, "url": url, "version": version, "settings": dict(one.settings())}
                    started = own(name)
                    row |= {"folder": started[1]} if started is not None and started[0] == url else {}
        except LabError as error:
            row |= {"reason": str(error)}
        rows.append(row)
    return rows


def described(wanted: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """What a run records of each server that it needed: URL, version and settings; if it is away, why."""
    told = ("url", "version", "settings", "reason")
    names = dict.fromkeys(name for _, name in wanted)
    return {str(row["server"]): {each: row[each] for each in told if row[each]} for row in catalogue(names)}


__all__ = [
    "SERVERS", "STARTED", "Instance", "KnownServer", "catalogue", "described", "forget", "instance", "require",
    "server", "server_of",
]  # fmt: skip
