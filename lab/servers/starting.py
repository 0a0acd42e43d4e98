"""Which kinds of servers the lab starts itself, and the instance of each that runs in its usual folder."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lab.base import LabError, MissingDriver
from lab.servers.instances import Instance

# Kinds that the lab can start: each module has a `KIND`.
_KINDS = {
    "postgres": "lab.servers.postgres_instance",
    "mariadb": "lab.servers.mariadb_instance",
    "redis": "lab.servers.redis_instance",
    "nats": "lab.servers.nats_instance",
    "memcached": "lab.servers.memcached_instance",
    "rabbitmq": "lab.servers.rabbit_instance",
    "aws": "lab.servers.aws_instance",
    "elasticsearch": "lab.servers.elasticsearch_instance",
    "opensearch": "lab.servers.opensearch_instance",
}
# The extras that have their drivers, where these are called otherwise.
_EXTRAS = {"postgres": "postgresql", "mariadb": "mysql"}
STARTED = tuple(_KINDS)
# Where `lab servers start NAME` keeps its data if no folder is named, below the working directory.
FOLDER = Path("servers")


def instance(name: str, folder: Path | None = None, bound: bool = False) -> Instance:
    """The instance of this kind in a folder: see `Instance`. Raises MissingDriver where its driver is not installed."""
    return Instance(described_by(name, _KINDS).KIND, FOLDER / name if folder is None else folder, bound)


def own(name: str) -> tuple[str, str] | None:
    """The URL of the lab's own instance of a kind that runs in the usual folder, and that folder; else None."""
    if name not in STARTED or not (FOLDER / name).exists():
        return None
    try:
        one = instance(name)
        return (one.url, str(FOLDER / name)) if one.process else None
    except LabError:
        # A folder of something else, or a driver that isn't there.
        return None


def described_by(name: str, modules: Mapping[str, str]) -> Any:
    """The module that describes a kind. Raises MissingDriver where its driver is not installed."""
    try:
        return import_module(modules[name])
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(name, name)
        raise MissingDriver(f"{name}: {error}; get it with: pip install 'polyglot-lab[{extra}]'") from None
