"""Redis, or Valkey: found by the variable LAB_REDIS, by the file that LAB_REDIS_FILE names, or where it usually is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import redis

from lab.base import BadInput, LabError
from lab.engines import redis as engine
from lab.engines.urls import ServerUrl
from lab.ports import Endpoint, Missing
from lab.servers.environment import said, way_out
from lab.servers.listed import Listed
from lab.servers.redis_ledger import RedisLedger
from lab.servers.starting import own

VARIABLE = "LAB_REDIS"
USUAL = "redis://127.0.0.1:6379/0"
START = (
    "start one: apt-get install redis-server && lab servers start redis, or service redis-server start, "
    "or docker run --rm -p 127.0.0.1:6379:6379 redis:8; "
    f"say where it is: export {VARIABLE}={USUAL}"
)
KEEPS = "redis-cli config set maxmemory-policy noeviction: a batch is then refused when the memory is full, and waits"


class RedisServer(Listed):
    """The Redis server that the environment names, or the one on this machine."""

    @cached_property
    def book(self) -> RedisLedger:
        """The ledger of the server that the environment names."""
        return RedisLedger(self.connect)

    def find(self) -> Endpoint | Missing:
        """Ask the place where it is said to be for its version."""
        try:
            address = self.url()
            client = engine.connect(address)
            try:
                with engine.mapped(str(address), address):
                    settings = engine.settings(client)
            finally:
                client.close()
        except BadInput as error:
            return Missing(str(error.problems[0]), START)
        except LabError as error:
            return Missing(f"no Redis server is reached: {error}", way_out(str(error), VARIABLE, START))
        if evicts(settings):
            what = f"{address} removes keys when its memory is full (maxmemory-policy {settings['maxmemory_policy']})"
            return Missing(f"{what}: what it removes is lost, and nobody is told", KEEPS)
        return Endpoint(str(address), str(settings["server_version"]), lambda: engine.connect(address))

    def url(self) -> ServerUrl:
        """Where the environment says that it is, or else the usual place. Raises BadInput."""
        text, where = said(VARIABLE, "a URL") or own("redis") or (USUAL, VARIABLE)
        return engine.url(text, where)

    def connect(self, name: str = "lab") -> redis.Redis:
        """Return a client. Raises BadInput; that no server answers shows at its first command."""
        return engine.connect(self.url(), name)

    def settings(self) -> Mapping[str, Any]:
        """The settings that matter, as read back from it. Raises Unavailable."""
        client = self.connect()
        try:
            with engine.mapped(str(self.url()), self.url()):
                return engine.settings(client)
        finally:
            client.close()


def evicts(settings: Mapping[str, Any]) -> bool:
    """Return whether a server with these settings removes keys that nobody gave a time to live."""
    return str(settings.get("maxmemory", "0")) != "0" and str(settings.get("maxmemory_policy", "")).startswith(
        "allkeys"
    )


SERVER = RedisServer()
LEDGER = SERVER.book
