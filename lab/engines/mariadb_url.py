"""The URL of a MariaDB or MySQL server, and what its driver is called with."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

from lab.base import BadInput, Problem
from lab.engines import tls
from lab.engines.urls import ServerUrl
from lab.formatting import printable

EXAMPLE = "mariadb://user@127.0.0.1:3306/"
PORT = 3306
FILES = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_key_password")
FLAGS = ("ssl_verify_cert", "ssl_verify_identity")
_KNOWN = ("unix_socket", *FILES, *FLAGS)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class MariadbUrl(ServerUrl):
    """A URL such as `mariadb://user:password@host:3306/`; its parameters for TLS are called as those of the driver."""

    __slots__ = ("_flags", "words")

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
        if "unix_socket" in self.parameters:
            self.words["unix_socket"] = self.parameters["unix_socket"]
        self._flags = {name: self._flag(name) for name in FLAGS if name in self.parameters}
        if unknown := [name for name in self.parameters if name not in _KNOWN]:
            what = f"its parameter `{printable(unknown[0])}` isn't known"
            raise BadInput([Problem(where, what, f"known are {', '.join(_KNOWN)}")])

    def tls(self) -> ssl.SSLContext | None:
        """What the driver is to check; None: TLS where the server has it, and nothing is checked. Raises BadInput.

        With `ssl_verify_identity` the server's certificate must be for this host and have an authority that is known.
        With `ssl_verify_cert`, which a file of authorities implies, the latter is enough.
        """
        identity = self._flags.get("ssl_verify_identity", False)
        verified = identity or self._flags.get("ssl_verify_cert", "ssl_ca" in self.parameters)
        if not verified and not any(name in self.parameters for name in FILES):
            return None
        made = tls.context(self, *FILES)
        # Of certificates that MySQL makes for itself, newer versions of Python would refuse the form.
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT
        made.check_hostname = identity
        made.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
        return made

    def _flag(self, name: str) -> bool:
        value = self.parameters[name].lower()
        if value not in _TRUE + _FALSE:
            what = f"its parameter `{name}` is neither true nor false"
            raise BadInput([Problem(self.where, what, f"write {name}=true or {name}=false")])
        return value in _TRUE
