"""The source of truth: strongly consistent, the only place where commands are decided.

Three write models share one interface. **snapshot** keeps the last state of each record and publishes that;
**history** keeps and publishes every revision; **events** keeps and publishes what happened, and folds it on read.
Nothing is ever physically deleted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import polars as pl

from lab.base import Key, SourceLost
from lab.domain.model import Command, Domain, Event, Outcome, Record
from lab.identity import Identity
from lab.place import FolderPlace
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.truth.deciding import Answered, Change, accepted, decided, repeated
from lab.truth.evidence import LiveEvidence, QueuedEvidence
from lab.truth.outlets import POLL, FeedOutlets
from lab.truth.timeline import Opening


class Truth(ABC):
    """One write model in one engine, in a place of its own: two of different namespaces share nothing."""

    engine: ClassVar[str]
    model: ClassVar[str]
    # The kind of server that it needs, as `lab.servers` calls it; "" for none.
    server: ClassVar[str] = ""
    # The names of the files that it makes in its place, as patterns.
    files: ClassVar[tuple[str, ...]] = ("*",)
    # Whether other processes can read it while one writes, and whether several that `join` it write at the same time
    # or take turns.
    shared: ClassVar[bool] = True
    concurrent: ClassVar[bool] = False
    # The strategies for gaps that its readers can have, in the words of `lab.feed.gaps`; and the one that is followed,
    # set before it is opened: with `serialise` writers take turns, with `xmin` a reader is shown what that shows.
    strategies: ClassVar[tuple[str, ...]] = ("naive", "serialise", "horizon", "hold")
    gaps: str = "naive"
    # Why readers can't have others of them.
    refusals: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # What its readers can be fed by: see `lab.truth.outlets`.
    feeds: ClassVar[tuple[str, ...]] = (POLL,)
    # How many bytes of a name it keeps, None for all; and names of columns, in lower case, that it has for itself.
    name_bytes: ClassVar[int | None] = None
    # Whether names of entities and columns have characters up to U+FFFF only.
    plain_names: ClassVar[bool] = False
    reserves: ClassVar[frozenset[str]] = frozenset()
    # Whether it can keep indexes for readers, and whether it does: set before it is opened.
    indexable: ClassVar[bool] = False
    indexed: bool = False
    # Whether the feed shows every revision, or only those that have not been overwritten yet.
    publishes_every_revision: ClassVar[bool]

    # Whose data its place holds: set before it is opened by what claims the place; None for a place of its own.
    identity: Identity | None = None

    def __init__(self, place: FolderPlace, domain: Domain, durability: str) -> None:
        self.place = place
        self.domain = domain
        self.durability = durability
        # Given before it is opened for writing.
        self.outlets = FeedOutlets()
        self.publish: Callable[[Change], None] | None = None
        # Called before each commit that changes anything, with its changes; what it raises rolls the transaction back.
        self.committing: Callable[[Sequence[Change]], None] | None = None
        # How often a transaction was tried again, since it had lost to another one.
        self.tried_again = 0

    @property
    def name(self) -> str:
        """`engine.model`, as a store has a name of two parts: `sqlite.snapshot`."""
        return f"{self.engine}.{self.model}"

    def execute(self, command: Command, request: str | None = None) -> Outcome:
        """Decide one command and commit what follows from it, in one transaction.

        The outcome is accepted, with the new state and the position to wait for; rejected, with every
        reason; or a conflict, when the record is not at the revision that the command expects.

        With the id of a request the outcome is kept in the same transaction: a caller that doesn't know whether a
        command was executed sends it again with the same id, and gets the first outcome without a second execution.
        Another command with that id is not decided, and nothing is kept of it: its outcome is `reused`.
        """
        return self.execute_together([(command, request)])[0]

    def execute_together(self, orders: Sequence[tuple[Command, str | None]]) -> list[Outcome]:
        """Group commit: decide commands one after the other, each with its own outcome, in one transaction.

        Each command sees the effects of those before it. All are committed, or none if one of them raises.
        """
        outcomes: list[Outcome] = []
        changes: list[Change] = []
        kept = False
        self.begin()
        try:
            for command, request in orders:
                former = None if request is None else self.answered(request)
                if former is not None:
                    outcomes.append(repeated(command, former))
                    continue
                outcome, made = self._decided(command)
                if request is not None:
                    self.answer(request, Answered(command.digest, outcome))
                    kept = True
                outcomes.append(outcome)
                changes += made
            if changes and self.committing is not None:
                self.committing(changes)
        except BaseException:
            self.rollback()
            raise
        if changes or kept:
            self.commit()
            if self.publish is not None:
                for change in changes:
                    self.publish(change)
        else:
            self.rollback()
        return outcomes

    def _decided(self, command: Command) -> tuple[Outcome, list[Change]]:
        found = decided(self.domain, self, command, self.get(command.entity, command.key))
        if isinstance(found, Outcome):
            return found, []
        positions = [self.append(one.entity, one.key, one.record, one.event, command.at) for one in found]
        return accepted(command, found, positions)

    @abstractmethod
    def open(self) -> None:
        """Open the write model, and create missing tables."""

    @abstractmethod
    def open_shared(self) -> bool:
        """Open for reading only, beside a process that writes; false when there is nothing to be read yet.

        Raises NotImplementedError where the engine isn't `shared`, and SourceLost.
        """

    @abstractmethod
    def join(self) -> None:
        """Open for writing beside other writers: no opening is noted in the timeline, and no table is made.

        It was opened by another one before. From then on, what is read while writers write is read `beside` them.
        Raises BadInput where an engine has one process, SourceLost where there is nothing to join.
        """

    def evidence(self) -> LiveEvidence:
        """What a reader can know of the transactions that are open beside it; asked in the reader's own thread."""
        return QueuedEvidence(self)

    def beside(self) -> Truth:
        """Open a second reader of what is committed, for another thread of the process that has this one open."""
        other = type(self)(self.place, self.domain, self.durability)
        other.identity, other.gaps = self.identity, self.gaps
        if not other.open_shared():
            raise SourceLost(f"{self.place.shown()}: there is nothing to be read beside the source of truth")
        return other

    @abstractmethod
    def close(self) -> None:
        """Release the connections. Closing twice is allowed."""

    def drop(self) -> None:
        """Close, and remove what this write model made in its place; files of others there stay."""
        self.close()
        replace(self.place, files=self.files).drop()

    @abstractmethod
    def begin(self) -> None:
        """Start a transaction that no other writer can be in."""

    @abstractmethod
    def commit(self) -> None:
        """Commit the transaction with the durability of the class."""

    @abstractmethod
    def rollback(self) -> None:
        """Roll the transaction back."""

    @abstractmethod
    def get(self, entity: str, key: Key) -> Record | None:
        """Return the record within this transaction; an event-sourced model folds it from its events."""

    @abstractmethod
    def answered(self, request: str) -> Answered | None:
        """Return what is kept of an earlier request with this id; None if it is new."""

    @abstractmethod
    def answer(self, request: str, answered: Answered) -> None:
        """Store the outcome of a request in this transaction."""

    @abstractmethod
    def timeline(self) -> list[Opening]:
        """Return the openings for writing, the first one first; also beside a writer. See `lab.truth.timeline`."""

    @abstractmethod
    def newest_commit(self) -> float:
        """Return the latest commit time of all changes, in seconds since 1970 where a clock gave them; 0 if none."""

    @abstractmethod
    def lost(self) -> str | None:
        """Return what became of the file under an open connection: gone, replaced, emptied; None if it is in place."""

    @abstractmethod
    def append(self, entity: str, key: Key, record: Record, event: Event, at: float) -> int:
        """Write one new revision, and return its position."""

    @abstractmethod
    def load(self, entity: str, frame: pl.DataFrame) -> None:
        """Commit a slice of a trace in bulk: a change frame with states and `event`, sorted by position.

        Each record's revisions are later than those that are there; positions need not be, as with writers that
        commit late.
        """

    def load_once(self, entity: str, frame: pl.DataFrame) -> None:
        """As `load`, for the only writer of a history: where it isn't known what became of a commit, it finds out."""
        self.load(entity, frame)

    def fill(self, entity: str, slices: Iterable[pl.DataFrame]) -> None:
        """Load the whole history of an entity that has none, a slice at a time; see `load`.

        An engine that can builds its indexes last. What is interrupted is not to be gone on with.
        """
        for frame in slices:
            self.load(entity, frame)

    def copy(self, other: Truth, without: Mapping[str, Sequence[int]]) -> bool:
        """Fill this one, which is empty, with what another of its kind holds, but for some positions of each entity.

        Returns False, and changes nothing, where that is no quicker than to load it.
        """
        return False

    @abstractmethod
    def changes_since(
        self,
        entity: str,
        position: int,
        limit: int,
        before: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """The next changes after `position`, at most `limit`, in commit order; of the entity's columns only `columns`.

        A snapshot's frame never holds a revision that has been overwritten. An event-sourced frame holds
        events: `event str` comes last, and the columns that an event doesn't set are null. `before` asks for
        before-images of these columns (`before_live bool`, `before_<column>`); only `history` can give them here.
        """

    def earlier(self, entity: str, position: int, limit: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All events up to `position` of the records that the page `changes_since(position, limit)` speaks of."""
        raise NotImplementedError(f"{self.model} publishes states: there is nothing to fold")

    @abstractmethod
    def head(self, entity: str) -> int:
        """Return the position of the newest change; 0 if there is none."""

    @abstractmethod
    def answers(self, query: Query) -> bool:
        """Whether a query can be answered from here, natively and without a projection."""

    @abstractmethod
    def query(self, query: Query, parameters: Row) -> list[Row]:
        """The rows of what has been committed, in the order of `lab.queries.model`; never within a transaction.

        Without `indexed` nothing helps it: this is the write model. Raises NotAnswered for what it doesn't answer.
        """

    def rest(self) -> None:  # noqa: B027 (most have nothing to give back)
        """Give back the memory of caches, before a while in which this is not used; what is stored is as it was."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the engine's settings as it reports them."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Return the size of the write model on disk in bytes."""
