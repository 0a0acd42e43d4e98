"""The subject of a trial: a *consumer*, which takes messages, polls by itself and keeps its checkpoint.

A projector that only has `apply` and `rows` is made one by `Driver`, which delivers at least once, as a careful
program would.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from lab.kit.feed import TrialFeed
from lab.kit.history import PLAIN, Change, Row, Shape
from lab.kit.rows import listed
from lab.kit.styles import Settled, taker


class Died(BaseException):
    """The process dies here. Not an Exception: no handler of a projector's own may catch it."""


class Consumer(Protocol):
    """The subject of a trial. `armed` is the step at which the next `receive` or `poll` must raise Died."""

    armed: str | None

    def receive(self, changes: list[Change]) -> None:
        """Process a batch of messages; returning acknowledges them."""

    def poll(self, feed: Any, limit: int) -> None:
        """Read one page after its own checkpoint, and apply it."""

    def restart(self) -> None:
        """Discard what is only in memory, and read the store again."""

    def rows(self) -> list[Row]:
        """Return the live records as dicts."""

    def checkpoint(self) -> int:
        """Return the position up to which everything is in, according to the consumer."""


class Torn(list[Any]):
    """A batch in whose middle the process dies: the changes after the first few are never reached."""

    reach = 1

    def __iter__(self) -> Iterator[Any]:
        for index in range(min(self.reach, len(self))):
            yield self[index]
        raise Died


class Driver:
    """Makes a consumer of a projector that has `apply(changes)` and `rows()`, and perhaps `reopen()`.

    Its cursor follows the order of commits, and moves when `apply` has returned: delivery is at least once.
    """

    def __init__(self, projector: Any, resumes: bool = False, shape: Shape = PLAIN) -> None:
        self.projector, self.shape = projector, shape
        # What was understood of the rows, in words.
        self.notes: set[str] = set()
        self._settled = Settled()
        self._take = taker(projector, self._settled)
        # Whether a projector that keeps a checkpoint of its own is brought only what comes after it.
        self.resumes = resumes and callable(getattr(projector, "checkpoint", None))
        self.armed: str | None = None
        # How far an apply comes that is interrupted in the middle.
        self.reach = 1
        self._cursor = 0
        self._checkpoint = 0

    def receive(self, changes: list[Change]) -> None:
        """Hand a batch of messages over."""
        self._apply(changes)

    def poll(self, feed: TrialFeed, limit: int) -> None:
        """Hand the next page over, and only then move on."""
        page, cursor = feed.commits_since(self._cursor, limit)
        if page:
            self._apply(page)
            self._cursor, self._checkpoint = cursor, feed.horizon(cursor)

    def rewind(self, count: int) -> None:
        """Begin again after the first `count` commits."""
        self._cursor, self._checkpoint = min(self._cursor, count), 0

    def _apply(self, changes: list[Change]) -> None:
        if self.armed == "before-apply":
            raise Died
        if self.resumes:
            after = int(self.projector.checkpoint())
            changes = [change for change in changes if change["position"] > after]
            if not changes:
                return
        if self.armed == "between":
            if hasattr(self.projector, "interrupt"):
                self.projector.interrupt(self.reach)
                self._take(changes)
            else:
                torn = Torn(changes)
                torn.reach = 1 + (self.reach - 1) % len(changes)
                self._take(torn)
            raise Died
        self._take(changes)
        if self.armed:
            raise Died

    def restart(self) -> None:
        """Call the projector's `reopen()`."""
        if hasattr(self.projector, "reopen"):
            self._settled(self.projector.reopen())

    def rows(self) -> list[Row]:
        """The projector's live records. Raises BadInput if they have no keys."""
        return listed(self._settled.content(self.projector.rows()), self.shape, self.notes)

    def checkpoint(self) -> int:
        """Return the position up to which everything was applied for certain, or which the projector keeps itself."""
        return int(self.projector.checkpoint()) if self.resumes else self._checkpoint

    def __getattr__(self, name: str) -> Any:
        if name == "twin" and hasattr(self.projector, "twin"):
            return self._twin
        raise AttributeError(name)

    def _twin(self) -> Driver:
        """Make a second owner of the same store, which goes on from where this one is."""
        other = Driver(self.projector.twin(), self.resumes, self.shape)
        other._cursor, other._checkpoint = self._cursor, self._checkpoint
        return other

    def printed(self) -> list[str]:
        """Return what a projector in a process of its own has lately written to standard error, line by line."""
        found: list[str] = self.projector.lab_printed() if hasattr(self.projector, "lab_printed") else []
        return found

    def close(self) -> None:
        """Close the projector's files, if it has any."""
        if hasattr(self.projector, "close"):
            self._settled(self.projector.close())
        self._settled.close()
