"""URLs of servers, which are never shown with their password."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from lab.base import BadInput, Problem


class ServerUrl:
    """The URL of a server that is never shown with its password: `str` and `repr` give what may be printed."""

    __slots__ = ("_shown", "_text", "host", "password", "port", "user", "where")

    def __init__(self, text: str, where: str, schemes: tuple[str, ...], example: str) -> None:
        """`where` says what gave it, `schemes` what may stand before `://`. Raises BadInput, which doesn't quote it."""
        self._text, self.where = text.strip(), where
        try:
            parts = urlsplit(self._text)
            self.host, self.port = parts.hostname or "", parts.port or 0
            self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise BadInput([Problem(where, f"it is no URL that begins with {schemes[0]}://", f"for example {example}")])
        secret = {unquote(value) for name, value in parse_qsl(parts.query) if "pass" in name.lower()}
        user, at, server = parts.netloc.rpartition("@")
        self._shown = f"{parts.scheme}://{user.partition(':')[0]}{at if user.partition(':')[0] else ''}{server}"
        self._shown += parts.path
        self.password = self.password or next(iter(secret), "")

    def __str__(self) -> str:
        return self._shown

    __repr__ = __str__

    @property
    def secret(self) -> str:
        """The URL as it is, password included: to connect with, never to print or to record."""
        return self._text

    def at(self, port: int) -> str:
        """The URL as it is, but at this port of 127.0.0.1; to connect with, never to print or to record."""
        parts = urlsplit(self._text)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()

    def without_secrets(self, text: str) -> str:
        """Return a text in which the password doesn't occur."""
        return text.replace(self.password, "***") if self.password else text
