"""Work a source of truth and a projection by hand, one command and one page at a time."""

from __future__ import annotations

import atexit
import itertools
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from lab.base import Key, stream
from lab.domain import domain
from lab.domain.model import Command, Outcome
from lab.place import FolderPlace
from lab.projection.rebuild import rebuild
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.scenario import Source
from lab.stores.whole import dump
from lab.teach.experiments import messages, projection, scenario_text, workplace
from lab.teach.scale import scaled
from lab.truth import Truth, open_truth
from lab.wiring import Plan, plan

_places = itertools.count()


def planned(
    *keys: dict[str, Any], model: str = "history", business: str = "employees", records: int = 10, commands: int = 10
) -> Plan:
    """Plan a small scenario with these projections and a channel, for work by hand."""
    raw = {
        "schema": 1, "name": "by-hand", "seed": 1, "domain": {"name": business, "records": records},
        "workload": {"commands": commands}, "truth": {"model": model}, "channel": messages(),
        "measure": {"truth": False}, "projection": list(keys),
    }  # fmt: skip
    return plan(Source.of_text(scenario_text(raw), "by-hand.toml"))


def source_of_truth(model: str = "history", business: str = "employees") -> Truth:
    """Open an empty source of truth in SQLite: `snapshot`, `history` or `events`. It is deleted with the process."""
    truth = open_truth("sqlite", model, FolderPlace(workplace() / f"truth-{next(_places)}"), domain(business), "normal")
    atexit.register(truth.close)
    return truth


def do(
    truth: Truth, name: str, key: Key, /, *, entity: str = "", expected: int | None = None, **fields: Any
) -> Outcome:
    """Execute one command, and return its outcome. The clock advances a second with each position.

    `expected` is the revision that the command was decided on; another one is a conflict. None: any revision.
    """
    entity = entity or next(iter(truth.domain.entities))
    at = float(1 + max(truth.head(each) for each in truth.domain.entities))
    return truth.execute(Command(entity, name, key, fields, expected, at))


def growth(stores: Sequence[str], sizes: Sequence[int], times: int = 3) -> pl.DataFrame:
    """Measure rebuilds as the source of truth grows: `store`, `changes`, `seconds` (wall clock), `same` (whether the
    content is the same as before). A row for each of the `times`; at each size the stores take turns.

    `sizes` are rising numbers of commands, which are scaled; there is one employee for each five.
    """
    counts = [scaled(size) for size in sizes]
    drawn = planned(projection("a"), records=max(1, counts[-1] // 5), commands=counts[-1])
    commands = iter(list(drawn.domain.workload(drawn.options, stream(1, "workload"))))
    truth = source_of_truth()
    readers: dict[str, Reader] = {}
    rows = []
    for done, count in zip([0, *counts], counts, strict=False):
        for command in itertools.islice(commands, count - done):
            truth.execute(command)
        before = {}
        for store in stores:
            reader = readers[store] = readers.get(store) or Reader(truth, store)
            reader.catch_up()
            before[store] = reader.rows()
        for store in [*stores] * times:
            read, seconds = readers[store].rebuild()
            rows.append((store, read, seconds, readers[store].rows().equals(before[store])))
    return pl.DataFrame(rows, schema=["store", "changes", "seconds", "same"], orient="row")


class Reader:
    """A projection that catches up on request. `keys` are those of a scenario's [[projection]]."""

    def __init__(self, truth: Truth, store: str = "sqlite.table", **keys: Any) -> None:
        self.truth = truth
        made = planned(projection("reader", store, **keys), model=truth.model, business=truth.domain.name)
        self.plan = made.projections[0]
        self.queries = {query.name: query for query in made.queries}
        self.projector = self.plan.projector(FolderPlace(workplace()).within(f"reader-{next(_places)}"))
        self.feed = self.plan.subscription(truth)
        atexit.register(self.projector.store.close)

    @property
    def entity(self) -> str:
        """Return the first entity that it subscribes to."""
        return next(iter(self.plan.layout.entities))

    @property
    def checkpoint(self) -> int:
        """Return the position up to which everything is in."""
        return self.projector.checkpoint(self.entity)

    def catch_up(self, page: int = 1_000) -> list[int]:
        """Read pages until one is not full; return the number of changes of each."""
        sizes: list[int] = []
        while not sizes or sizes[-1] == page:
            frame = self.feed.changes_since(self.entity, self.checkpoint, page)
            sizes.append(frame.height)
            if frame.height:
                self.projector.apply(self.entity, frame, int(frame["position"][-1]))
        return sizes

    def hear(self, changes: pl.DataFrame) -> None:
        """Apply these changes as messages in this order; the checkpoint doesn't move."""
        self.projector.apply(self.entity, changes)

    def rebuild(self) -> tuple[int, float]:
        """Rebuild from position 0; return the number of changes read, and the seconds it took."""
        self.throw_away()
        began = perf_counter()
        read = rebuild(self.projector.store, self.feed, self.projector.policy)
        seconds = perf_counter() - began
        self.projector.start()
        return read, seconds

    def throw_away(self) -> None:
        """Delete data, the guard's memory and the checkpoint."""
        self.projector.reset()

    def rows(self) -> pl.DataFrame:
        """Return the live records as a frame."""
        frame = dump(self.projector.store, self.entity)
        if "deleted" not in frame.columns:
            return frame
        return frame.filter(~pl.col("deleted")).drop("deleted", "committed_at", "position")

    def ask(self, name: str, *parameters: Any) -> list[Row]:
        """Run one of the domain's queries by its name. Raises NotAnswered if the store can't answer it."""
        return self.projector.store.query(self.query(name), parameters)

    def sql(self, statement: str) -> list[Row]:
        """Run a query in the engine's SQL. Raises ReadOnly for a statement that would write."""
        rows: list[Row] = self.projector.store.read(statement)  # type: ignore[attr-defined]
        return rows

    @property
    def file(self) -> Path:
        """Return the database file of a projection in SQLite or DuckDB, for direct access."""
        return next(path for path in self.projector.store.path.iterdir() if path.stem == "projection")

    def query(self, name: str) -> Query:
        """Return the domain's query of that name."""
        return self.queries[name]
