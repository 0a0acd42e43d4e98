"""How an emulator of Amazon's services is started: ministack, whose data end with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from lab.engines import aws as engine
from lab.ports import Endpoint
from lab.servers.aws import SERVER
from lab.servers.program_kind import ProgramKind, missing_program


class AwsKind(ProgramKind):
    """The package `ministack`, run by this Python."""

    name, variable, scheme = "aws", "LAB_AWS", "http"
    program, ways = "ministack", "pip install 'polyglot-lab[aws]'"
    keeps = False

    def binary(self) -> Path:
        """Return this Python, if it has the package."""
        if find_spec(self.program) is None:
            raise missing_program(self.name, self.ways)
        return Path(sys.executable)

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Return the command; settings are variables of its environment."""
        return [str(binary), "-m", self.program]

    def environment(self, data: Path, port: int, settings: Mapping[str, str]) -> Mapping[str, str]:
        """Return the address: without it, everybody in the network could reach it."""
        return dict(settings) | {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "HOME": str(data)}

    def answers(self, port: int) -> Endpoint:
        """Connect to it, and ask for its version."""
        url = engine.url(self.url(port), self.variable)
        return Endpoint(str(url), str(SERVER.ask(url)["version"]), lambda: url)


KIND = AwsKind()
