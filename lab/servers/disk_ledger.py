"""The ledger of brokers that can't keep one themselves: files of this machine's user, one for each owner.

An owner keeps its file locked for as long as it lives; the system frees the lock however it ends. What was made from
another machine is another ledger's, so a broker's own limits take over where a machine is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import ClassVar, TextIO

from lab.base import Unavailable
from lab.servers.ledger import Held, Ledger, Line


def ledger_folder() -> Path:
    """Return the folder of all files: below XDG_STATE_HOME, or the usual place of a user's state."""
    home = os.environ.get("XDG_STATE_HOME", "")
    with suppress(RuntimeError):
        return (Path(home) if home else Path.home() / ".local" / "state") / "polyglot-lab"
    return Path(tempfile.gettempdir()) / f"polyglot-lab-{os.getuid()}"


class DiskLedger(Ledger[None]):
    """The ledger of one kind of broker. A `stream` is a stream, a topic, or an exchange; a `queue` is one of those."""

    kinds: ClassVar[tuple[str, ...]] = ("queue", "stream")

    def __init__(self, name: str, url: Callable[[], str], remove: Callable[[str], None]) -> None:
        """`url` says which server is meant now, `remove` drops a thing there."""
        self._name, self._url, self._remove = name, url, remove

    def session(self) -> nullcontext[None]:
        """Nothing: the ledger is on disk, and each thing is dropped on a connection of its own."""
        return nullcontext()

    def hold(self, number: int) -> Held:
        """Lock this owner's file. Raises Unavailable where it can't be made."""
        path = self._file(number)
        with _told():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                file = path.open("a+", encoding="utf-8")
                fcntl.flock(file, fcntl.LOCK_EX)
                # Before it was locked, a sweep may have taken the empty file for one that was left.
                if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    return Locked(path, file)
                file.close()

    @contextmanager
    def dead(self, session: None, number: int) -> Iterator[bool]:
        """Whether nobody has an owner's file locked; one that names nothing any more is removed."""
        path = self._file(number)
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True
            if not _folded(path):
                path.unlink(missing_ok=True)

    def lines(self, session: None) -> list[Line]:
        """Everything that is written down of this server."""
        mine, found = self._url(), list[Line]()
        for path in sorted(ledger_folder().glob(f"{self._name}-*.ledger")):
            with suppress(OSError):
                found += [line for url, line in _folded(path).values() if url == mine]
        return found

    def write(self, session: None, line: Line) -> None:
        """Append to the owner's file."""
        self._append(line.owner, [self._url(), *line])

    def strike(self, session: None, kind: str, name: str) -> None:
        """Append that it is gone."""
        for line in self.lines(None):
            if (line.kind, line.name) == (kind, name):
                self._append(line.owner, [self._url(), kind, name])

    def remove(self, session: None, kind: str, name: str) -> None:
        """Drop the thing."""
        self._remove(name)

    def _append(self, owner: int, row: list[object]) -> None:
        # One short write: lines of processes that work for one owner don't mix.
        with _told(), self._file(owner).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _file(self, owner: int) -> Path:
        return ledger_folder() / f"{self._name}-{owner}.ledger"


class Locked:
    """A file that is locked for as long as its owner lives."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file

    def alive(self) -> bool:
        """Whether the file is there still, where files are now; without it the lock says nothing, and is given up."""
        if there := self._path.exists() and self._path.parent == ledger_folder():
            return there
        self._file.close()
        return False

    def close(self) -> None:
        """Free it, and remove it if it names nothing any more."""
        if not self._file.closed:
            if self._path.exists() and not _folded(self._path):
                self._path.unlink(missing_ok=True)
            self._file.close()


def _folded(path: Path) -> dict[tuple[str, str, str], tuple[str, Line]]:
    """What a file names and doesn't strike out again, each with its server's URL."""
    found: dict[tuple[str, str, str], tuple[str, Line]] = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        # The last line of a process that was killed may be cut off: what it names was not made. A damaged disk may have
        # left anything, and other lines still count.
        with suppress(ValueError, TypeError, LookupError):
            url, *row = json.loads(text)
            key = (url, row[0], row[1])
            found.pop(key, None)
            if len(row) > 2:
                found[key] = url, Line(*row)
    return found


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{ledger_folder()}: what is made on a server can't be written down: {error.strerror}"
        raise Unavailable(f"{what}; name another folder in XDG_STATE_HOME") from None
