"""URLs of servers, which are never shown with their password."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from lab.base import BadInput, Problem
from lab.formatting import printable


def misread(where: str, example: str) -> BadInput:
    """Return the error for a URL whose login may have been taken for another part of it, so that none may be shown."""
    what = "where it has an `@` or a `#`, a password or token seems not to be written as in a URL"
    way_out = "write `/` as %2F, `@` as %40, `#` as %23 and `?` as %3F, also an `@` in the name of a file"
    return BadInput([Problem(where, what, f"{way_out}; for example {example}")])


class ServerUrl:
    """The URL of a server that is never shown with its password: `str` and `repr` give what may be printed."""

    __slots__ = (
        "_hidden",
        "_shown",
        "_text",
        "host",
        "parameters",
        "password",
        "port",
        "scheme",
        "token",
        "user",
        "where",
    )

    # Whether a user without a password is a token, and as secret as one.
    tokens: ClassVar[bool] = False

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
        if "#" in self._text or "@" in parts.path + parts.query:
            raise misread(where, example)
        self.scheme, self.token = parts.scheme, ""
        # What stands behind the `?`.
        self.parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        secret = {value for name, value in self.parameters.items() if "pass" in name.lower()}
        user, _, server = parts.netloc.rpartition("@")
        user = user.partition(":")[0]
        if self.tokens and self.user and not parts.password:
            self.token, self.user, user = self.user, "", ""
        self._shown = f"{parts.scheme}://{user}{'@' if user else ''}{server}{parts.path}"
        # Each as it is, and as it is written in a URL.
        written = {parts.password or "", *({parts.username or ""} if self.token else ())}
        plain = {self.password, self.token, *secret} - {""}
        self._hidden = sorted((plain | written | {quote(one, safe="") for one in plain}) - {""}, key=len, reverse=True)
        # Another one, such as that of a key, is told to no server.
        self.password = self.password or self.parameters.get("password", "")

    def only(self, *known: str) -> None:
        """Refuse parameters that nothing reads: what they ask for would be left out in silence. Raises BadInput."""
        if unknown := sorted(set(self.parameters) - set(known)):
            what = f"its parameter `{printable(unknown[0])}` isn't known"
            way_out = f"known are {', '.join(known)}" if known else "a URL of this kind has none: leave it out"
            raise BadInput([Problem(self.where, what, way_out)])

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

    def without(self, *parameters: str) -> str:
        """The URL as it is, but without these parameters; to connect with, never to print or to record."""
        kept = {name: value for name, value in self.parameters.items() if name not in parameters}
        return urlsplit(self._text)._replace(query=urlencode(kept)).geturl()

    def without_secrets(self, text: str) -> str:
        """Return a text in which no password and no token occurs."""
        for one in self._hidden:
            text = text.replace(one, "***")
        return text
