"""How an emulator of Elasticsearch is started: noida-db, a program that a wheel brings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.engines import search_client as engine
from lab.ports import Endpoint
from lab.servers.elasticsearch import SERVER
from lab.servers.program_kind import ProgramKind


class ElasticsearchKind(ProgramKind):
    """noida-db with its Elasticsearch alone."""

    name, variable, scheme = "elasticsearch", "LAB_ELASTICSEARCH", "http"
    program, ways = "noida-db", "pip install 'polyglot-lab[elasticsearch]'"
    wheel, wrapped = ("noida_db", "noida-db*"), True

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Return the command; it has no settings."""
        words = [str(binary), "start", "--only", "elasticsearch", "--host", "127.0.0.1"]
        return [*words, "--elasticsearch-port", str(port), "--data-dir", str(data)]

    def answers(self, port: int) -> Endpoint:
        """Connect to it, and ask for its version."""
        url = engine.url(self.url(port), self.variable)
        return Endpoint(str(url), str(SERVER.ask(url)["version"]), lambda: SERVER.client(url))


KIND = ElasticsearchKind()
