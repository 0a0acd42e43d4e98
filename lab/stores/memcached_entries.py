"""How a projection stands in the entries of a Memcached server: names, epochs, one writer, what is kept beside them.

Nothing there lands together with anything else, any entry can be evicted, and none can be listed. So the data come
first and the checkpoint after them; a row is written over only by a revision that is not lower (the server's `cas`), so
that what comes again after a crash does no harm; and what is parked, which may be what no entry can hold, stands in a
file of the projection's folder. A reset takes a new word into all names: what had the former one is never asked for
again, and goes when its memory is needed.
"""

from __future__ import annotations

import marshal
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lab.base import INT_MAX, INT_MIN, CannotTake, Damaged, Key, Unavailable
from lab.engines import memcached as engine
from lab.engines.memcached import BESIDE_BYTES, NAME_BYTES, MemcachedClient
from lab.place import FolderPlace, read_file, replace_file
from lab.ports import Capabilities
from lab.servers.ledger import NAMED
from lab.servers.memcached import SERVER
from lab.servers.memcached_place import MemcachedPlace
from lab.stores.layout import Layout
from lab.stores.prepared import PreparedQueries

# In the projection's folder: the word that is in all names now; the token of the last writer that was opened there;
# and, before that word, what is parked.
EPOCH, OWNER, PARKED = ".lab-epoch", ".lab-owner", ".lab-parked-"
_OWNER = "{}:owner"


class MemcachedEntries(PreparedQueries):
    """A projection in the entries below one prefix of a Memcached server."""

    durability = "none: a restart of the server takes everything, and one that is short of memory any entry"
    capabilities = Capabilities(
        atomic="item", guards=True, concurrent_readers=True, durability="cache", evicts=True, lists=False
    )
    files = (NAMED, EPOCH, OWNER, f"{PARKED}*")

    # The connections that write and read; the token by which this writer is the owner; what all names begin with.
    _writer: MemcachedClient | None = None
    _reader: MemcachedClient | None = None
    _token, _before = "", ""
    # Which file the epoch of a reader was read from, and when that was written.
    _epoch_file: tuple[int, int] | None = None
    _item_bytes = 0

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        self._on = MemcachedPlace.of(place)
        super().__init__(self._on, layout)
        # Looked at before each read of one that doesn't write.
        self._epoch_path = self.path / EPOCH

    @classmethod
    def placed(cls, place: FolderPlace) -> FolderPlace:
        """The prefix that belongs to a folder."""
        return MemcachedPlace.of(place)

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what this process and those that it starts make on the server."""
        SERVER.begin()

    # -- connections and names -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Become the writer: whoever was it before is refused from its next batch on."""
        if self._token:
            return
        name, token, writer = self._on.claim(), secrets.token_hex(8), SERVER.connect(lasting=True)
        try:
            with engine.mapped(self.name):
                self._item_bytes = int(engine.settings(writer)["item_size_max"])
                replace_file(self.path / OWNER, token)
                writer.set(_OWNER.format(name), token.encode())
        except BaseException:
            writer.close()
            raise
        self._writer, self._token = writer, token
        self._begin_epoch(name, read_file(self.path / EPOCH) or "")

    def close(self) -> None:
        """Close the connections. What was written is on the server, for as long as that keeps it."""
        super().close()
        for client in (self._writer, self._reader):
            if client is not None:
                client.close()
        self._writer = self._reader = None
        self._token = self._before = ""
        self._epoch_file = None

    def _begin_epoch(self, name: str, epoch: str) -> None:
        if not epoch:
            epoch = secrets.token_hex(4)
            replace_file(self.path / EPOCH, epoch)
        self._before = f"{name}:{epoch}"

    def _writing(self) -> MemcachedClient:
        """The connection to write on. Raises Unavailable where another process is the writer now."""
        if self._writer is None:
            self.open()
        assert self._writer is not None
        name, mine = _OWNER.format(self._on.named), self._token.encode()
        with engine.mapped(self.name):
            owner = self._writer.get(name)
            # An owner's entry can be evicted like any other: the last writer that was opened here puts it back.
            if owner is None and read_file(self.path / OWNER) == self._token:
                owner = mine if self._writer.add(name, mine) else self._writer.get(name)
        if owner != mine:
            raise Unavailable(f"{self.name}: another process writes this projection now")
        return self._writer

    def _reading(self) -> MemcachedClient:
        """The connection that reads. Raises Damaged where no prefix is named."""
        if not self._token:
            self._follow()
        if self._reader is None:
            self._reader = SERVER.connect(lasting=True)
        return self._reader

    def _follow(self) -> None:
        """Take over the epoch of the folder, which a writer may have begun since; that of a removed folder stays."""
        with suppress(FileNotFoundError):
            found = self._epoch_path.stat()
            if self._epoch_file == (found.st_ino, found.st_mtime_ns):
                return
            name, epoch = self._on.named, read_file(self._epoch_path)
            if name and epoch:
                self._before, self._epoch_file = f"{name}:{epoch}", (found.st_ino, found.st_mtime_ns)
        if not self._before:
            raise Damaged(f"{self.name}: no prefix is named in {self.path}")

    def _names(self, kind: str, entity: str, keys: Iterable[Key]) -> list[bytes]:
        """The names of entries: readable, but for those that would be too long, which are digests."""
        self._reading()
        before = f"{self._before}:{kind}:{quote(entity, '', errors='surrogatepass')}:"
        found = []
        for key in keys:
            name = f"{before}{key}" if isinstance(key, int) else before + quote(key, "", errors="surrogatepass")
            if len(name) > NAME_BYTES:
                name = f"{self._before}:{kind}:#{sha256(name.encode()).hexdigest()}"
            found.append(name.encode())
        return found

    def _found(self, names: Sequence[bytes]) -> list[bytes]:
        """The values of those of these entries that are there, in their order."""
        with engine.mapped(self.name):
            values = self._reading().found(names)
        return [values[name] for name in names if name in values]

    # -- what is beside the rows ---------------------------------------------------------------------------------------

    def checkpoint(self, entity: str) -> int:
        """Return the position in its entry; 0 where that was evicted, and everything is read again."""
        found = self._found(self._names("checkpoint", entity, [""]))
        return int(found[0]) if found else 0

    def _position(self, checkpoint: int | None) -> bytes | None:
        """A checkpoint as its entry has it. Raises CannotTake."""
        if checkpoint is None:
            return None
        if not INT_MIN <= checkpoint <= INT_MAX:
            # As wide as every other engine's integers.
            raise CannotTake(f"{self.name}: a position of more than 64 bits")
        return b"%d" % checkpoint

    def _fits(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise CannotTake for an entry that is larger than the server takes."""
        for name, value in entries:
            if (size := len(name) + len(value) + BESIDE_BYTES) > self._item_bytes:
                what = f"an entry of {size:,} bytes, and the server takes up to {self._item_bytes:,} (its option -I)"
                raise CannotTake(f"{self.name}: {what}")

    def _parked_file(self, entity: str) -> Path:
        self._reading()
        return self.path / f"{PARKED}{self._before.rpartition(':')[2]}-{sha256(entity.encode()).hexdigest()[:16]}"

    def _parked_changes(self, entity: str) -> list[bytes]:
        """The changes that are parked, encoded. Raises Damaged for a file that the lab can't have written."""
        try:
            found = marshal.loads(self._parked_file(entity).read_bytes())
        except FileNotFoundError:
            return []
        except (EOFError, ValueError, TypeError):
            found = None
        if not isinstance(found, list) or not all(isinstance(one, bytes) for one in found):
            raise Damaged(f"{self.name}: what is parked can't be read: {self._parked_file(entity)} is damaged")
        return found

    def _park(self, entity: str, changes: Sequence[bytes]) -> None:
        """Keep these changes in the place of those that are parked, in one step that survives a power cut."""
        replace_file(self._parked_file(entity), marshal.dumps(list(changes)))

    # -- whole ---------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Begin a new epoch: what was written before has names that nobody asks for any more."""
        self._writing()
        former = list(self.path.glob(f"{PARKED}*"))
        self._begin_epoch(self._on.named, "")
        self._prepared.clear()
        for file in former:
            file.unlink(missing_ok=True)

    def damaged(self, error: BaseException) -> bool:
        """By what the server said: it was started anew."""
        return isinstance(error, Damaged)

    def size_bytes(self) -> int:
        """What the entries take that the server lists, those of former epochs included that it has kept so far."""
        return self._on.size_bytes()

    def settings(self) -> dict[str, Any]:
        """The settings that matter, as the server reports them; how much it has evicted is no setting."""
        with engine.mapped(self.name):
            found = engine.settings(self._reading())
        return {name: value for name, value in found.items() if name != "evicted"}
