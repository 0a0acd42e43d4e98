"""What a lane works with in a service: messages as they come, a source of truth that another process writes.

The position that it tells is the honest one: everything up to there is in. Messages run ahead of it: no promise.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from lab.base import BEFORE, LabError, Unavailable
from lab.domain.model import Domain
from lab.feed.contracts import before_images, published
from lab.feed.reader import ChangeReader
from lab.feed.source import TruthReader
from lab.running.lane import INFINITY
from lab.running.worklog import CAUGHT_UP, READ, TAKEN, WorkLog
from lab.truth import Change, Truth
from lab.truth.evidence import LiveEvidence

# A store or a source of truth that refuses is asked again after so many seconds; so is one that isn't there yet.
RETRY = 0.05


class Heard(NamedTuple):
    """A message: entity, row of the write model's change frame, and the record as it was before."""

    entity: str
    row: Sequence[Any]
    before: Sequence[Any]

    @classmethod
    def of(cls, change: Change, columns: Iterable[str]) -> Heard:
        """Return the message of a change; `columns` are those of its entity."""
        names = list(columns)
        row = [change.position, change.key, change.revision, change.deleted, change.committed_at]
        former = change.former
        live = former is not None and not former.deleted
        before = [live, *((former.state[name] if former else None) for name in names)]
        return cls(change.entity, [*row, *(change.state[name] for name in names)], before)


class Waiting:
    """The inbox of a live lane: messages are added as they arrive; `lost` gets the positions of those without room.

    `taken` is told how many of the first messages have left it, once they are in the store.
    """

    taken: Callable[[int], object] = staticmethod(lambda _: None)

    def __init__(self, capacity: int, lost: Callable[[np.ndarray], None]) -> None:
        self.capacity, self.lost = capacity, lost
        self._queue: deque[tuple[float, Heard]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def arrive(self, messages: Sequence[Heard], at: float) -> int:
        """Messages that have arrived at `at` seconds, in their order; returns how many of the first ones had room."""
        room = max(0, self.capacity - len(self._queue))
        self._queue.extend((at, message) for message in messages[:room])
        if len(messages) > room:
            self.lost(np.array([message.row[0] for message in messages[room:]], np.int64))
        return min(room, len(messages))

    def arrival(self, number: int) -> float:
        """When the message of this number in the queue arrived; infinity if there is none yet."""
        return self._queue[number][0] if number < len(self._queue) else INFINITY

    def waiting(self, at: float) -> int:
        """All that have arrived: what is known is past."""
        return len(self._queue)

    def first(self, count: int) -> list[Heard]:
        """The first `count` messages of the queue."""
        return [self._queue[number][1] for number in range(count)]

    def acknowledge(self, count: int) -> None:
        """Remove the first `count` messages."""
        for _ in range(count):
            self._queue.popleft()
        self.taken(count)


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Raise Unavailable for what an engine raises while the source of truth is read: the store is not to blame."""
    try:
        yield
    except (LabError, TypeError, AttributeError, NameError, AssertionError):
        # A defect of the reader doesn't go away with the next try.
        raise
    except Exception as error:
        raise Unavailable(f"the source of truth can't be read: {type(error).__name__}: {error}") from error


class LiveSource:
    """The source of truth of another process: opened as soon as there is one, read by a projection's reader."""

    def __init__(
        self,
        find: Callable[[], TruthReader | None],
        reader: Callable[[TruthReader], ChangeReader],
        domain: Domain,
        before: Sequence[str] = (),
    ) -> None:
        """`find` opens the source of truth or returns None; `before` are the columns of wanted before-images."""
        self._find, self._reader, self._domain, self._before = find, reader, domain, tuple(before)
        self.truth: TruthReader | None = None
        self._evidence: LiveEvidence | None = None
        self.reader: ChangeReader | None = None

    def found(self) -> bool:
        """True once there is a source of truth; it is looked for until then."""
        if self.truth is None:
            with reading():
                self.truth = self._find()
            self.reader = None if self.truth is None else self._reader(self.truth)
        return self.truth is not None

    def evidence(self) -> LiveEvidence:
        """What the engine tells of the transactions that are open; asked for once for each opening."""
        assert isinstance(self.truth, Truth)
        if self._evidence is None:
            self._evidence = self.truth.evidence()
        return self._evidence

    def head(self) -> int:
        """The position of the newest change of all."""
        assert self.truth is not None
        with reading():
            return max(self.truth.head(name) for name in self._domain.entities)

    def frame(self, name: str, messages: Sequence[Heard]) -> pl.DataFrame:
        """Messages as a change frame of published columns; with before-images, where the projection needs them."""
        entity, contract = self._domain.entities[name], self._domain.contracts.get(name)
        frame = pl.DataFrame([message.row for message in messages], schema=entity.schema, orient="row")
        states = published(frame, contract)
        if not self._before:
            return states
        own = {f"{BEFORE}{column}": entity.schema[column] for column in entity.columns}
        schema = {f"{BEFORE}live": pl.Boolean(), **own}
        images = pl.DataFrame([message.before for message in messages], schema=schema, orient="row")
        if contract is not None:
            images = before_images(pl.concat([frame, images], how="horizontal"), contract, self._before)
        return pl.concat([states, images], how="horizontal")

    def close(self) -> None:
        """Close the source of truth; it is looked for again when it is needed."""
        if self.truth is not None:
            self.truth.close()
            self.truth = self.reader = self._evidence = None


class LiveService:
    """The service of a live worker: the time that work takes is what the clock says, and nothing is planned."""

    retry: float | None = RETRY
    defers = False

    def __init__(
        self, source: LiveSource, entities: tuple[str, ...], work: WorkLog, retry_parked: float | None
    ) -> None:
        self.source, self.entities, self.work, self.retry_parked = source, entities, work, retry_parked
        self._clock, self._kind = work.now, TAKEN

    @property
    def every_revision(self) -> bool:
        """True for a source of truth that publishes every revision."""
        assert self.source.truth is not None
        return self.source.truth.publishes_every_revision

    def page(self, entity: str, position: int, limit: int, at: float, now: float) -> tuple[pl.DataFrame, bool, float]:
        """Read a page of what is committed now."""
        assert self.source.reader is not None
        with reading():
            page = self.source.reader.changes_since(entity, position, limit)
        self._kind, ended = CAUGHT_UP, self._clock()
        self.work.note(READ, page.height, now, ended - now)
        return page, page.height < limit, ended

    def quiet_until(self, entity: str, position: int) -> float:
        """Unknown: the source of truth is asked at each beat."""
        return -math.inf

    def messages(self, batch: Sequence[Heard]) -> list[tuple[str, pl.DataFrame]]:
        """The messages of each entity, in the order of their arrival."""
        self._kind = TAKEN
        mine = {name: [message for message in batch if message.entity == name] for name in self.entities}
        return [(name, self.source.frame(name, messages)) for name, messages in mine.items() if messages]

    def positions(self, entity: str, piece: pl.DataFrame) -> np.ndarray:
        """The positions in a frame."""
        positions: np.ndarray = piece["position"].to_numpy()
        return positions

    def frame(self, entity: str, piece: pl.DataFrame) -> pl.DataFrame:
        """The frame itself."""
        return piece

    def caught_up(self) -> None:
        """What is applied from now on is what catch-up has brought."""
        self._kind = CAUGHT_UP

    def begin(self) -> float:
        """Nothing: the clock is read when work ends."""
        return 0.0

    def end(self, at: float, mark: float, rows: int, factor: float = 1.0) -> float:
        """The present time."""
        ended = self._clock()
        self.work.note(self._kind, rows, at, ended - at)
        return ended

    def now(self, at: float) -> float:
        """The present time."""
        return self._clock()
