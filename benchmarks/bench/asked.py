"""Each store's answers beside the same engine used by hand, class by class; and ten changes, then a read.

Both sides are asked the same questions in turn, in blocks: lab, hand, hand, lab. So drift affects both alike, and but
for its first calls, which don't count, no block finds the caches as the other side left them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import polars as pl

from benchmarks.bench import by_hand
from benchmarks.bench.data import EMPLOYEE, ENTITY, Bench, last_of
from benchmarks.bench.harness import Row, Targets, Wrong
from lab.base import Batch
from lab.domain.employees import EMPLOYEES
from lab.place import FolderPlace
from lab.queries.answers import ReferenceTable
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.queries.resolve import resolve
from lab.scenario import QueryTable
from lab.statistics.quantiles import median
from lab.stores import Layout, Store, store_class

HEADS = "SELECT department, COUNT(*) AS people FROM employee GROUP BY department"
OWN: dict[str, Any] = {"name": "heads", "kind": "sql", "entity": ENTITY, "sql": HEADS}
# The most that a call may take, as a multiple of the same by hand: a call of Python is a larger part of a short one.
SHORT_US, SHORT_MOST, MOST = 20.0, 1.6, 1.3
# Of one round: how long a side is asked, in seconds; a part of `calls` are the questions; how many are checked.
SECONDS, PART, CHECKED = 0.5, 100, 5
# Cycles of one round of ten changes and a read, on each side.
CYCLES, CHANGES = 20, 10


@dataclass
class Pair:
    """A store of the lab and the same engine by hand, filled with the same rows; one pair is open at a time."""

    name: str
    bench: Bench
    root: Path
    questions: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    # How often records were changed, so that a change always is a new revision.
    changed: int = 0

    @cached_property
    def keeps(self) -> str:
        """Revisions in a log, else records."""
        return store_class(self.name).holds[0]

    @cached_property
    def rows(self) -> pl.DataFrame:
        """What both hold: the bench's history, with managers that form a tree."""
        states = tree(self.bench.history.states)
        return states.sort("key", "revision") if self.keeps == "revisions" else last_of(states)

    @cached_property
    def tables(self) -> dict[str, ReferenceTable]:
        """The reference, which both are compared with."""
        return {ENTITY: ReferenceTable(EMPLOYEE, self.rows)}

    @cached_property
    def lab(self) -> Store:
        """The store of the lab, as a rebuild leaves it."""
        made = store_class(self.name)(FolderPlace(self.root / "lab"), Layout(self.keeps, {ENTITY: EMPLOYEE}))
        made.open()
        made.bulk(ENTITY, [Batch(ENTITY, self.rows, self.rows.height)])
        made.close()
        made.open()
        return made

    @cached_property
    def hand(self) -> by_hand.ByHand:
        """The engine by hand."""
        return by_hand.opened(self.name, self.root / "hand", self.rows)

    def asked(self, query: Query) -> list[tuple[Any, ...]]:
        """The parameters of a query, drawn once."""
        if query.name not in self.questions:
            rng = np.random.default_rng(self.bench.seed)
            self.questions[query.name] = KINDS[query.kind].draw(
                query, self.tables, max(4, self.bench.size.calls // PART), rng
            )
        return self.questions[query.name]

    def close(self) -> None:
        """Close both sides."""
        if "lab" in self.__dict__:
            self.lab.close()
        if "hand" in self.__dict__:
            self.hand.close()


def tree(states: pl.DataFrame) -> pl.DataFrame:
    """The states, each record below one of a lower key for good: as in the workload, most are near the top."""
    share = (pl.col("key") * 2_654_435_761 % 2**32) / 2**32
    above = (share**2 * (pl.col("key") - 1)).cast(pl.Int64) + 1
    return states.with_columns(manager=pl.when(pl.col("key") > 1).then(above))


def queries() -> list[Query]:
    """The questions of the employees, and a statement of a user's own."""
    tables = [QueryTable(**one) for one in EMPLOYEES.queries] + [QueryTable(**OWN)]
    found = [resolve(table, EMPLOYEES.entities, "benchmark")[0] for table in tables]
    return [query for query in found if query is not None]


class Pairs:
    """The pair that is open; asked for another one, it closes that."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.open = bench, None

    open: Pair | None

    def of(self, name: str) -> Pair:
        """The pair of a store."""
        if self.open is None or self.open.name != name:
            self.close()
            self.open = Pair(name, self.bench, self.bench.root / f"asked-{name}-{len(list(self.bench.root.iterdir()))}")
        return self.open

    def close(self) -> None:
        """Close what is open."""
        if self.open is not None:
            self.open.close()
            self.open = None


def rows(bench: Bench) -> Iterator[Row]:
    """`query_<class>` for each store and query, and `alternating` for each store."""
    pairs = Pairs(bench)
    for name in by_hand.STORES:
        layout = Layout(store_class(name).holds[0], {ENTITY: EMPLOYEE})
        for query in queries():
            if store_class(name).can_answer(query, layout):
                yield _query(pairs, name, query)
        yield Row(
            "alternating",
            name,
            "cycles/s",
            CYCLES,
            targets={"vs_limit": ("least", 0.8)},
            note=f"{CHANGES} changes in one transaction with their position, then a get of one of them.",
            joint=partial(_alternating, pairs, name),
        )
    pairs.close()


def _alternating(pairs: Pairs, name: str, _: Path) -> dict[str, float]:
    return alternating(pairs.of(name))


def _query(pairs: Pairs, name: str, query: Query) -> Row:
    return Row(
        f"query_{query.kind}",
        f"{name} {query.name}",
        "us",
        0,
        targets_by=most,
        note="The median call of the store, and of the same engine by hand.",
        joint=lambda _: compared(pairs.of(name), query),
    )


def most(limit_us: float | None) -> Targets:
    """What a call may take, by the microseconds that it takes by hand."""
    return {"vs_limit": ("most", SHORT_MOST if limit_us is not None and limit_us < SHORT_US else MOST)}


def compared(pair: Pair, query: Query) -> dict[str, float]:
    """The median microseconds of a call on each side, of blocks that take turns, and how many calls counted (`size`).

    Raises Wrong for a wrong answer.
    """
    questions = pair.asked(query)
    if not questions:
        raise Wrong(f"there is nothing to ask `{query.name}` with")
    sides: dict[str, by_hand.Ask] = {"lab": partial(pair.lab.query, query), "limit": pair.hand.asks[query.name]}
    for one in questions[:CHECKED]:
        right = KINDS[query.kind].answer(query, one, pair.tables)
        for side, ask in sides.items():
            found = ask(one)
            if not KINDS[query.kind].agrees(query, right, found):
                raise Wrong(f"{side}: {query.name}{one[:3]}: {len(found)} rows, must be {len(right)}")
    # Both are warm by now. Of several calls: one alone may be interrupted.
    each = max(1.0, median(timed(sides["limit"], questions[: CHECKED + 1])))
    calls = max(2, min(len(questions), int(SECONDS * 1e9 / 4 / each)))
    samples: dict[str, list[int]] = {"lab": [], "limit": []}
    for place, side in enumerate(("lab", "limit", "limit", "lab", "limit", "lab", "lab", "limit")):
        block = [questions[(place // 2 * calls + number) % len(questions)] for number in range(calls)]
        samples[side] += timed(sides[side], block)
    measured = {side: median(values) / 1_000 for side, values in samples.items()}
    return measured | {"size": float(len(samples["lab"]))}


def timed(ask: by_hand.Ask, block: Sequence[tuple[Any, ...]]) -> list[int]:
    """Nanoseconds of each call but the first tenth, or the first one: they find the caches of the other side."""
    taken = []
    for parameters in block:
        began = perf_counter_ns()
        ask(parameters)
        taken.append(perf_counter_ns() - began)
    return taken[max(1, len(taken) // 10) :]


def alternating(pair: Pair) -> dict[str, float]:
    """Cycles a second on each side, in turn. Raises Wrong when a read doesn't find what was written before it."""
    get = next(query for query in queries() if query.kind == "get")
    rng = np.random.default_rng([pair.bench.seed, pair.changed])
    seconds = {"lab": 0.0, "limit": 0.0}
    live = pair.rows.filter(~pl.col("deleted") & (pl.col("revision") == pl.col("revision").max().over("key")))
    # The engines are warm after the first cycle, which doesn't count.
    for cycle in range(CYCLES + 1):
        pair.changed += 1
        frame = live.gather(np.sort(rng.choice(live.height, min(CHANGES, live.height), replace=False)))
        at = pair.rows.height + pair.changed * CHANGES
        frame = frame.with_columns(
            revision=pl.col("revision") + pair.changed, salary=pl.col("salary") + pair.changed,
            position=at + pl.int_range(frame.height),
        )  # fmt: skip
        batch, made = Batch(ENTITY, frame, at + frame.height), frame.rows()
        key, right = (made[0][1],), [(made[0][1], made[0][2], *made[0][5:])]
        for side in ("lab", "limit") if cycle % 2 else ("limit", "lab"):
            began = perf_counter_ns()
            if side == "lab":
                pair.lab.apply(batch)
                found = pair.lab.query(get, key)
            else:
                pair.hand.write(made, at + frame.height)
                found = pair.hand.asks[get.name](key)
            seconds[side] += (perf_counter_ns() - began) / 1e9 if cycle else 0.0
            if found != right:
                raise Wrong(f"{side}: a get after ten changes found {found}, must be {right}")
    return {side: CYCLES / taken for side, taken in seconds.items()}
