"""Open Memcached in one way everywhere: with time limits, every answer waited for, and its settings read back."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any
from urllib.parse import unquote_to_bytes

import pymemcache
from pymemcache.client.base import Client, _readline
from pymemcache.exceptions import MemcacheClientError, MemcacheError, MemcacheIllegalInputError

from lab.base import CannotTake, Damaged, LabError, Unavailable
from lab.engines.mapping import mapping
from lab.engines.urls import ServerUrl
from lab.formatting import first_line

# Seconds until a connection is given up that isn't answered; and until one is that has fallen silent.
CONNECT_SECONDS, SILENT_SECONDS = 5.0, 15.0
EXAMPLE, PORT = "memcached://127.0.0.1:11211", 11211
SCHEMES = ("memcached",)
# Bytes of the longest name of an entry, and what an entry takes beside its name and value, at the most.
NAME_BYTES, BESIDE_BYTES = 250, 128
# Names in one question, and bytes and commands that are sent before their answers are read.
_NAMES, _SENT_BYTES, _SENT = 500, 2**20, 1_000
# Seconds by which a server's own account of when it was started can differ from one answer to the next.
_STARTED_APART = 2
# Seconds between two looks at a server that is making a list for another client.
_LOOKS_SECONDS = 0.02
_READ_BYTES = 2**16
# What it answers where all entries that it could evict are being read.
_NO_MEMORY = b"SERVER_ERROR out of memory"
# What it answers to any command of a client that has to say first who it is.
_WHO = b"CLIENT_ERROR unauthenticated"


class ServerRestarted(Exception):
    """The server at the other end is not the one that was written to."""


def url(text: str, where: str) -> ServerUrl:
    """Return the address of a server. Raises BadInput."""
    found = ServerUrl(text, where, SCHEMES, EXAMPLE)
    found.only()
    return found


def translated(what: str, error: Exception) -> LabError | None:
    """Return the lab's error for one that the driver raised; None for a mistake in a command.

    Unavailable: away, silent, out of memory, no rights. CannotTake: too large a value. Damaged: started anew.
    """
    if error.args and isinstance(error.args[0], bytes):
        # The server's own words.
        error = type(error)(error.args[0].decode(errors="replace"))
    said = f"{what}: {first_line(error) or type(error).__name__}"
    if isinstance(error, ServerRestarted):
        return Damaged(said)
    if isinstance(error, MemcacheIllegalInputError) or "too large" in str(error):
        return CannotTake(said)
    return Unavailable(said)


mapped = mapping((MemcacheError, OSError, ServerRestarted), translated)


class MemcachedClient(Client):  # type: ignore[misc]
    """A connection, which is opened by its first command, and opened anew by the next one after it was lost.

    With `lasting`, a server that was started anew meanwhile is an error, and stays one: what was written is gone.
    """

    def __init__(self, address: ServerUrl, lasting: bool = False) -> None:
        super().__init__(
            (address.host or "127.0.0.1", address.port or PORT),
            connect_timeout=CONNECT_SECONDS,
            timeout=SILENT_SECONDS,
            no_delay=True,
            default_noreply=False,
        )
        self._address, self._lasting = address, lasting
        self._started: tuple[int, int] | None = None

    def _connect(self) -> None:
        super()._connect()
        try:
            if self._address.user:
                self._log_in()
            if self._lasting:
                self._recognise()
        except BaseException:
            self.close()
            raise

    def _log_in(self) -> None:
        """Say who this is to a server that asks: any other one would keep the password as an entry of its own."""
        self.sock.sendall(b"version\r\n")
        if not _readline(self.sock, b"")[1].startswith(_WHO):
            raise MemcacheClientError(b"the server asks for no password")
        # Any name does: the first value that is set says who it is.
        self.set("lab", f"{self._address.user} {self._address.password}".encode())

    def _recognise(self) -> None:
        """Raise ServerRestarted, at each connection from then on, unless this is the server of the first one."""
        found = self.stats()
        started = int(found[b"pid"]), int(found[b"time"]) - int(found[b"uptime"])
        first = self._started = self._started or started
        if started[0] != first[0] or abs(started[1] - first[1]) > _STARTED_APART:
            raise ServerRestarted("the server was started anew, and what it held is gone")

    def found(self, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those of these entries that are there."""
        values: dict[bytes, bytes] = {}
        for first in range(0, len(names), _NAMES):
            values |= self.get_many(names[first : first + _NAMES])
        return values

    def found_to_change(self, names: Sequence[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
        """The same, each with the number by which `cas` knows whether it was changed since."""
        values: dict[bytes, tuple[bytes, bytes]] = {}
        for first in range(0, len(names), _NAMES):
            values |= self.gets_many(names[first : first + _NAMES])
        return values

    def put(self, entries: Sequence[tuple[bytes, bytes, bytes | None]], verb: bytes = b"add") -> list[bool]:
        """Write (name, value, number): by `cas` where there is a number, else by `verb`.

        False: it was not taken, for another writer was there first, or for want of memory just now. Many travel at
        once. Raises as the driver does, then some of them may be in.
        """
        taken: list[bool] = []
        words: list[bytes] = []
        size = 0
        for at, (name, value, number) in enumerate(entries, 1):
            if number is None:
                words.append(b"%b %b 0 0 %d\r\n%b\r\n" % (verb, name, len(value), value))
            else:
                words.append(b"cas %b 0 0 %d %b\r\n%b\r\n" % (name, len(value), number, value))
            size += len(words[-1])
            if size >= _SENT_BYTES or len(words) >= _SENT or at == len(entries):
                taken += self._answered(words)
                words, size = [], 0
        return taken

    def _answered(self, words: Sequence[bytes]) -> list[bool]:
        if self.sock is None:
            self._connect()
        taken, rest = [], b""
        try:
            self.sock.sendall(b"".join(words))
            for _ in words:
                rest, line = _readline(self.sock, rest)
                if not line.startswith(_NO_MEMORY):
                    self._raise_errors(line, b"store")
                taken.append(line == b"STORED")
        except BaseException:
            # Answers to what was sent after it would be taken for those of the next commands.
            self.close()
            raise
        return taken

    def listed(self, before: bytes) -> list[tuple[bytes, int]]:
        """Names that begin so, each with the bytes that it takes; no snapshot: what moves meanwhile may be left out.

        Nothing where the server doesn't list them.
        """
        until = monotonic() + SILENT_SECONDS
        while (lines := self._listing()) is None and monotonic() < until:
            # It makes one list at a time, and another one is being made.
            sleep(_LOOKS_SECONDS)
        found = []
        for line in lines or ():
            words = dict(word.partition(b"=")[::2] for word in line.split(b" "))
            # A list has names as in a URL.
            if (name := unquote_to_bytes(words.get(b"key", b""))).startswith(before):
                found.append((name, int(words.get(b"size", 0))))
        return found

    def _listing(self) -> list[bytes] | None:
        """The lines of the server's list; None while it is busy."""
        if self.sock is None:
            self._connect()
        try:
            self.sock.sendall(b"lru_crawler metadump all\r\n")
            pieces = [self.sock.recv(_READ_BYTES)]
            # Its own lines end without a carriage return, unlike the one at its end, or the one that refuses.
            while pieces[-1] and not b"".join(pieces[-2:]).endswith(b"\r\n"):
                pieces.append(self.sock.recv(_READ_BYTES))
        except BaseException:
            self.close()
            raise
        lines = b"".join(pieces).splitlines()
        return None if lines and lines[0].startswith(b"BUSY") else lines


def settings(client: MemcachedClient) -> dict[str, Any]:
    """Return the version and the settings that affect memory and eviction, as the server reports them."""
    now, given = client.stats(), client.stats("settings")
    return {
        "library": f"pymemcache {pymemcache.__version__}",
        "server_version": _text(now.get(b"version", "")),
        "max_bytes": int(given[b"maxbytes"]),
        "item_size_max": int(given[b"item_size_max"]),
        "evictions": _text(given.get(b"evictions", "")),
        "evicted": int(now.get(b"evictions", 0)),
        "durability": "memory",
    }


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
