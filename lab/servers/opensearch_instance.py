"""How an emulator of OpenSearch is started: osmem-server, whose data end with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.engines import search_client as engine
from lab.ports import Endpoint
from lab.servers.opensearch import SERVER
from lab.servers.program_kind import ProgramKind


class OpensearchKind(ProgramKind):
    """osmem-server without its dictionaries."""

    name, variable, scheme = "opensearch", "LAB_OPENSEARCH", "http"
    program, ways = "osmem-server", "pip install 'polyglot-lab[opensearch]'"
    wheel = ("osmem_server", "bin/osmem-server*")
    keeps = False

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Return the command; it has no settings. It must not end with its standard input."""
        return [str(binary), "-no-ja", "-no-stdin-watch", "-addr", f"127.0.0.1:{port}"]

    def answers(self, port: int) -> Endpoint:
        """Connect to it, and ask for its version."""
        url = engine.url(self.url(port), self.variable)
        return Endpoint(str(url), str(SERVER.ask(url)["version"]), lambda: SERVER.client(url))


KIND = OpensearchKind()
