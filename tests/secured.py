"""Servers of the tests' own that want TLS and a password, and certificates for them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from reachable import own_instance

from lab.engines import mariadb as mariadb_engine
from lab.engines import postgres as postgres_engine
from lab.engines import redis as redis_engine
from lab.engines.dsn import Dsn
from lab.engines.mariadb import MariadbSession
from lab.engines.mariadb_url import MariadbUrl
from lab.engines.postgres import Session
from lab.servers import Instance
from lab.servers.instances import LOG
from lab.servers.processes import free_port

# Has what a URL must write otherwise. No other text has its first letters.
PASSWORD, USER = "xq7-hunter-é:/@%&?=", "lab_of_a_test"
MARK = "xq7-hunter"
_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1, DNS:localhost
"""


class Certificates:
    """An authority, a certificate for 127.0.0.1 that it has signed, and another authority that has signed nothing."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl makes the certificates: apt-get install openssl")
        self.folder = folder
        self.authority = self._made("authority", "authority")
        self.other = self._made("other", "authority")
        words = ["-CA", str(self.authority), "-CAkey", str(self.authority.with_suffix(".key"))]
        self.server = self._made("server", "server", *words)
        self.key = self.server.with_suffix(".key")

    def given(self, folder: Path) -> tuple[Path, Path]:
        """Copies of the server's certificate and key in a folder, which are its owner's."""
        owner = folder.stat()
        found = []
        for one in (self.server, self.key):
            copy = folder / one.name
            shutil.copyfile(one, copy)
            copy.chmod(0o600)
            os.chown(copy, owner.st_uid, owner.st_gid)
            found.append(copy)
        return found[0], found[1]

    def _made(self, name: str, kind: str, *words: str) -> Path:
        config, made = self.folder / f"{name}.cnf", self.folder / f"{name}.crt"
        config.write_text(_CONFIG.format(name=name))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "2", "-config", str(config), "-extensions", kind, "-out", str(made)]
        command += ["-keyout", str(made.with_suffix(".key")), *words]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return made


@dataclass(frozen=True)
class Secured:
    """A server that wants TLS and a password: its variable, and its URL for a password and a file of authorities."""

    variable: str
    url: Callable[[str, Path], str]
    # What it says to a wrong password, and of one whose authority isn't known.
    refuses: str
    distrusted: str = "certificate verify failed"
    own: Instance | None = None


@contextmanager
def postgres(certificates: Certificates) -> Iterator[Secured]:
    """PostgreSQL whose user comes by TLS alone, with SCRAM."""
    with own_instance("postgres") as own:
        data = own.folder / "data"
        certificates.given(data)
        rights = data / "pg_hba.conf"
        mine = f"hostssl all {USER} 127.0.0.1/32 scram-sha-256\nhost all {USER} 127.0.0.1/32 reject\n"
        rights.write_text(mine + rights.read_text())
        with postgres_engine.connect(Dsn(own.url)) as connection:
            session = Session(connection)
            session.execute(f"CREATE ROLE {USER} LOGIN REPLICATION PASSWORD {session.literal(PASSWORD)}")
            session.execute(f"GRANT CREATE ON DATABASE postgres TO {USER}")
            session.execute("ALTER SYSTEM SET ssl = on")
            session.execute("SELECT pg_reload_conf()")
        until(lambda: _speaks_tls(own.url))
        where = _after_user(own.url)

        def url(password: str, authority: Path) -> str:
            return f"postgresql://{_login(password)}@{where}?sslmode=verify-full&sslrootcert={authority}"

        yield Secured("LAB_POSTGRES", url, "password authentication failed")


@contextmanager
def mariadb(certificates: Certificates) -> Iterator[Secured]:
    """MariaDB that takes nobody without TLS."""
    with own_instance("mariadb") as own:
        own.stop()
        certificate, key = certificates.given(own.folder / "data")
        own.start({"ssl_cert": str(certificate), "ssl_key": str(key)})
        session = MariadbSession(mariadb_engine.connect(MariadbUrl(own.url)))
        session.execute(f"CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY ?", (PASSWORD,))
        session.execute(f"GRANT ALL ON *.* TO {USER}@'127.0.0.1'")
        session.execute("SET GLOBAL require_secure_transport = ON")
        session.close()
        where = _after_user(own.url)

        def url(password: str, authority: Path) -> str:
            return f"mariadb://{_login(password)}@{where}?ssl_ca={authority}&ssl_verify_identity=true"

        yield Secured("LAB_MARIADB", url, "Access denied for user", own=own)


@contextmanager
def redis(certificates: Certificates) -> Iterator[Secured]:
    """Redis whose user has rights of its own, and nobody else any; the lab's keys alone."""
    port = free_port()
    settings = {"tls-port": str(port), "tls-cert-file": str(certificates.server)}
    settings |= {"tls-key-file": str(certificates.key), "tls-ca-cert-file": str(certificates.authority)}
    with own_instance("redis", settings | {"tls-auth-clients": "no"}) as own:
        client = redis_engine.connect(redis_engine.url(own.url, "here"))
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~lab_*", "&lab_*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", "off")
        client.close()

        def url(password: str, authority: Path) -> str:
            return f"rediss://{_login(password)}@127.0.0.1:{port}/0?ssl_ca_certs={authority}"

        yield Secured("LAB_REDIS", url, "invalid username-password pair")


@contextmanager
def nats(certificates: Certificates, rights: str = f'user: "{USER}", password: "{PASSWORD}"') -> Iterator[Secured]:
    """NATS that speaks TLS alone, with a user and a password, or with other `rights`."""
    config = certificates.folder / "nats.conf"
    config.write_text("")
    with own_instance("nats", {"config": str(config)}) as own:
        files = f'cert_file: "{certificates.server}", key_file: "{certificates.key}"'
        stored = f'jetstream {{ store_dir: "{own.folder / "data"}" }}'
        config.write_text(f"authorization {{ {rights} }}\ntls {{ {files} }}\n{stored}\n")
        os.kill(own.process, signal.SIGHUP)
        until(lambda: "Reloaded server configuration" in (own.folder / LOG).read_text())
        where = _after_user(own.url)

        def url(password: str, authority: Path) -> str:
            return f"tls://{_login(password)}@{where}?tlsca={authority}"

        yield Secured("LAB_NATS", url, "Authorization Violation", own=own)


@contextmanager
def rabbitmq(certificates: Certificates) -> Iterator[Secured]:
    """RabbitMQ with TLS at a second port; by the first one comes its `guest`, as ever."""
    users = [{"name": name, "password": word, "tags": ""} for name, word in (("guest", "guest"), (USER, PASSWORD))]
    rights = [
        {"user": one["name"], "vhost": "/"} | dict.fromkeys(("configure", "write", "read"), ".*") for one in users
    ]
    definitions = certificates.folder / "definitions.json"
    definitions.write_text(json.dumps({"users": users, "vhosts": [{"name": "/"}], "permissions": rights}))
    port = free_port()
    settings = {"listeners.ssl.default": f"127.0.0.1:{port}", "load_definitions": str(definitions)}
    files = {"cacertfile": certificates.authority, "certfile": certificates.server, "keyfile": certificates.key}
    with own_instance("rabbitmq", settings | {f"ssl_options.{name}": str(file) for name, file in files.items()}) as own:

        def url(password: str, authority: Path) -> str:
            return f"amqps://{_login(password)}@127.0.0.1:{port}?cacertfile={authority}"

        yield Secured("LAB_RABBITMQ", url, "ACCESS_REFUSED", own=own)


SECURED = {"rabbitmq": rabbitmq, "postgres": postgres, "mariadb": mariadb, "redis": redis, "nats": nats}


def until(true: Callable[[], bool]) -> None:
    """Wait for something."""
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


def _speaks_tls(url: str) -> bool:
    with postgres_engine.connect(Dsn(url)) as connection:
        return bool(Session(connection).execute("SELECT current_setting('ssl')").fetchone() == ("on",))


def _login(password: str) -> str:
    return f"{USER}:{quote(password, safe='')}"


def _after_user(url: str) -> str:
    return url.partition("://")[2].rpartition("@")[2]


__all__ = ["MARK", "PASSWORD", "SECURED", "USER", "Certificates", "Secured", "nats", "until"]
