"""Which stream brings the changes of a source of truth, by its engine and the kind of feed."""

from __future__ import annotations

from pathlib import Path

from lab.feed.streams import ChangeStream
from lab.truth import Truth
from lab.truth.outlets import OUTBOX, PGOUTPUT


def open_stream(
    feed: str, truth: Truth, reader: str, folder: Path, decoder: str = PGOUTPUT, brought: set[int] | None = None
) -> ChangeStream:
    """The stream of this kind, `outbox` or `log`, for one reader.

    `folder` is the reader's: for the ledger, or for a file beside it. `decoder` is the plugin that makes changes of
    PostgreSQL's log; `brought` gets the positions that come by MariaDB's.
    """
    # Imported here: drivers of servers are loaded where they are needed.
    if truth.engine == "mariadb":
        from lab.feed import mariadb_streams

        return mariadb_streams.open_stream(feed == OUTBOX, truth, reader, folder, brought)
    from lab.feed import postgres_streams

    return postgres_streams.open_stream(feed == OUTBOX, truth, reader, folder, decoder)
