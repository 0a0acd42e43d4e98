"""Rebuilding from events: they are folded into states on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import peer
from benchmarks.bench.data import Bench, History
from benchmarks.bench.harness import Attempt, Contestant, Row, Targets, differs
from benchmarks.bench.rebuild import rebuilt

STORE = "duckdb.columnar"


def rows(bench: Bench) -> Iterator[Row]:
    """`rebuild_events`."""
    changes = bench.size.changes
    few = min(5 * bench.size.peer, changes)
    targets: Targets = {"vs_peer": ("least", 100.0), "vs_limit": ("least", 0.5)}
    note = (
        f"Into {STORE}. The limit is the lab's rebuild from states. The peer gets every aggregate from its repository, "
        f"out of {few:,} events in SQLite, and writes nothing; reading has no class of durability, so `peer_equal` "
        "would be the same."
    )
    contestants = [
        Contestant("lab", changes, lambda folder: rebuilt(bench, folder, STORE, changes, "events")),
        Contestant("limit", changes, lambda folder: rebuilt(bench, folder, STORE, changes, "history")),
        Contestant("peer", few, lambda folder: _peer(bench, folder, few)),
    ]
    yield Row("rebuild_events", "", "changes/s", changes, contestants, targets, note)


def _peer(bench: Bench, folder: Path, events: int) -> Attempt:
    """Every aggregate from its repository: its events are read and folded."""
    history = History(events, max(10, events // 10), bench.seed)
    application = peer.in_sqlite(folder)
    peer.fill(application, history)
    names = [peer.employee_id(key) for key in history.last["key"].to_list()]
    found: list[peer.Employee] = []

    def run() -> None:
        found.extend(map(application.repository.get, names))

    def check() -> str | None:
        return differs(peer.frame([peer.state(one) for one in found]), history.last.drop("position"))

    return Attempt(run, check, application.close)
