"""The tables that only a live run has: what feeds cost at the source of truth, and what slots keep of its log."""

from __future__ import annotations

from lab.tables.schema import BOOL, FLOAT, INT, NINETY_NINE, PROJECTION, TEXT, WALL, Schema, columns

SCHEMAS = (
    Schema(
        "feeds",
        "A row for each projection of a live run whose source of truth is on a server that has other feeds than polls. "
        "What a feed costs there was measured after the run: by one writer, on empty sources of truth, "
        "the kinds of feeds in turn by blocks of commands.",
        columns(
            projection=PROJECTION,
            feed=(TEXT, "`poll`, `notify`, `outbox` or `log`"),
            every_seconds=(FLOAT, "between its polls, or questions how far everything is settled"),
            lag_p50_seconds=(FLOAT, "of half of its changes at most. Null: not told"),
            lag_p99_seconds=NINETY_NINE,
            reads=(INT, "how often it read, during the run"),
            reads_per_change=(FLOAT, "of these, for each change that was committed"),
            commands=(INT, "commands of which the cost was measured"),
            command_p50_us=(FLOAT, "microseconds of such a command beside this kind of feed, for half of them at most"),
            command_p99_us=NINETY_NINE,
            command_ratio=(FLOAT, "its median by that of a command of which no feed is told; 1: it costs no time"),
            wal_bytes_per_command=(
                FLOAT,
                "bytes in the server's log for each, with what its reader writes there; the median of the blocks. "
                "Null: the server writes none",
            ),
        ),
        clock=WALL,
    ),
    Schema(
        "blockers",
        "A row for each open transaction that had held a projection's reader back for longer than its `gap_limit`, in "
        "whichever database of the server. Not there without one.",
        columns(
            projection=PROJECTION,
            at_seconds=(FLOAT, "when it was noticed, on the run's clock"),
            transaction=(TEXT, "the application's name, its process on the server, and the database"),
            open_seconds=(FLOAT, "for how long it had been open"),
            above=(INT, "the position above which nothing could be read"),
        ),
        clock=WALL,
    ),
    Schema(
        "slots",
        "What there was of the server's log, twice a second, that projections fed by it had not acknowledged yet. "
        "PostgreSQL keeps that for them, in slots; MariaDB keeps its log by rules of its own. Not there without such a "
        "projection.",
        columns(
            projection=PROJECTION,
            at_seconds=(FLOAT, "when, on the run's clock"),
            active=(BOOL, "whether it was being read"),
            retained_bytes=(INT, "bytes of the log from the place on that was acknowledged last"),
            status=(
                TEXT,
                "of a slot, in the server's words: `reserved`, `extended`, `unreserved`, `lost`; of MariaDB's log from "
                "that place on: `kept` or `purged`",
            ),
            safe_bytes=(INT, "what may still be written until it can be lost. Null: no size bounds it"),
        ),
        clock=WALL,
    ),
    Schema(
        "assignments",
        "A row for each time that a member of a group was given a partition of a projection, by partition and "
        "generation. Not there without partitions.",
        columns(
            projection=PROJECTION,
            partition=(INT, "from 0"),
            generation=(INT, "a later assignment of the partition has a higher one"),
            member=(TEXT, "the process: the projection's name and its number"),
            from_seconds=(FLOAT, "when it began to work on it, on the run's clock"),
            to_seconds=(
                FLOAT,
                "when it ended that, or of one that was killed, when the next one began. Null: none did",
            ),
            ended=(
                TEXT,
                "`given away`, `refused as stale`, `built anew`, `stopped` at the end of the run, or `killed`",
            ),
            applied=(INT, "changes that it wrote"),
            refused=(INT, "deliveries that its guard refused, since they were in already"),
            stale=(INT, "changes in the batch that the store refused, since another one was the owner by then"),
        ),
        clock=WALL,
    ),
)
