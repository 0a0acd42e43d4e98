"""How a projection stands in the indexes of a search server: documents with external versions, one writer at a time.

Nothing there lands together with anything else. So the rows come first and the checkpoint after them; a row has its
revision as an external version, which the server lets no lower one replace, so what comes again after a crash does no
harm. What was deleted stays as a document: the server forgets the version of one that it deleted after a minute
(`index.gc_deletes`), and would take an older revision from then on.

What is looked up by its id is as it is written. What is searched is as it was at the last refresh, which the lab asks
for: the server's own would come at a moment that nobody knows.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from lab.base import INT_MAX, INT_MIN, CannotTake, Damaged, Unavailable
from lab.engines.search_client import Json, SearchClient, refused
from lab.place import FolderPlace
from lab.ports import Capabilities
from lab.servers.ledger import NAMED
from lab.servers.search_server import ASIDE, SearchPlace
from lab.stores.layout import Layout
from lab.stores.prepared import PreparedQueries

# Actions of one request, look-ups of one, and hits of one page: a server's limit for these is 10,000.
ACTIONS, LOOKED_UP, PAGE = 1_000, 2_000, 5_000
# The most bytes of an id; and of a document, base64 included: a request of 100 MB is refused.
ID_BYTES, DOCUMENT_BYTES = 512, 50_000_000
# The token of the writer; it is there while everything is deleted or filled.
OWNER, MARK = "owner", "unfinished"


class SearchDocuments(PreparedQueries):
    """A projection in two indexes: one that is searched, and beside it what the projector alone reads."""

    durability = "full at a server with replicas; the emulator's own. Data first, then the checkpoint"
    capabilities = Capabilities(atomic="item", guards=True, concurrent_readers=True, refresh=1.0, level="emulated")
    files = (NAMED,)

    home: ClassVar[type[SearchPlace]]
    # The name of both, once it was looked up; the token by which this writer is the owner.
    _known, _token = "", ""

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        self._on = self.home.of(place)
        super().__init__(self._on, layout)

    @classmethod
    def placed(cls, place: FolderPlace) -> FolderPlace:
        """The indexes that belong to a folder."""
        return cls.home.of(place)

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what this process and those that it starts make there."""
        cls.home.at.begin()

    # -- whole ---------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Become the writer: whoever was it before is refused from its next batch on."""
        if self._token:
            return
        self._known = self._on.claim()
        self._take()
        if self._looked_up([MARK], ("of",), aside=True):
            self._empty()
        self.refresh()

    def _take(self) -> None:
        token = secrets.token_hex(8)
        self._send([{"index": {"_id": OWNER}}, {"of": OWNER, "token": token}])
        self._token = token

    def close(self) -> None:
        """Forget the indexes. What was written is there."""
        super().close()
        self._known = self._token = ""

    def reset(self) -> None:
        """Make both indexes anew: one that deletes its documents remembers their versions for a while."""
        self._check_owner()
        self._mark()
        self._empty()

    def _mark(self) -> None:
        self._send([{"index": {"_id": MARK}}, {"of": MARK}], aside=True)

    def _unmark(self) -> None:
        self._send([{"delete": {"_id": MARK}}], aside=True)

    def _empty(self) -> None:
        self._prepared.clear()
        self._on.make(None, self._known)
        self._take()
        self.refresh()

    def refresh(self) -> None:
        """Have searches see all that is written."""
        with self._mapped():
            self._client.refresh(self._index())

    def damaged(self, error: BaseException) -> bool:
        """By what the server said: there is no such index any more."""
        return isinstance(error, Damaged)

    def size_bytes(self) -> int:
        """What both indexes take, as the server says."""
        return self._on.size_bytes()

    def settings(self) -> dict[str, Any]:
        """The library, the address, and what answers there."""
        at = self.home.at
        return {"library": at.name, "address": str(at.url()), **at.settings(), "refresh_interval": "-1 (by the lab)"}

    # -- requests ------------------------------------------------------------------------------------------------------

    @property
    def _client(self) -> SearchClient:
        return self.home.at.client()

    def _mapped(self) -> Any:
        return self.home.at.mapped(self.name)

    def _index(self, aside: bool = False) -> str:
        """The index to use. Raises Damaged where none is named."""
        if not self._known:
            self._known = self._on.named
        if not self._known:
            raise Damaged(f"{self.name}: no index is named in {self.path}")
        return self._known + (ASIDE if aside else "")

    def _check_owner(self) -> None:
        """Raise Unavailable where another process is the writer now, Damaged where the index is gone."""
        if not self._token:
            self.open()
        found = self._looked_up([OWNER], ("token",))
        if [one["_source"]["token"] for one in found] != [self._token]:
            raise Unavailable(f"{self.name}: another process writes this projection now")

    def _send(self, lines: Sequence[Json], aside: bool = False) -> None:
        """Carry out actions, in their order, some in a request; one that a newer version is there of is left out.

        Raises CannotTake for a document that the server refuses, when others may have been written.
        """
        for some in _together(lines):
            with self._mapped():
                items = self._client.bulk(self._index(aside), some)
            if (error := refused(self.name, [one for one in items if "delete" not in one], newer=True)) is not None:
                raise error

    def _looked_up(
        self, ids: Sequence[str], fields: Sequence[str], shown: bool = False, aside: bool = False
    ) -> list[Json]:
        """Documents by their ids, as far as they are there: as they are written, or with `shown` as searches see them.

        Raises Damaged where the index is gone.
        """
        found: list[Json] = []
        for first in range(0, len(ids), LOOKED_UP):
            with self._mapped():
                answers = self._client.found(self._index(aside), ids[first : first + LOOKED_UP], fields, shown)
            for one in answers:
                if "error" in one:
                    raise Damaged(f"{self.name}: {one['error'].get('reason', 'the index is gone')}")
                if one["found"]:
                    found.append(one)
        return found

    def _all_of(self, of: str, field: str, aside: bool = False) -> Iterator[Any]:
        """A field of all documents of a kind, in the order of their ids, as searches see them."""
        after: Json = {}
        while True:
            asked = {
                "query": {"term": {"of": of}}, "sort": [{"id": "asc"}], "size": PAGE, "_source": [field],
                "track_total_hits": False,
            }  # fmt: skip
            with self._mapped():
                page = self._client.search(self._index(aside), asked | after)
            yield from (one["_source"][field] for one in page)
            if len(page) < PAGE:
                return
            after = {"search_after": page[-1]["sort"]}

    def _position(self, checkpoint: int) -> int:
        if not INT_MIN <= checkpoint <= INT_MAX:
            # As wide as every other engine's integers.
            raise CannotTake(f"{self.name}: a position of more than 64 bits")
        return checkpoint


def _together(lines: Sequence[Json]) -> Iterator[list[Json]]:
    """Actions with their documents, some hundred in a request, or fewer that are large."""
    some: list[Json] = []
    size = 0
    for line in lines:
        begins = "index" in line or "delete" in line
        if begins and some and (len(some) >= 2 * ACTIONS or size >= DOCUMENT_BYTES // 10):
            yield some
            some, size = [], 0
        some.append(line)
        size += sum(len(value) for value in line.values() if isinstance(value, str))
    if some:
        yield some
