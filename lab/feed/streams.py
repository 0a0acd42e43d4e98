"""Feeds by which committed changes come by themselves, each until it is acknowledged.

No position is asked for, so no order of commits can hide a change. After a crash what was not acknowledged comes again.
Changes of one record come in the order of its revisions. The log brings transactions in the order of their commits, the
outbox rows in the order in which they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Streamed(NamedTuple):
    """One change: entity, row of the write model's change frame, and the record as it was before, if that is known."""

    entity: str
    row: Sequence[Any]
    before: Sequence[Any]


class ChangeStream(Protocol):
    """The changes of a source of truth for one projection. Its methods raise Unavailable while the server is away."""

    @property
    def socket(self) -> int | None:
        """The file descriptor at which something arrives; None for one that must be asked."""

    @property
    def passed(self) -> bool:
        """Whether everything has been taken that had been committed when `mark` was called."""

    @property
    def opened(self) -> bool:
        """Whether it is connected, as far as this side knows."""

    @property
    def whole(self) -> bool:
        """Whether what comes from its opening on is all that the store lacks; else the tables are read first."""

    def open(self, checkpoints: Mapping[str, int]) -> bool:
        """Connect, if need be, for a store at these checkpoints by entity, which can take seconds; true if it was.

        What was taken and not acknowledged before then comes again. What has been acknowledged, or was committed before
        the stream was there, is in the tables alone. Raises Diverged where the engine has lost what was to come.
        """

    def mark(self) -> None:
        """Remember where the source of truth is now."""

    def take(self, most: int) -> list[Streamed]:
        """About `most` changes that have come, those of one record in the order of its revisions."""

    def acknowledge(self, checkpoints: Mapping[str, int]) -> None:
        """Tell that what was taken is kept, in a store at these checkpoints by entity: it is not sent again.

        If they have moved since the last call, that was the store's last commit.
        """

    def here(self) -> object:
        """A place to which the stream can go back; None where tables tell what is settled, so that it need not be."""

    def go_back(self, place: object) -> None:
        """Hang up, and begin at such a place with the next opening."""

    def close(self) -> None:
        """Hang up. Closing twice is allowed."""


class OutboxTable(Protocol):
    """The rows of one reader in an outbox, on a connection of its own. Its methods raise Unavailable."""

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as this side knows."""

    def read(self, limit: int) -> list[tuple[int, str, list[Any], list[Any]]]:
        """The oldest rows, at most `limit`: id, entity, row of the change frame, and the record before."""

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete rows by their ids: what they say has been committed."""

    def close(self) -> None:
        """Close the connection."""


class OutboxStream:
    """The rows of the outbox, read again and again, and deleted once they are kept."""

    socket: int | None = None
    whole = False

    def __init__(self, connect: Callable[[], OutboxTable]) -> None:
        self._connect = connect
        self._rows: OutboxTable | None = None
        self._taken: list[int] = []
        self.passed = False

    @property
    def opened(self) -> bool:
        """Whether there is a connection."""
        return self._rows is not None and self._rows.alive

    def open(self, checkpoints: Mapping[str, int]) -> bool:
        """Connect; rows that were read and not deleted are read again."""
        if self.opened:
            return False
        self._taken, self.passed = [], False
        self._rows = self._connect()
        return True

    def mark(self) -> None:
        """Nothing is known until the outbox is read."""
        self.passed = False

    def take(self, most: int) -> list[Streamed]:
        """Read the oldest rows; a page that is not full has all that there was."""
        assert self._rows is not None
        found = self._rows.read(most)
        self._taken, self.passed = [number for number, *_ in found], len(found) < most
        return [Streamed(entity, row, before) for _, entity, row, before in found]

    def acknowledge(self, checkpoints: Mapping[str, int]) -> None:
        """Delete what was read last."""
        if self._taken and self._rows is not None:
            self._rows.delete(self._taken)
            self._taken = []

    def here(self) -> None:
        """What is not deleted is read again, and there is no way back further."""

    def go_back(self, place: object) -> None:
        """Nothing: there is no place to go back to."""

    def close(self) -> None:
        """Close the connection."""
        if self._rows is not None:
            self._rows.close()
