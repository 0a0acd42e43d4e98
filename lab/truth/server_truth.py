"""The source of truth on a server, for writers that run at the same time, whatever the engine there.

A command locks its record, reads it, is decided, and only then takes its position within the INSERT: so the revisions
of one record have their positions in order. Which of several commands on one record comes first is decided by the lock;
what a command reads of other records is locked too, so that it holds when it is committed.

A position that was taken by a transaction that rolled back stays unused.
"""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import polars as pl

from lab.base import Key, LabError, SourceLost, Unavailable
from lab.domain.model import Command, Outcome
from lab.queries.answers import Row
from lab.servers.place import ServerPlace
from lab.truth.attached import TIMELINE, AttachedPlace, Step
from lab.truth.deciding import Draft
from lab.truth.files import belonging
from lab.truth.relational import Relational
from lab.truth.transaction import CommitUnknown, Overtaken, Transaction, UnknownCommit

# How often a transaction is tried again that lost to another one: a deadlock, or two of one request.
TRIES = 20
# How long a writer tries to reach a server that has gone away, in seconds.
AWAY_SECONDS = 10.0
UNKNOWN = (
    "the connection was lost at the commit, and without the id of a request it can't be found out whether the "
    "commands were executed"
)


class ServerTruth(Relational):
    """The place, the transaction, and how a lost connection is gone on with."""

    concurrent = True
    indexable = True

    home: ClassVar[type[ServerPlace]]
    # The statements that commit, and end what the transaction has locked.
    commits: ClassVar[tuple[Step, ...]]

    # Given when it is opened.
    on: AttachedPlace[Any]

    # -- of each kind of server ----------------------------------------------------------------------------------------

    @abstractmethod
    def _attach(self, named: str, writes: bool) -> None:
        """Make the connections of a place of this name."""

    @abstractmethod
    def locks(self, names: Sequence[tuple[str, Key]]) -> Sequence[Step]:
        """The statements that lock records, there or not, until the transaction ends; in one order for all writers."""

    @abstractmethod
    def shared_lock(self, entity: str, key: Key) -> Step:
        """The statement that locks a record which is only read, until the transaction ends: others may read it too."""

    @abstractmethod
    def came_second(self, error: Exception) -> bool:
        """Whether another transaction came first: a deadlock, a row that it changes, a request that it has answered."""

    @property
    def gated(self) -> Step:
        """What precedes taking a position without writing there at once."""
        raise NotImplementedError

    @property
    def placed(self) -> Mapping[str, str]:
        """The statements that write a row at a position which was taken before."""
        raise NotImplementedError

    @property
    def notification(self) -> Sequence[Step]:
        """What is sent before each commit that changes anything."""
        return ()

    def check(self, entity: str, key: Key, values: Iterable[tuple[str, Any]]) -> None:
        """Raise CannotTake, with the place and the way out, for a value that the engine can't hold."""

    def delivered(self, command: Command, draft: Draft) -> list[Step]:
        """What is written beside a change for readers that don't poll."""
        return []

    def position(self, rows: Sequence[Row]) -> int:
        """The position that a row got, from what the statement gave that wrote it."""
        ((position,),) = rows
        return int(position)

    # -- of all --------------------------------------------------------------------------------------------------------

    @property
    def _home(self) -> ServerPlace:
        return self.home.of(self.place)

    def open(self) -> None:
        """Make the place and its tables, note the opening durably, and go on in the durability class."""
        home = self._home
        if self.identity is not None and self.identity.begun and not home.exists():
            raise SourceLost(f"{home.shown()}: the source of truth was here, and its {home.kind} is gone")
        self._attach(home.claim(), writes=True)
        try:
            self._make_tables()
            self.on.remember()
        except BaseException:
            self.close()
            raise

    def open_shared(self) -> bool:
        """A connection that can't write."""
        return self._attached(writes=False)

    def join(self) -> None:
        """Open a second writer's connection. Writers wait for each other only where they have a record in common."""
        if not self._attached(writes=True):
            raise SourceLost(f"{self.place.shown()}: there is no source of truth to join")

    def _attached(self, writes: bool) -> bool:
        """Connect to what another one has opened; false, and not connected, where that has made no tables yet."""
        home = self._home
        if not home.exists():
            if self.identity is not None and self.identity.begun:
                raise SourceLost(f"{home.shown()}: the source of truth was here, and its {home.kind} is gone")
            return False
        self._attach(home.named, writes)
        try:
            if self.on.has((TIMELINE, *self.domain.entities)):
                belonging(self.timeline(), self.identity, self.place)
                self.on.remember()
                return True
        except BaseException:
            self.close()
            raise
        self.close()
        return False

    def execute_together(self, orders: Sequence[tuple[Command, str | None]]) -> list[Outcome]:
        """Group commit, as in `Truth`, in three round trips: locks and reads, writes, commit.

        A transaction that loses to another one is tried again. So is one whose connection was lost before the commit,
        and one of which it isn't known whether it was committed, if each command has the id of a request: under it the
        first outcome is found. Raises Unavailable where that can't be known, and while the server stays away.
        """
        unknown = UnknownCommit()
        lost: tuple[type[Exception], ...] = (Overtaken, *self.on.errors)
        for tried in range(TRIES):
            transaction = Transaction(self, self._reached())
            try:
                outcomes, changes = transaction.run(orders)
            except CommitUnknown:
                if tried == TRIES - 1 or any(request is None for _, request in orders):
                    raise Unavailable(f"{self.on.name}: {UNKNOWN}") from None
                if transaction.drafted[1]:
                    # One that only asked has none: what it asked about may still turn out to be committed.
                    unknown = UnknownCommit(*transaction.drafted)
            except lost as error:
                if isinstance(error, Overtaken) or self.came_second(error):
                    if tried == TRIES - 1:
                        what = f"lost {TRIES} times to other transactions: {error}"
                        raise Unavailable(f"{self.on.name}: {what}") from None
                    time.sleep(random.random() * 0.001 * 2 ** min(tried, 7))
                elif self.on.alive or tried == TRIES - 1:
                    raise self.on.told(error) from None
            else:
                if self.publish is not None:
                    for change in changes or unknown.committed(outcomes):
                        self.publish(change)
                return outcomes
            self.tried_again += 1
        raise AssertionError("the last try returns or raises")

    def load_once(self, entity: str, frame: pl.DataFrame) -> None:
        """As `load`; after a connection was lost at the commit, what is asked about is the last position.

        No other writer has the positions of a history. A commit whose answer was lost may come after the question: then
        the second one fails, and the question is asked again. Raises Unavailable while the server stays away.
        """
        last = int(frame["position"].to_numpy().max())
        failed: tuple[type[Exception], ...] = (LabError, *self.on.errors)
        for tried in range(TRIES):
            try:
                if not tried or self.head(entity) < last:
                    self.load(entity, frame)
                return
            except failed:
                if tried == TRIES - 1 or (self.on.alive and not tried):
                    raise
            self.tried_again += 1
            self._reached()

    def _reached(self) -> Any:
        """The connection for commands, once the server can be reached. Raises Unavailable, and SourceLost."""
        until = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return self.on.session
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def rollback(self) -> None:
        """Roll back; of a connection that was lost the server has done so."""
        self.on.roll_back()

    def _ask(self, statement: str, arguments: Row, bounded: bool = False) -> list[Row]:
        return self.on.ask(statement, arguments, bounded)

    @property
    def connections(self) -> int:
        """How often it was connected to: what was read before the last time may have been lost by the server since."""
        return self.on.connections

    def lost(self) -> str | None:
        """Ask for the table of the timeline; while the server is away nothing is known, and nothing is lost."""
        return self.on.lost()

    def close(self) -> None:
        """Close the connections."""
        if hasattr(self, "on"):
            self.on.close()

    def drop(self) -> None:
        """Close, drop what is on the server, and remove the folder that names it."""
        self.close()
        replace(self._home, files=self.files).drop()

    def size_bytes(self) -> int:
        """Return the size of the tables and indexes in bytes."""
        return self._home.size_bytes()
