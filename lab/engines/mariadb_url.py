"""The URL of a MariaDB or MySQL server, and what its driver is called with."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from lab.base import BadInput, Problem
from lab.engines.urls import ServerUrl

EXAMPLE = "mariadb://user@127.0.0.1:3306/"
PORT = 3306
TEXTS = ("unix_socket", "ssl_ca", "ssl_cert", "ssl_key", "ssl_key_password")
FLAGS = ("ssl_verify_cert", "ssl_verify_identity")


class MariadbUrl(ServerUrl):
    """A URL such as `mariadb://user:password@host:3306/`; its parameters are those of the driver for TLS."""

    __slots__ = ("words",)

    def __init__(self, text: str, where: str = "LAB_MARIADB") -> None:
        """`where` says what gave it. Raises BadInput, which doesn't quote it."""
        super().__init__(text, where, ("mariadb", "mysql"), EXAMPLE)
        parts = urlsplit(self.secret)
        if parts.path not in ("", "/"):
            what = "it names a database, and the lab makes databases of its own"
            raise BadInput([Problem(where, what, f"for example {EXAMPLE}")])
        self.words: dict[str, Any] = {"host": self.host or "127.0.0.1", "port": self.port or PORT}
        # Of a text the driver would take the bytes of Latin 1.
        words = (("user", self.user), ("password", self.password.encode()))
        self.words |= {name: one for name, one in words if one}
        for name, value in self.parameters.items():
            if name in FLAGS:
                self.words[name] = value.lower() in ("1", "true", "yes")
            elif name in TEXTS:
                self.words[name] = value
            else:
                what = f"its parameter `{name}` isn't known"
                raise BadInput([Problem(where, what, f"known are {', '.join((*TEXTS, *FLAGS))}")])
