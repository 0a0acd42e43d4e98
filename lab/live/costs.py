"""What the feeds of a live run cost at its source of truth, measured when the run is over.

Readers share one source of truth in the run, so what one of them costs can't be told there. Afterwards each kind of
feed gets a source of truth of its own and executes the run's first commands, in blocks that take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from lab.base import TRUTH, stream
from lab.domain.model import Command
from lab.feed.opening import open_stream
from lab.feed.streams import ChangeStream
from lab.live.performing import Performed
from lab.place import FolderPlace
from lab.running.worklog import READ, WORK_SUFFIX, read_work
from lab.statistics.quantiles import median, told
from lab.tables import TABLES
from lab.truth import Truth, open_truth
from lab.truth.outlets import LOG, POLL, STREAMS, FeedOutlets
from lab.wiring import Plan, ProjectionPlan

# Commands that are executed with each kind of feed, and how many of them before the next kind's turn.
COMMANDS, BLOCK = 400, 25
_READER = "reader"


@dataclass
class _Costs:
    """What commands took beside one kind of feed: microseconds of each; and bytes in the log for each, by block.

    Once after each checkpoint of the server a page is in the log as a whole: a few blocks have that, and most don't.
    """

    truth: Truth
    stream: ChangeStream | None
    written: Callable[[], int | None]
    microseconds: list[float] = field(default_factory=list)
    wal_bytes: list[float] = field(default_factory=list)

    def execute(self, commands: Sequence[Command]) -> None:
        """Execute a block; then the reader does what it has to."""
        before = self.written()
        for command in commands:
            began = time.perf_counter()
            self.truth.execute(command)
            self.microseconds.append((time.perf_counter() - began) * 1e6)
        while self.stream is not None and self.stream.take(1_000):
            self.stream.acknowledge({})
        after = self.written()
        if before is not None and after is not None:
            self.wal_bytes.append((after - before) / len(commands))


def _in_wal() -> int:
    """How many bytes PostgreSQL has written into its log so far."""
    # Imported here: drivers of servers are loaded where they are needed.
    from lab.servers.postgres import LEDGER

    with LEDGER.session() as session:
        return int(session.execute("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").fetchone()[0])


def _in_binlog() -> int | None:
    """How many bytes there are in MariaDB's log; None where it writes none, or this user may not know."""
    from lab.truth.binlog import size

    return size()


def measured(plan: Plan, folder: Path) -> dict[str, _Costs]:
    """Execute commands beside each kind of feed that the scenario has, and beside none of them."""
    kinds = dict.fromkeys([POLL, *(_kind(item) for item in plan.projections)])
    drawn = plan.domain.workload(plan.options, stream(plan.scenario.seed, "workload"))
    commands = list(islice(drawn, COMMANDS))
    with ExitStack() as made:
        costs = {kind: _made(plan, kind, folder, made) for kind in kinds}
        turns = list(costs.values())
        for first in range(0, len(commands), BLOCK):
            # Each kind is the first as often as any other.
            turns.append(turns.pop(0))
            for each in turns:
                each.execute(commands[first : first + BLOCK])
    return costs


def _made(plan: Plan, kind: str, folder: Path, made: ExitStack) -> _Costs:
    table = plan.scenario.truth
    feed, _, decoder = kind.partition(" ")
    place, outlets = FolderPlace(folder / kind).within(TRUTH), FeedOutlets.of([(_READER, feed)])
    truth = open_truth(table.engine, table.model, place, plan.domain, table.durability, outlets=outlets)
    made.callback(truth.drop)
    written = _in_binlog if table.engine == "mariadb" else _in_wal
    if feed not in STREAMS:
        return _Costs(truth, None, written)
    found = open_stream(feed, truth, _READER, folder / kind, decoder)
    made.callback(found.close)
    found.open({})
    return _Costs(truth, found, written)


def _kind(item: ProjectionPlan) -> str:
    """How it is fed: for the log, by what that is decoded, too."""
    return f"{item.feed} {item.decoder}" if item.feed == LOG else item.feed


def feeds_table(plan: Plan, performed: Performed, lags: pl.DataFrame, changes: int, folder: Path) -> pl.DataFrame:
    """The table `feeds`; `lags` is the run's `lag_summary`, `folder` one for what is made to measure."""
    costs = measured(plan, folder)
    base = median(np.array(costs[POLL].microseconds))
    known = {row["projection"]: row for row in lags.to_dicts()}
    rows = []
    for item in plan.projections:
        mine, had = costs[_kind(item)], known[item.name]
        records = read_work((performed.folder / item.name).with_suffix(WORK_SUFFIX), performed.began)
        reads = int((records["kind"] == READ).sum())
        rows.append(
            {
                "projection": item.name,
                "feed": item.feed,
                "every_seconds": item.pace.every,
                "lag_p50_seconds": had["p50_seconds"],
                "lag_p99_seconds": had["p99_seconds"],
                "reads": reads,
                "reads_per_change": reads / changes if changes else None,
                "commands": len(mine.microseconds),
                "command_p50_us": told(np.array(mine.microseconds), 0.5),
                "command_p99_us": told(np.array(mine.microseconds), 0.99),
                "command_ratio": median(np.array(mine.microseconds)) / base,
                "wal_bytes_per_command": median(np.array(mine.wal_bytes)) if mine.wal_bytes else None,
            }
        )
    return TABLES["feeds"].frame(rows)
