"""What a source of truth does for its readers in the transaction of a command, beside the change itself.

`poll`: readers ask again and again. `notify`: the commit sends a notification, at which readers ask. `outbox`: each
change is also a row for each reader in a table of its own, which the reader deletes when it has committed the change.
`log`: readers are sent what the engine writes into its log, and nothing more is done here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

POLL, NOTIFY, OUTBOX, LOG = "poll", "notify", "outbox", "log"
# The plugins that make changes of PostgreSQL's log.
PGOUTPUT, WAL2JSON = "pgoutput", "wal2json"
# What the file is called, behind the reader's name, in which a reader of MariaDB's log keeps its place.
LOG_SUFFIX = ".binlog"
# Changes come by themselves, once they are committed: nothing is asked for by position.
STREAMS = frozenset((OUTBOX, LOG))


@dataclass(frozen=True)
class FeedOutlets:
    """Whether commits notify; and the readers for each of which a change is a row of the outbox, by their names."""

    notifies: bool = False
    outboxes: tuple[str, ...] = ()

    @classmethod
    def of(cls, readers: Iterable[tuple[str, str]]) -> FeedOutlets:
        """What is to be done for these readers, each a name and the kind of its feed."""
        found = list(readers)
        outboxes = tuple(name for name, feed in found if feed == OUTBOX)
        return cls(any(feed == NOTIFY for _, feed in found), outboxes)


NO_OUTLETS = FeedOutlets()
