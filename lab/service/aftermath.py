"""Check the files after a torture: acknowledgements, the source of truth and every projection against the oracle."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import TRUTH, Unsound, stream
from lab.domain.model import published as published_entities
from lab.feed.reader import ChangeReader
from lab.place import FolderPlace
from lab.service.messages import CLIENT
from lab.stores.whole import dump
from lab.truth import Truth
from lab.verdict.oracle import Oracle
from lab.wiring import Plan

Frames = dict[str, pl.DataFrame]


def request_key(workload: str, number: int) -> str:
    """Return the Idempotency-Key of a command of a torture: its number in the workload with this digest."""
    return f"torture {workload} {number}"


@dataclass
class TortureLedger:
    """The acknowledgements of the service: for each request its outcome and its position (None: no change)."""

    rows: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)

    def hear(self, request: int, outcome: str, position: int | None) -> None:
        """Note an acknowledgement; the same one may come again, another one is a contradiction."""
        former = self.rows.setdefault(request, (outcome, position))
        if former != (outcome, position):
            self.contradictions.append(f"request {request} was answered {former}, and then {(outcome, position)}")


def judge(plan: Plan, folder: Path, ledger: TortureLedger, problems: list[str]) -> dict[str, Any]:
    """Compare the files of a stopped service with what they must be; `problems` are those known before.

    `processes` has a row for the source of truth, for each projection and for the front: its store, and how many rows
    must be there, are lost (missing or different) and doubled (beyond them).
    """
    truth = plan.truth(FolderPlace(folder).within(TRUTH))
    try:
        found = {
            name: ChangeReader(truth).changes_since(name, 0, 2**62).select(list(entity.schema))
            for name, entity in published_entities(plan.domain).items()
        }
        oracle, executed = _decided_again(plan, truth, ledger, found)
    finally:
        truth.close()
    problems = [*problems, *ledger.contradictions, *_unkept(ledger, oracle, found)]
    try:
        oracle.confirm_published(found)
    except Unsound as error:
        problems.append(str(error))
    processes = [_compared(plan.scenario.truth.engine, oracle.revisions, found)]
    for item in plan.projections:
        layout = item.layout
        must = {name: oracle.expected(layout.keeps, name, layout.totals) for name in layout.entities}
        store = item.store(FolderPlace(folder).within(item.name).current)
        store.open()
        shown = {
            name: layout.shown(dump(store, name, oracle.revisions[name]["key"].unique)) for name in layout.entities
        }
        store.close()
        processes.append(_compared(item.table.store, must, shown))
        if any(not must[name].equals(shown[name]) for name in must):
            problems.append(f"{item.name} is not what the source of truth amounts to")
    processes.append(_acknowledged(ledger, found))
    if executed == plan.options.commands:
        problems.append("the commands ran out before the kills: raise workload.commands, or lower --rate")
    return {
        "verdict": "fail" if problems else "pass",
        "problems": problems,
        "commands": executed,
        "acknowledged": len(ledger.rows),
        "changes": sum(frame.height for frame in found.values()),
        "processes": processes,
    }


def _decided_again(plan: Plan, truth: Truth, ledger: TortureLedger, found: Frames) -> tuple[Oracle, int]:
    """The oracle of all commands that were decided, and how many these are.

    A command is committed when it arrives, on the wall clock: its time is taken from its change.
    """
    changes = pl.concat([frame.select("position", "committed_at") for frame in found.values()])
    times = dict(changes.iter_rows())
    stamped = []
    workload = plan.domain.workload(plan.options, stream(plan.scenario.seed, "workload"))
    # Of the command that was being decided at the end, the acknowledgement may be what is missing.
    for number, command in enumerate(itertools.islice(workload, len(ledger.rows) + 1)):
        answered = truth.answered(CLIENT + request_key(plan.workload_digest, number))
        if answered is None:
            break
        stamped.append(replace(command, at=times.get(answered.outcome.position or 0, 0.0)))
    return Oracle.of_commands(plan.domain, stamped), len(stamped)


def _unkept(ledger: TortureLedger, oracle: Oracle, found: Frames) -> list[str]:
    """Acknowledgements that don't hold: a status that the command doesn't deserve, or a change that is not there."""
    there = {position for frame in found.values() for position in frame["position"]}
    statuses = {"accepted": 0, "rejected": 0, "conflict": 0}
    owners: dict[int, int] = {}
    problems = []
    for number, (status, position) in sorted(ledger.rows.items()):
        statuses[status] += 1
        if position is None:
            continue
        if position in owners:
            problems.append(f"requests {owners[position]} and {number} were both acknowledged with position {position}")
        owners[position] = number
        if position not in there:
            problems.append(f"request {number} was acknowledged with position {position}, and there is no such change")
    # At most one command was decided and not acknowledged.
    more = {status: oracle.outcomes[status] - count for status, count in statuses.items()}
    if sum(more.values()) not in (0, 1) or min(more.values()) < 0:
        problems.append(f"acknowledged were {statuses}, and the commands deserve {oracle.outcomes}")
    return problems[:20]


def _acknowledged(ledger: TortureLedger, found: Frames) -> dict[str, Any]:
    """The front's row: commands acknowledged with a change, those of which there is none, and changes given twice."""
    told = [position for _, position in ledger.rows.values() if position is not None]
    there = {position for frame in found.values() for position in frame["position"]}
    lost = sum(position not in there for position in told)
    return {"store": "HTTP", "rows": len(told), "lost": lost, "doubled": len(told) - len(set(told))}


def _compared(store: str, must: Frames, found: Frames) -> dict[str, Any]:
    """Rows that must be there; of them missing or different; and rows beyond them."""
    rows = sum(frame.height for frame in must.values())
    lost = sum(
        must[name].join(found[name], on=must[name].columns, how="anti", nulls_equal=True).height for name in must
    )
    more = sum(max(0, found[name].height - must[name].height) for name in must)
    return {"store": store, "rows": rows, "lost": lost, "doubled": more}
