"""How Memcached is started; what it holds ends with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lab.engines import memcached as engine
from lab.ports import Endpoint
from lab.servers.memcached import SERVER
from lab.servers.program_kind import ProgramKind


class MemcachedKind(ProgramKind):
    """Memcached, with as much memory as it takes by itself: 64 MB."""

    name, variable, scheme = "memcached", "LAB_MEMCACHED", "memcached"
    program, ways = "memcached", "apt-get install memcached"
    keeps = False

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Return the command, with settings as arguments: `m` is `-m`, `memory-limit` is `--memory-limit`."""
        words = [str(binary), "-l", "127.0.0.1", "-p", str(port), "-U", "0"]
        if os.geteuid() == 0:
            # Root has to say which user it is to be.
            words += ["-u", "nobody"]
        for name, value in settings.items():
            words += [f"-{name}", value] if len(name) == 1 else [f"--{name}={value}"]
        return words

    def answers(self, port: int) -> Endpoint:
        """Connect to it, and ask for its version."""
        url = engine.url(self.url(port), self.variable)
        return Endpoint(str(url), str(SERVER.ask(url)["version"]), lambda: engine.MemcachedClient(url))


KIND = MemcachedKind()
