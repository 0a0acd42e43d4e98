"""Shared by the shapes in Redis: keys below a prefix, and batches that land whole, by one writer at a time.

A batch travels as one `MULTI` with everything in it: rows, the guard's memory, what is parked, and the checkpoint.
Behind it, in the same flight, the writer watches the key that names the owner: once another writer has taken
it, the next `MULTI` of the former one is refused by the server. So a stale writer changes nothing, at no cost.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import redis

from lab.base import Damaged, LabError, Unavailable
from lab.engines import redis as engine
from lab.engines.redis import RedisLine
from lab.place import FolderPlace
from lab.ports import Capabilities
from lab.servers.ledger import NAMED
from lab.servers.redis import SERVER
from lab.servers.redis_ledger import keys_of
from lab.servers.redis_place import RedisPlace, owner_key
from lab.stores.layout import Layout
from lab.stores.prepared import PreparedQueries

Command = tuple[Any, ...]
# Keys that are removed at a time.
_AT_ONCE = 1_000
# Gives the owner's key another token, unless somebody else is the owner.
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end return 0"


class RedisPrefix(PreparedQueries):
    """A projection in the keys below one prefix of a Redis server."""

    durability = "that of the server's append-only file, if it has one; data and checkpoint in one transaction"
    # Whether a restart keeps anything is the server's own affair: `settings` tells.
    capabilities = Capabilities(concurrent_readers=True, durability="interval")
    files = (NAMED,)

    _client: redis.Redis | None = None
    _line: RedisLine | None = None
    # The token by which this writer is the owner, and the prefix that it has opened.
    _token = ""
    _known = ""

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        self._on = RedisPlace.of(place)
        super().__init__(self._on, layout)

    @classmethod
    def placed(cls, place: FolderPlace) -> FolderPlace:
        """The prefix that belongs to a folder."""
        return RedisPlace.of(place)

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what this process and those that it starts make on the server."""
        SERVER.begin()

    # -- connections ---------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Become the writer: whoever was it before is refused from now on. What an interrupted `bulk` left goes."""
        if self._line is not None:
            return
        prefix = self._on.claim()
        if self._known not in ("", prefix):
            raise Damaged(f"{self.name}: the keys of {self._known} are gone from the server")
        self._known, self._token = prefix, secrets.token_hex(8)
        self._connect([("SET", owner_key(prefix), self._token)])
        if self._value(self._key("bulk")) is not None:
            self.reset()

    def _connect(self, first: Sequence[Command] = ()) -> None:
        """Open a connection to write on, and watch who the owner is. Raises as `_lost` does if it isn't this writer."""
        if not first:
            # What may still be under way on a connection that was lost is of a former owner from now on.
            former, self._token = self._token, secrets.token_hex(8)
            first = [("EVAL", _RENEW, 1, owner_key(self._known), former, self._token)]
        with engine.mapped(self.name):
            line = RedisLine(self._reader())
            try:
                *_, owner = found = line.ask([*first, *self._watching()])
                _raised(found)
            except BaseException:
                line.close()
                raise
        self._line = line
        if owner != self._token.encode():
            self._lost(owner)

    def close(self) -> None:
        """Close the connections. What was written is on the server."""
        super().close()
        self._token = ""
        self._disconnect()

    def _disconnect(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._client is not None:
            self._client.close()
            self._client = None

    def _reader(self) -> redis.Redis:
        """The client that reads. Raises Damaged where no prefix is named."""
        if self._client is None:
            if not (prefix := self._known or self._on.named):
                raise Damaged(f"{self.name}: no prefix is named in {self.path}")
            self._known = prefix
            self._client = SERVER.connect()
        return self._client

    def _key(self, kind: str, entity: str = "", key: bytes | None = None) -> bytes:
        """The key of this kind below the prefix; of an entity, whose name is written as in a URL; of a record."""
        if not self._known:
            self._reader()
        parts = [self._known, kind, *([quote(entity, "", errors="surrogatepass")] if entity else [])]
        return ":".join(parts).encode() + (b"" if key is None else b":" + key)

    def _ask(self, *command: Any) -> Any:
        """The answer to one command that reads."""
        with engine.mapped(self.name):
            return self._reader().execute_command(*command)

    def _value(self, key: bytes) -> bytes | None:
        found: bytes | None = self._ask("GET", key)
        return found

    # -- writing -------------------------------------------------------------------------------------------------------

    def _watching(self) -> list[Command]:
        """Watch who the owner is, from now on, and tell who it is now."""
        key = owner_key(self._known)
        return [("WATCH", key), ("GET", key)]

    def _commit(self, commands: Iterable[Command]) -> None:
        """Have all of them carried out, or none. Raises Unavailable, CannotTake, and Damaged where the data are gone.

        A connection that is lost before the answer came is opened anew, and the server asked whether this batch was the
        last one.
        """
        batch, line = secrets.token_hex(8), self._writing()
        sent = [("MULTI",), ("SET", self._key("batch"), batch), *commands, ("EXEC",), *self._watching()]
        try:
            with engine.mapped(self.name):
                found = line.ask(sent)
        except LabError:
            if self._landed(batch):
                return
            raise
        *queued, done, _, owner = found
        with engine.mapped(self.name):
            # A command that the server didn't understand, or had no memory for, makes it refuse all of them.
            _raised(queued)
            _raised([owner])
            if owner == self._token.encode():
                # Refused as a whole, or one by one within the transaction: a key of another kind. Then the rest is in.
                _raised([done] if isinstance(done, Exception) else done or ())
        if done is None or owner != self._token.encode():
            self._lost(owner)

    def _writing(self) -> RedisLine:
        """The connection to write on; one that was lost is opened anew, and the owner is who it was."""
        if self._line is not None and not self._line.open:
            self._disconnect()
        if self._line is None:
            if self._token:
                self._connect()
            else:
                self.open()
        assert self._line is not None
        return self._line

    def _lost(self, owner: bytes | None) -> None:
        """Say what happened to a writer whose batch was not taken."""
        assert self._line is not None
        self._line.close()
        self._line = None
        if owner is None:
            raise Damaged(f"{self.name}: the keys of {self._known} are gone from the server")
        raise Unavailable(f"{self.name}: another process writes this projection now")

    def _landed(self, batch: str) -> bool:
        """Ask, on a new connection, whether a batch whose answer was lost is in; then this is the writer again."""
        self._prepared.clear()
        self._disconnect()
        try:
            self._connect()
            return self._value(self._key("batch")) == batch.encode()
        except LabError as error:
            if not self.layout.kept.adds or isinstance(error, Damaged):
                raise
            # What is added twice counts twice.
            raise Damaged(f"{self.name}: it isn't known whether the last batch was committed: {error}") from None

    def reset(self) -> None:
        """Remove all keys but those that tell writers and their batches apart."""
        self._commit([])
        keep = {owner_key(self._known).encode(), self._key("batch")}
        with engine.mapped(self.name):
            keys = [key for some in keys_of(self._reader(), self._known) for key in some if key not in keep]
        for first in range(0, len(keys), _AT_ONCE):
            self._commit([("UNLINK", *keys[first : first + _AT_ONCE])])

    # -- reading -------------------------------------------------------------------------------------------------------

    def checkpoint(self, entity: str) -> int:
        """Return the position in the hash of checkpoints."""
        return int(self._ask("HGET", self._key("checkpoint"), entity) or 0)

    def damaged(self, error: BaseException) -> bool:
        """By what the server said: keys of another kind, or keys that are gone."""
        return isinstance(error, Damaged)

    def size_bytes(self) -> int:
        """The memory of all keys; of many, an estimate from some of them."""
        return self._on.size_bytes()

    def settings(self) -> dict[str, Any]:
        """The settings that matter, as the server reports them."""
        with engine.mapped(self.name):
            return engine.settings(self._reader())


def _raised(answers: Sequence[Any]) -> None:
    """Raise the first error among answers."""
    for one in answers:
        if isinstance(one, Exception):
            raise one
