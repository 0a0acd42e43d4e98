"""A bounded cache of values by key, with which a guard avoids reading the whole projection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Generic, TypeVar

from lab.base import Key

Value = TypeVar("Value")

# Entries of one generation; there are two for each entity. Revisions of integer keys take 17 MB a generation, the
# contributions of text keys 56 MB. A live projection of a benchmark's 100,000 records stays within one.
RECENT = 200_000


class Recent(Generic[Value]):
    """Values by key, of the keys that were met last; those of other keys are looked up, all of a batch in one read.

    `fetch` reads the values of keys from the projection; a key that it doesn't return has the value `missing`. `empty`
    says that the projection holds nothing yet: until an entry is evicted, a key without one isn't there at all, and
    needs no look-up. Entries are evicted by generation, which approximates the least recently used: what is met comes
    into the young one; when that has `size` entries, it becomes the old one, and the old one goes.
    """

    def __init__(
        self, fetch: Callable[[Sequence[Key]], dict[Key, Value]], missing: Value, empty: bool, size: int | None = None
    ) -> None:
        self._fetch, self._missing, self._complete = fetch, missing, empty
        self._size = RECENT if size is None else size
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}
        # Keys whose entries were dropped while nothing had been evicted: of these alone the projection knows more.
        self._doubtful: set[Key] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def many(self, keys: Sequence[Key]) -> list[Value]:
        """Return the values of distinct keys, in their order."""
        if self._knows_all():
            return list(map(self._young.get, keys, repeat(self._missing)))
        values = list(map(self._young.get, keys))
        if None not in values:
            return values  # type: ignore[return-value]
        places = [place for place, value in enumerate(values) if value is None]
        found = {key: self._old[key] for place in places if (key := keys[place]) in self._old}
        sought = [key for place in places if (key := keys[place]) not in found]
        if self._complete:
            sought = [key for key in sought if key in self._doubtful]
        if sought:
            read = self._fetch(sought)
            found |= {key: read.get(key, self._missing) for key in sought}
        for place in places:
            values[place] = found.get(keys[place], self._missing)
        self.update(found.items())
        return values  # type: ignore[return-value]

    def of(self, keys: Iterable[Key]) -> dict[Key, Value]:
        """The values of any keys, each once."""
        if self._knows_all():
            return {key: self._young.get(key, self._missing) for key in keys}
        distinct = list(dict.fromkeys(keys))
        return dict(zip(distinct, self.many(distinct), strict=True))

    def _knows_all(self) -> bool:
        """Return whether the young entries include every key of the projection, so that none needs a look-up."""
        return self._complete and not self._old and not self._doubtful

    def update(self, pairs: Iterable[tuple[Key, Value]]) -> None:
        """Store the current values of keys."""
        if self._doubtful:
            pairs = list(pairs)
            self._doubtful.difference_update(key for key, _ in pairs)
        self._young.update(pairs)
        if len(self._young) >= self._size:
            if self._old:
                self._complete = False
                self._doubtful.clear()
            self._old, self._young = self._young, {}

    def forget(self, keys: Iterable[Key]) -> None:
        """Remove these keys, whose values are uncertain; they are looked up again when needed."""
        for key in keys:
            self._young.pop(key, None)
            self._old.pop(key, None)
            if self._complete:
                self._doubtful.add(key)
