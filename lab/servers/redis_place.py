"""A place on a Redis server: a prefix of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import redis

from lab.servers.place import ServerPlace
from lab.servers.redis import LEDGER, SERVER
from lab.servers.redis_ledger import RedisLedger, keys_of

# Keys that are asked for their size: of more, the rest is as large on average.
_ASKED = 1_000


@dataclass(frozen=True)
class RedisPlace(ServerPlace):
    """One generation of data in all keys that begin with a name and a colon."""

    kind: ClassVar[str] = "prefix"
    at = SERVER

    @property
    def book(self) -> RedisLedger:
        """The ledger of the server that the environment names."""
        return LEDGER

    def is_made(self, session: redis.Redis, name: str) -> bool:
        """Return whether the key is there that `make` makes: after a restart, a server may have lost it."""
        return bool(session.exists(owner_key(name)))

    def make(self, session: redis.Redis, name: str) -> None:
        """Make the key by which its writers know each other."""
        session.set(owner_key(name), "", nx=True)

    def bytes_of(self, session: redis.Redis, name: str) -> int:
        """The memory of all keys; of many, an estimate from some."""
        keys = [key for some in keys_of(session, name) for key in some]
        asked = keys[:: max(1, len(keys) // _ASKED)]
        pipeline = session.pipeline(transaction=False)
        for key in asked:
            pipeline.memory_usage(key)
        known = [int(one) for one in pipeline.execute() if one]
        return sum(known) * len(keys) // max(1, len(known))


def owner_key(name: str) -> str:
    """The key that has the token of whoever writes there."""
    return f"{name}:owner"
