"""What all contestants work on: the history of a company, skewed as real ones are, and sources of truth made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import adbc_driver_sqlite.dbapi as adbc
import numpy as np
import polars as pl
import pyarrow as pa

from lab.domain.employees import EMPLOYEES
from lab.domain.employees_workload import DEPARTMENTS
from lab.place import FolderPlace
from lab.stores import Layout
from lab.truth import Truth, open_truth

ENTITY = "employee"
EMPLOYEE = EMPLOYEES.entities[ENTITY]
COLUMNS = list(EMPLOYEE.schema)
LAYOUT = Layout("records", {ENTITY: EMPLOYEE})
LAYOUT_FULL = Layout("records", {ENTITY: EMPLOYEE}, durability="full")
SKEW = 0.8


@dataclass(frozen=True)
class Size:
    """How much work there is. `rounds` count; `live` changes are applied in small batches, `singly` one by one.

    `commands` are executed with a sync each, three and ten times as many without one and in groups; `peer` is how many
    events the slow peers are given: their rate doesn't depend on it.
    """

    changes: int = 1_000_000
    records: int = 100_000
    live: int = 200_000
    commands: int = 2_000
    singly: int = 1_000
    peer: int = 2_000
    calls: int = 50_000
    messages: int = 1_000_000
    days: int | None = None
    growth: tuple[int, ...] = (100_000, 1_000_000)
    rounds: int = 5

    def scaled(self, by: float) -> Size:
        """The same at another scale, for a look at whether everything works."""

        def of(count: int, least: int) -> int:
            return max(least, int(count * by))

        return Size(
            changes=of(self.changes, 2_000),
            records=of(self.records, 200),
            live=of(self.live, 1_000),
            commands=of(self.commands, 20),
            singly=of(self.singly, 20),
            peer=of(self.peer, 40),
            calls=of(self.calls, 200),
            messages=of(self.messages, 2_000),
            days=2 if by < 0.1 else self.days,
            growth=tuple(of(size, 500 * (place + 1)) for place, size in enumerate(self.growth)),
            rounds=self.rounds,
        )


FULL = Size()
QUICK = Size(
    changes=100_000,
    records=10_000,
    live=30_000,
    commands=500,
    singly=200,
    peer=500,
    calls=20_000,
    messages=200_000,
    days=21,
    growth=(30_000, 100_000),
    rounds=3,
)


@dataclass
class History:
    """`changes` of `records` employees: hired in a random order, then changed by a Zipf law; a few are dismissed last.

    `frame` is a change frame with states, and `event` as last column.
    """

    changes: int
    records: int
    seed: int

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Made with arrays; states come of filling forward what events set, and not by the lab's own fold."""
        rng = np.random.default_rng(self.seed)
        count, records = self.changes, self.records
        hired = rng.permutation(records) + 1
        weights = np.cumsum(1.0 / np.arange(1, records + 1) ** SKEW)
        drawn = np.searchsorted(weights, rng.random(count - records) * weights[-1])
        kinds = rng.choice(["raise_given", "renamed", "moved"], count - records, p=[0.6, 0.2, 0.2])
        frame = pl.DataFrame(
            {
                "position": np.arange(1, count + 1),
                "key": np.concatenate([hired, hired[drawn]]),
                "event": np.concatenate([np.full(records, "hired"), kinds]),
                "number": rng.integers(0, 50_000, count),
                "manager": rng.integers(1, records + 1, count),
                "department": rng.choice(np.array(DEPARTMENTS), count),
                "salary": rng.integers(20_000, 90_000, count),
                "leaves": rng.random(count) < 0.03,
            }
        )
        last = (pl.col("position") == pl.col("position").max().over("key")) & (pl.col("event") != "hired")
        frame = frame.with_columns(
            pl.col("position").cum_count().over("key").cast(pl.Int64).alias("revision"),
            (pl.col("position") / 1_000).alias("committed_at"),
            pl.format("Name {} of {}", "number", "key").alias("name"),
            pl.when(last & pl.col("leaves")).then(pl.lit("dismissed")).otherwise("event").alias("event"),
        )
        sets = {
            column: [name for name, kind in EMPLOYEES.events[ENTITY].items() if column in kind.sets]
            for column in EMPLOYEE.columns
        }
        frame = frame.with_columns(
            pl.when(pl.col("event").is_in(names)).then(pl.col(column)).forward_fill().over("key").alias(column)
            for column, names in sets.items()
        )
        deleted = (pl.col("event") == "dismissed").alias("deleted")
        return frame.with_columns(deleted).select(*COLUMNS, "event").cast(EMPLOYEE.schema)  # type: ignore[arg-type]

    @cached_property
    def states(self) -> pl.DataFrame:
        """Every change, without its event."""
        return self.frame.drop("event")

    @cached_property
    def last(self) -> pl.DataFrame:
        """What a projection of records must hold in the end."""
        return last_of(self.states)


def last_of(states: pl.DataFrame) -> pl.DataFrame:
    """The last revision of each record, by key."""
    return states.sort("position").unique("key", keep="last").sort("key")


@dataclass
class Bench:
    """What the rows share: sizes, a folder, the history, and sources of truth that are filled once and then read."""

    root: Path
    size: Size
    seed: int
    growth: bool = False
    _histories: dict[int, History] = field(default_factory=dict)

    @property
    def history(self) -> History:
        """The history at full size."""
        return self.of(self.size.changes)

    def of(self, changes: int) -> History:
        """A history of so many changes, of a tenth as many records, but of no more than there are at full size.

        One besides the one at full size is kept: the last.
        """
        if changes not in self._histories:
            self._histories = {count: one for count, one in self._histories.items() if count == self.size.changes}
            self._histories[changes] = History(changes, min(self.size.records, max(10, changes // 10)), self.seed)
        return self._histories[changes]

    def file(self, model: str = "history", changes: int | None = None) -> Path:
        """The folder of a source of truth that holds a history; it is made when it is first asked for."""
        history = self.history if changes is None else self.of(changes)
        path = self.root / f"truth-{model}-{history.changes}"
        if not path.exists():
            truth = open_truth("sqlite", model, FolderPlace(path), EMPLOYEES, "normal")
            for part in history.frame.iter_slices(200_000):
                truth.load(ENTITY, part)
            truth.close()
        return path

    def truth(self, model: str = "history", changes: int | None = None) -> Truth:
        """The same, open."""
        return open_truth("sqlite", model, FolderPlace(self.file(model, changes)), EMPLOYEES, "normal")

    def database(self, changes: int | None = None) -> Path:
        """The SQLite file itself, for the limits."""
        return self.file("history", changes) / "truth.sqlite"


LISTED = ", ".join(f'"{name}"' for name in COLUMNS)


def stream(database: Path) -> tuple[adbc.Connection, adbc.Cursor, pa.RecordBatchReader]:
    """One ADBC stream of all changes of a file that nobody changes: the quickest way out of SQLite that we know."""
    connection = adbc.connect(f"{database.as_uri()}?immutable=1")
    cursor = connection.cursor()
    cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": "65536"})
    cursor.execute(f"SELECT {LISTED} FROM {ENTITY} ORDER BY position")
    return connection, cursor, cursor.fetch_record_batch()


def everything(database: Path) -> pl.DataFrame:
    """The whole of that stream as a frame."""
    connection, cursor, reader = stream(database)
    frame = pl.from_arrow(reader.read_all())
    cursor.close()
    connection.close()
    assert isinstance(frame, pl.DataFrame)
    return frame.cast(EMPLOYEE.schema)  # type: ignore[arg-type]
