"""Open Redis in one way everywhere: with time limits, nothing tried again unseen, its settings read back.

Valkey and other servers of its protocol are opened in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lab.base import BadInput, CannotTake, Damaged, LabError, Problem, Unavailable
from lab.engines.mapping import mapping
from lab.engines.urls import ServerUrl
from lab.formatting import first_line

# Seconds until a connection is given up that isn't answered; and until one is that has fallen silent.
CONNECT_SECONDS, SILENT_SECONDS = 5, 15
EXAMPLE = "redis://127.0.0.1:6379/0"
SCHEMES = ("redis", "rediss", "unix")
# The extra brings it; the driver does without.
_PACK: Any = import_module("hiredis").pack_command if find_spec("hiredis") else None
# What a server says of a value that it will never take; by the first word of its answer, or of its reason.
_NEVER = ("string exceeds maximum allowed size", "value is not", "invalid bulk length")


def url(text: str, where: str) -> ServerUrl:
    """Return the address of a server. Raises BadInput, also for an option that the driver doesn't know."""
    found = ServerUrl(text, where, SCHEMES, EXAMPLE)
    path = urlsplit(found.secret).path.strip("/")
    try:
        if not found.secret.startswith("unix:") and path and not path.isdecimal():
            raise ValueError
        # Makes a connection without opening it.
        connect(found).connection_pool.make_connection()
    except (ValueError, TypeError):
        what = "the number of the database, or an option behind `?`, is none that its driver takes"
        raise BadInput([Problem(where, f"{found}: {what}", f"for example {EXAMPLE}")]) from None
    return found


def connect(address: ServerUrl, name: str = "lab") -> redis.Redis:
    """Return a client of one connection, which is opened by its first command. Answers are bytes.

    A command that fails is tried again by nobody: whoever gave it has to know.
    """
    # A socket of this machine has nothing to be kept alive.
    lasting = {} if address.secret.startswith("unix:") else {"socket_keepalive": True}
    return redis.Redis.from_url(
        address.secret,
        single_connection_client=False,
        max_connections=4,
        client_name=name,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=SILENT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **lasting,
    )


def translated(what: str, error: Exception) -> LabError | None:
    """Return the lab's error for one that the driver raised; None for a mistake in a command.

    Unavailable: away, loading, full, read only, no rights. CannotTake: a value that is too large. Damaged: a key holds
    another kind of value than the lab wrote there.
    """
    said = f"{what}: {first_line(error) or type(error).__name__}"
    text = str(error)
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        return Unavailable(said)
    if isinstance(error, redis.DataError) or any(one in text for one in _NEVER):
        return CannotTake(said)
    if text.startswith(("WRONGTYPE", "Operation against a key")):
        return Damaged(said)
    if isinstance(error, redis.RedisError):
        # Out of memory, a replica, a script at work, rights: each can be mended while the projection waits.
        return Unavailable(said)
    return None


mapped = mapping((redis.RedisError, OSError), translated)


class RedisLine:
    """One connection of a client, on which whole sequences of commands travel at once."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._connection = self._pool.get_connection()
        self._closed = False

    def ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send all, then read an answer to each; an error that the server answers is returned in its place.

        After any other error the connection is closed, and what became of the commands isn't known.
        """
        connection = self._connection
        try:
            connection.send_packed_command(_packed(connection, commands), check_health=False)
            return [_answer(connection) for _ in commands]
        except BaseException:
            connection.disconnect()
            raise

    @property
    def open(self) -> bool:
        """Whether it is connected, as far as this side knows."""
        return bool(self._connection.is_connected)

    def close(self) -> None:
        """Close the connection and give it back. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            with suppress(redis.RedisError, OSError):
                self._connection.disconnect()
            self._pool.release(self._connection)


def _packed(connection: Any, commands: Sequence[Sequence[Any]]) -> Any:
    """Commands as the protocol has them; the driver looks at each word once more, which takes as long again."""
    if _PACK is None:
        return connection.pack_commands(commands)
    return [b"".join(_PACK(tuple(command)) for command in commands)]


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        return error


def settings(client: redis.Redis) -> dict[str, Any]:
    """Return the version and the settings that affect durability, memory and eviction, as the server reports them.

    `durability` is `full` where each write waits for the disk, `normal` where a second of them can be lost, and
    `memory` where a restart loses everything, or all since the last snapshot.
    """
    info = client.info()
    found: dict[str, Any] = {
        "library": f"redis-py {redis.__version__}",
        "server_version": str(info.get("valkey_version") or info.get("redis_version", "")),
        "server": str(info.get("server_name") or "redis"),
        "role": str(info.get("role", "")),
    }
    for name in ("maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "save"):
        # A server may keep its configuration to itself.
        with suppress(redis.ResponseError):
            found |= {str(key).replace("-", "_"): value for key, value in client.config_get(name).items()}
    found.setdefault("appendonly", "yes" if info.get("aof_enabled") else "no")
    if found["appendonly"] != "yes":
        return found | {"durability": "memory"}
    return found | {"durability": "full" if found.get("appendfsync") == "always" else "normal"}
