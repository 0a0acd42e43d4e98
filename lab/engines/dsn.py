"""Connection strings of PostgreSQL, which are never shown with their password."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg import conninfo

from lab.base import BadInput, Problem
from lab.engines.urls import misread

EXAMPLE = "postgresql://user@127.0.0.1:5432/database"


class Dsn:
    """A connection string or URL that is never shown with its password: `str` and `repr` give what may be printed."""

    __slots__ = ("_shown", "_text")

    def __init__(self, text: str, where: str = "LAB_POSTGRES") -> None:
        self._text = text.strip()
        if _misread(self._text):
            raise misread(where, EXAMPLE)
        try:
            self._shown = _url(conninfo.conninfo_to_dict(self._text))
        except psycopg.Error:
            # The driver's own words quote the string.
            what = "it is no connection string of PostgreSQL"
            raise BadInput([Problem(where, what, f"for example {EXAMPLE}")]) from None

    def __str__(self) -> str:
        return self._shown

    __repr__ = __str__

    @property
    def secret(self) -> str:
        """The string as it is, password included: to connect with, never to print or to record."""
        return self._text

    def without_secrets(self, text: str) -> str:
        """Return a text in which no password of this string occurs."""
        found = conninfo.conninfo_to_dict(self._text)
        for name in ("password", "sslpassword"):
            if value := str(found.get(name) or ""):
                # As it is, and as a URL has it.
                text = text.replace(value, "***").replace(quote(value, safe=""), "***")
        return text


def shown(dsn: str | Dsn) -> str:
    """Return a connection string as a URL without its password: the only form that is printed or recorded."""
    return str(dsn if isinstance(dsn, Dsn) else Dsn(dsn))


def _misread(text: str) -> bool:
    """Whether libpq would end the login of a URL elsewhere than at its last `@`: it stops at a `/` or another `@`."""
    login = text.partition("://")[2].rpartition("@")[0] if text.startswith(("postgresql://", "postgres://")) else ""
    return "/" in login or "@" in login


def _url(parts: Any) -> str:
    user = f"{quote(str(parts['user']), safe='')}@" if parts.get("user") else ""
    host, port, name = (str(parts.get(one) or "") for one in ("host", "port", "dbname"))
    if host.startswith("/"):
        rest = {"host": host} | ({"port": port} if port else {})
        return f"postgresql://{user}/{quote(name)}?{urlencode(rest, safe='/')}"
    return f"postgresql://{user}{host}{f':{port}' if port else ''}/{quote(name)}"
