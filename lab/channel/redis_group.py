"""Groups on Redis: a lease is a key that expires, a generation a counter, and members are a set sorted by expiry.

Each script is executed as a whole, and the times are the server's own.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from lab.channel.groups import LeasedMember
from lab.channel.redis import RedisChannel

# Seconds after which what is left of a group is gone, if nobody has dropped it.
_EXPIRES = 86_400

_BEAT = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZADD', KEYS[1], ms + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
_RENEW = "return redis.call('GET', KEYS[2]) == ARGV[1] and redis.call('PEXPIRE', KEYS[2], ARGV[2]) or 0"
_TAKE = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local last = math.max(tonumber(redis.call('HGET', KEYS[3], ARGV[2]) or '0'), tonumber(ARGV[4]))
redis.call('HSET', KEYS[3], ARGV[2], string.format('%.0f', last + 1))
redis.call('EXPIRE', KEYS[3], ARGV[5])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return last + 1
"""
_GIVE = "return redis.call('GET', KEYS[2]) == ARGV[1] and redis.call('DEL', KEYS[2]) or 0"
_GONE = "return redis.call('ZREM', KEYS[1], ARGV[1])"


class RedisGroup:
    """A `ConsumerGroup` in the keys below this name; new ones, written down first, if it is empty."""

    def __init__(self, partitions: int, lease_seconds: float, name: str = "") -> None:
        self.partitions, self.lease = partitions, round(lease_seconds * 1_000)
        # Its connection, its errors and the ledger are those of a channel, whose stream is never made.
        self._below = RedisChannel(name=name)
        self.name = self._below.name

    def join(self, member: str) -> RedisMember:
        """Become a member."""
        return RedisMember(self, member)

    def close(self) -> None:
        """Close the connections."""
        self._below.close()

    def drop(self) -> None:
        """Remove all keys."""
        self._below.drop()

    def execute(self, script: str, partition: int, arguments: Sequence[Any]) -> Any:
        """Execute a script on the keys of a partition. Raises Unavailable."""
        keys = [f"{self.name}:alive", f"{self.name}:lease:{partition}", f"{self.name}:generations"]
        return self._below.execute(script, arguments, keys)


class RedisMember(LeasedMember):
    """A member whose leases have its name and a token of its own, so that one of the same name has none of them."""

    def __init__(self, group: RedisGroup, name: str) -> None:
        super().__init__(name, group.partitions)
        self._group, self._token = group, f"{name}/{secrets.token_hex(8)}"

    def _beat(self) -> Sequence[str]:
        found = self._group.execute(_BEAT, 0, [self.name, self._group.lease, _EXPIRES])
        return [one.decode() for one in found]

    def _renew(self, partition: int) -> bool:
        return bool(self._group.execute(_RENEW, partition, [self._token, self._group.lease]))

    def _take(self, partition: int, above: int) -> int | None:
        rest = [partition, self._group.lease, above, _EXPIRES]
        return int(self._group.execute(_TAKE, partition, [self._token, *rest])) or None

    def _give(self, partition: int) -> None:
        self._group.execute(_GIVE, partition, [self._token])

    def _gone(self) -> None:
        self._group.execute(_GONE, 0, [self.name])
