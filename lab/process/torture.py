"""`lab torture`: every process killed again and again while commands keep coming; then everything is counted.

Nothing acknowledged may be missing, nothing may be there twice, and every projection must end as the oracle says.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lab.base import TRUTH, BadInput, Problem, Unsound, stream
from lab.domain.model import published as published_entities
from lab.feed.reader import ChangeReader
from lab.process.running import shareable
from lab.process.victims import Victim
from lab.stores.port import dump
from lab.verdict.oracle import Oracle
from lab.wiring import Plan

# Most are killed at work: so many seconds after they first told something, drawn evenly, or after being silent for so
# long. The others are killed while they start, or recover what the one before left. The executor lives longer, so that
# changes keep coming.
AT_WORK, EXECUTING, SILENT, STARTING, EARLY = (0.0, 0.6), (0.1, 3.0), 20.0, (0.2, 2.0), 0.2


@dataclass
class Ledger:
    """What the executor has acknowledged: by request, its status and position."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)

    def hear(self, row: dict[str, Any]) -> None:
        """An acknowledgement; the same one may come again, another one may not."""
        former = self.rows.setdefault(row["request"], row)
        if former != row:
            self.contradictions.append(f"request {row['request']} was answered {former}, and then {row}")

    @property
    def next(self) -> int:
        """The first request that nobody has been told about."""
        return len(self.rows)


def torture(
    plan: Plan,
    scenario: list[str],
    kills: int,
    rate: float,
    folder: Path | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Kill the executor and each projector `kills` times; returns the verdict and a row for each process.

    `scenario` are the arguments that name the plan's scenario to a process. `done` is told how many kills there were.
    """
    if plan.scenario.truth.model == "snapshot":
        what = "a snapshot can't show that each command is there exactly once: it keeps the last one of each record"
        raise BadInput([Problem("truth.model", what, 'set truth.model to "history" or "events"')])
    shareable(plan)
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="torture-") as made:
            return torture(plan, scenario, kills, rate, Path(made), done)
    ledger, heads = Ledger(), dict.fromkeys((item.name for item in plan.projections), 0)
    place = ["--folder", str(folder), "--json"]
    executor = Victim(
        TRUTH,
        lambda: ["execute", *scenario, *place, "--from", str(ledger.next), "--rate", str(rate)],
        ledger.hear,
    )

    def hear(row: dict[str, Any]) -> None:
        heads[row["projection"]] = max(heads[row["projection"]], row["position"])

    projectors = [_projector(name, [*scenario, *place, "--every", "0.02"], hear) for name in heads]
    victims = [executor, *projectors]
    began = time.monotonic()
    try:
        _kill(plan, victims, kills, done)
        for victim in victims:
            victim.stop()
    finally:
        for victim in victims:
            victim.reap()
    tortured = time.monotonic() - began
    found = _judge(plan, folder, scenario, place, executor, projectors, ledger)
    found["problems"] += [
        f"{victim.name} was killed {victim.kills} times, and not {kills}" for victim in victims if victim.kills < kills
    ]
    verdict = "fail" if found["problems"] else "pass"
    return found | {"verdict": verdict, "tortured_seconds": tortured}


def _projector(name: str, arguments: list[str], hear: Callable[[dict[str, Any]], None]) -> Victim:
    return Victim(name, lambda: ["project", *arguments, "--projection", name], hear)


def _kill(plan: Plan, victims: list[Victim], kills: int, done: Callable[[int], None]) -> None:
    """Each lives for a while and is killed, until each has been killed so often; the others go on meanwhile."""
    rng = stream(plan.scenario.seed, "torture")
    draws = {}
    for victim in victims:
        victim.start()
        draws[victim.name] = _fate(rng, victim)
    executor = victims[0]
    while any(victim.kills < kills for victim in victims):
        time.sleep(0.002)
        if any(victim.errors for victim in victims) or (executor.ended and not executor.errors):
            # One that can't start would be waited for in vain; without commands there is nothing to be torn.
            return
        for victim in victims:
            early, after = draws[victim.name]
            alive, at_work = victim.lived()
            due = alive >= after if early else (at_work is not None and at_work >= after) or alive >= SILENT
            if due and victim.kills < kills:
                victim.kill()
                done(sum(one.kills for one in victims))
                victim.start()
                draws[victim.name] = _fate(rng, victim)


def _fate(rng: np.random.Generator, victim: Victim) -> tuple[bool, float]:
    """Whether a process dies while it starts, and after how many seconds of its start or of its work."""
    early = bool(rng.random() < EARLY)
    at_work = EXECUTING if victim.name == TRUTH else AT_WORK
    return early, float(rng.uniform(*(STARTING if early else at_work)))


def _judge(
    plan: Plan,
    folder: Path,
    scenario: list[str],
    place: list[str],
    executor: Victim,
    projectors: list[Victim],
    ledger: Ledger,
) -> dict[str, Any]:
    """Compare what is there with what must be; projections are first brought to the end by a last process each."""
    truth = plan.truth(folder / TRUTH)
    try:
        published = {
            name: ChangeReader(truth).changes_since(name, 0, 2**62).select(list(entity.schema))
            for name, entity in published_entities(plan.domain).items()
        }
        head = max(truth.head(name) for name in plan.domain.entities)
        unknown = [number for number in range(ledger.next + 1) if truth.answered(str(number)) is None]
    finally:
        truth.close()
    # Of the command that was being executed at the end, the acknowledgement may be what is missing.
    executed = min(unknown, default=ledger.next + 1)
    workload = plan.domain.workload(plan.options, stream(plan.scenario.seed, "workload"))
    oracle = Oracle.of_commands(plan.domain, itertools.islice(workload, executed))
    rows = [_row(executor, plan.scenario.truth.engine, *_compared(oracle.revisions, published))]
    problems = [*ledger.contradictions, *_unkept(ledger, oracle, published)]
    try:
        oracle.confirm_published(published)
    except Unsound as error:
        problems.append(str(error))
    for victim, item in zip(projectors, plan.projections, strict=True):
        last = _projector(item.name, [*scenario, *place, "--until", str(head)], lambda _: None)
        last.start()
        last.wait(600.0)
        victim.errors += last.errors
        store = item.store(folder / item.name)
        store.open()
        layout = item.layout
        must = {name: oracle.expected(layout.keeps, name, layout.totals) for name in layout.entities}
        found = {name: dump(store, name) for name in layout.entities}
        if layout.totals:
            measured = pl.any_horizontal(pl.col(layout.totals.measures) != 0)
            found = {name: frame.filter(measured) for name, frame in found.items()}
        store.close()
        rows.append(_row(victim, item.table.store, *_compared(must, found)))
        if any(not must[name].equals(found[name]) for name in must):
            problems.append(f"{item.name} is not what the source of truth amounts to")
    for victim in (executor, *projectors):
        problems += victim.errors
    if executed == plan.options.commands:
        problems.append("the commands ran out before the kills: raise workload.commands, or lower --rate")
    return {
        "verdict": "fail" if problems else "pass",
        "problems": problems,
        "commands": executed,
        "acknowledged": len(ledger.rows),
        "changes": sum(frame.height for frame in published.values()),
        "processes": rows,
    }


def _unkept(ledger: Ledger, oracle: Oracle, published: dict[str, pl.DataFrame]) -> list[str]:
    """What was acknowledged and is not so: another status than the command deserves, or a change that is not there."""
    there = {position for frame in published.values() for position in frame["position"]}
    statuses: dict[str, int] = {"accepted": 0, "rejected": 0, "conflict": 0}
    owners: dict[int, int] = {}
    problems = []
    for number, row in sorted(ledger.rows.items()):
        statuses[row["status"]] += 1
        position = row["position"]
        if position is None:
            continue
        if position in owners:
            problems.append(f"requests {owners[position]} and {number} were both acknowledged with position {position}")
        owners[position] = number
        if position not in there:
            problems.append(f"request {number} was acknowledged with position {position}, and there is no such change")
    # At the most one command was decided and not acknowledged.
    more = {status: oracle.outcomes[status] - count for status, count in statuses.items()}
    if sum(more.values()) not in (0, 1) or min(more.values()) < 0:
        problems.append(f"acknowledged were {statuses}, and the commands deserve {oracle.outcomes}")
    return problems[:20]


def _compared(must: dict[str, pl.DataFrame], found: dict[str, pl.DataFrame]) -> tuple[int, int, int]:
    """Rows that must be there; of them missing or other; and rows that are there beyond them."""
    rows = sum(frame.height for frame in must.values())
    lost = sum(
        must[name].join(found[name], on=must[name].columns, how="anti", nulls_equal=True).height for name in must
    )
    more = sum(max(0, found[name].height - must[name].height) for name in must)
    return rows, lost, more


def _row(victim: Victim, store: str, rows: int, lost: int, doubled: int) -> dict[str, Any]:
    p50, longest = victim.times()
    return {
        "process": victim.name,
        "store": store,
        "kills": victim.kills,
        "early_kills": victim.early,
        "starts": victim.starts,
        "rows": rows,
        "lost": lost,
        "doubled": doubled,
        "recovery_p50_seconds": p50,
        "recovery_max_seconds": longest,
    }
