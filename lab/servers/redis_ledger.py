"""The ledger of a Redis server: a hash, and for each owner that lives a subscription to a topic of its number.

A subscription ends with its process, however that dies, and a server doesn't end it for being idle. So an owner whose
topic nobody listens to is dead.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import redis

from lab.engines import redis as engine
from lab.servers.ledger import Held, Ledger, Line

BOOK = b"lab_ledger"
# Seconds after which a sweep that died no longer keeps others from sweeping.
_SWEEPS = 60
# Seconds between two looks at a subscription; and after its start, a server knows who listens.
_LOOKS, _SETTLED = 0.5, 5
# Keys that are looked through, and removed, at a time.
_AT_ONCE = 1_000
# Ends a sweep's own lock, and no other's.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisLedger(Ledger[redis.Redis]):
    """The ledger on the server that `connect` connects to. A `prefix` is of keys, a `stream` is one key."""

    variable: ClassVar[str] = "LAB_REDIS_OWNER"
    kinds: ClassVar[tuple[str, ...]] = ("stream", "prefix")

    def __init__(self, connect: Callable[[], redis.Redis]) -> None:
        self._connect = connect

    @contextmanager
    def session(self) -> Iterator[redis.Redis]:
        """A client for a few commands. Raises Unavailable."""
        client = self._connect()
        try:
            with engine.mapped("what the lab has on the server"):
                yield client
        finally:
            client.close()

    def hold(self, number: int) -> Held:
        """A subscription to the owner's topic."""
        with engine.mapped("the lab's mark on the server"):
            return Subscribed(self._connect(), number)

    @contextmanager
    def dead(self, session: redis.Redis, number: int) -> Iterator[bool]:
        """Whether nobody listens to an owner's topic, and no other sweep is at work on what it left."""
        lock, token = f"lab_sweep:{number}", secrets.token_hex(8)
        mine = _silent(session, number) and bool(session.set(lock, token, nx=True, ex=_SWEEPS))
        try:
            yield mine
        finally:
            if mine:
                session.eval(_RELEASE, 1, lock, token)

    def lines(self, session: redis.Redis) -> list[Line]:
        """Everything that is written down, the oldest first."""
        found = sorted(json.loads(one) for one in session.hvals(BOOK))
        return [Line(*line) for _, *line in found]

    def write(self, session: redis.Redis, line: Line) -> None:
        """Write one line."""
        session.hset(BOOK, _field(line.kind, line.name), json.dumps([time.time(), *line]))

    def strike(self, session: redis.Redis, kind: str, name: str) -> None:
        """Strike a line out."""
        session.hdel(BOOK, _field(kind, name))

    def remove(self, session: redis.Redis, kind: str, name: str) -> None:
        """Remove a stream, or all keys that begin with a prefix and a colon."""
        with engine.mapped(name):
            if kind == "stream":
                session.unlink(name)
            for some in keys_of(session, name) if kind == "prefix" else ():
                session.unlink(*some)


class Subscribed:
    """A subscription that says that an owner lives; one that is lost is taken again at once, by a thread."""

    def __init__(self, client: redis.Redis, number: int) -> None:
        self._client, self._number, self._ends = client, number, threading.Event()
        self._topic = self._subscribe()
        self._thread = threading.Thread(target=self._listen, name=f"{_topic(number)}", daemon=True)
        self._thread.start()

    def _subscribe(self) -> Any:
        topic = self._client.pubsub()
        topic.subscribe(_topic(self._number))
        # Until the server has answered, nobody listens.
        topic.get_message(timeout=engine.SILENT_SECONDS)
        return topic

    def _listen(self) -> None:
        while not self._ends.is_set():
            try:
                self._topic.get_message(timeout=_LOOKS)
            except (redis.RedisError, OSError, ValueError):
                self._ends.wait(_LOOKS / 5)
                if not self._ends.is_set():
                    with suppress(redis.RedisError, OSError):
                        self._topic.close()
                    with suppress(redis.RedisError, OSError):
                        self._topic = self._subscribe()

    def alive(self) -> bool:
        """Whether the server knows of it; after a restart it doesn't, for a moment."""
        try:
            there = _listened(self._client, self._number)
        except (redis.RedisError, OSError):
            there = False
        if not there:
            self.close()
        return there

    def close(self) -> None:
        """End it."""
        self._ends.set()
        if self._thread is not threading.current_thread():
            self._thread.join(2 * _LOOKS)
        with suppress(redis.RedisError, OSError):
            self._topic.close()
        self._client.close()


def keys_of(session: redis.Redis, prefix: str, within: bytes = b"*") -> Iterator[list[bytes]]:
    """The keys that begin with a prefix and a colon, some at a time; one may come twice.

    `prefix` is a name of the lab's, `within` a pattern for what follows the colon.
    """
    found: list[bytes] = []
    for key in session.scan_iter(match=prefix.encode() + b":" + within, count=_AT_ONCE):
        found.append(key)
        if len(found) >= _AT_ONCE:
            yield found
            found = []
    if found:
        yield found


def _silent(session: redis.Redis, number: int) -> bool:
    """Whether nobody listens to an owner's topic, now and a moment later; soon after a restart that isn't known."""
    if _listened(session, number) or int(session.info("server").get("uptime_in_seconds", _SETTLED)) < _SETTLED:
        return False
    time.sleep(2 * _LOOKS)
    return not _listened(session, number)


def _listened(session: redis.Redis, number: int) -> bool:
    ((_, count),) = session.pubsub_numsub(_topic(number))
    return int(count) > 0


def _topic(number: int) -> str:
    return f"lab_owner:{number}"


def _field(kind: str, name: str) -> str:
    return f"{kind} {name}"
