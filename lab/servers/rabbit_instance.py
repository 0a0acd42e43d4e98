"""How RabbitMQ is started: Debian's program, or one in the path, with a port mapper (`epmd`) of its own.

Erlang's port mapper is one for a machine as a rule, and stays when its nodes are gone. That of the instance listens at
another port, and ends with the server.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.ports import Endpoint
from lab.servers.processes import free_port
from lab.servers.program_kind import ProgramKind, missing_program
from lab.servers.rabbit import SERVER

_DEBIAN = Path("/usr/lib/rabbitmq/bin")
# The server takes the place of the shell, so the port mapper's parent is the server.
_START = """
@ epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 &
until epmd -port "$ERL_EPMD_PORT" -names > /dev/null 2>&1; do sleep 0.05; done
exec "$1"
"""


class RabbitKind(ProgramKind):
    """RabbitMQ without plugins, for which root may be root. Its only user is `guest`, from this machine."""

    name, variable, scheme = "rabbitmq", "LAB_RABBITMQ", "amqp"
    program, ways = "rabbitmq-server", "apt-get install rabbitmq-server"

    def binary(self) -> Path:
        """Return Debian's program, which its own wrapper in the path starts as another user, or the one in the path."""
        if shutil.which("epmd") is None:
            raise missing_program(self.name, self.ways)
        return found if (found := _DEBIAN / self.program).exists() else super().binary()

    def prepare(self, binary: Path, data: Path, execute: Callable[[Sequence[str]], None]) -> None:
        """Turn off the plugins that are on for the machine's own server."""
        (data / "plugins").write_text("[].\n", encoding="utf-8")

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Write the settings as lines of a configuration, and return the command."""
        given = {"log.console.level": "warning"} | dict(settings)
        lines = [f"{name} = {value}\n" for name, value in given.items()]
        (data / "lab.conf").write_text("".join(lines), encoding="utf-8")
        ends = "setpriv --pdeathsig KILL" if shutil.which("setpriv") else ""
        return ["/bin/sh", "-c", _START.replace("@", ends), "sh", str(binary)]

    def environment(self, data: Path, port: int, settings: Mapping[str, str]) -> Mapping[str, str]:
        """All of the server's own variables: what the machine's configuration says holds for the machine's server."""
        return {
            "HOME": str(data), "ERL_EPMD_PORT": str(free_port()), "ERL_EPMD_ADDRESS": "127.0.0.1",
            # So the script is replaced by the server instead of waiting for it.
            "RUNNING_UNDER_SYSTEMD": "true",
            # One core, which doesn't wait for work in a loop.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": "lab@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port), "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(data / "lab"), "RABBITMQ_CONF_ENV_FILE": str(data / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "plugins"), "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(data / "log"), "RABBITMQ_LOGS": "-", "RABBITMQ_PID_FILE": str(data / "pid"),
        }  # fmt: skip

    def answers(self, port: int) -> Endpoint:
        """Connect to it, and ask for its version."""
        url = SERVER.parsed(self.url(port), self.variable)
        return Endpoint(str(url), str(SERVER.ask(url)["version"]), lambda: url)


KIND = RabbitKind()
