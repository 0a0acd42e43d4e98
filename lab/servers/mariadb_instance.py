"""How MariaDB is started: Debian's program, or one in the path. Its superuser `root` has no password."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.engines import mariadb as engine
from lab.engines.mariadb_url import MariadbUrl
from lab.ports import Endpoint
from lab.servers.mariadb import SERVER
from lab.servers.program_kind import ProgramKind, missing_program

# As a new server is: each commit waits for the disk. Its log can be read as changes, and is kept for a day.
SETTINGS = {
    "innodb_flush_log_at_trx_commit": "1", "character_set_server": "utf8mb4", "local_infile": "1", "server_id": "1",
    "log_bin": "lab-log", "binlog_format": "ROW", "sync_binlog": "1", "expire_logs_days": "1",
    "max_binlog_size": "104857600",
}  # fmt: skip


class MariadbKind(ProgramKind):
    """MariaDB, which root may run as root."""

    name, variable, scheme = "mariadb", "LAB_MARIADB", "mariadb"
    program, ways = "mariadbd", "apt-get install mariadb-server"

    def binary(self) -> Path:
        """Return the program in the path, or where Debian has it."""
        found = shutil.which(self.program) or shutil.which(self.program, path="/usr/sbin")
        if found is None:
            raise missing_program(self.name, self.ways)
        return Path(found)

    def prepare(self, binary: Path, data: Path, execute: Callable[[Sequence[str]], None]) -> None:
        """Make the tables of users and rights."""
        made = shutil.which("mariadb-install-db")
        if made is None:
            raise missing_program(self.name, self.ways)
        words = [f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db", *_user()]
        execute([made, "--no-defaults", *words])

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Return the command, with settings as arguments. Names of files are relative to the data: these may be far."""
        given = SETTINGS | dict(settings)
        given |= {"datadir": str(data), "port": str(port), "bind_address": "127.0.0.1"}
        given |= {"socket": "lab.sock", "pid_file": "lab.pid"}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        return [str(binary), "--no-defaults", *words, *_user()]

    def url(self, port: int) -> str:
        """Return its URL."""
        return f"mariadb://root@127.0.0.1:{port}/"

    def answers(self, port: int) -> Endpoint:
        """Connect to it, and ask for its version."""
        url = MariadbUrl(self.url(port), self.variable)
        return Endpoint(str(url), SERVER.version(url), lambda: engine.connect(url))


def _user() -> list[str]:
    """MariaDB runs as root only if it is told to."""
    return ["--user=root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


KIND = MariadbKind()
