"""Catch-up of one projection by 1, 2 and 4 members that share its partitions, beside one process without any.

Each member is a process, with the partitions that it was given for good: what is measured is the work, and not how a
broker hands it out. Run as a module it is such a process.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from benchmarks.bench.apply import dumped, must_be
from benchmarks.bench.data import ENTITY, LAYOUT, Bench
from benchmarks.bench.harness import Attempt, Contestant, Row, differs
from benchmarks.bench.server_writes import ROOT
from lab.domain.employees import EMPLOYEES
from lab.feed.reader import ChangeReader
from lab.feed.sliced import SlicedReader
from lab.place import FolderPlace
from lab.ports import Assignment, FencingStore, KeySlice, Missing
from lab.projection.projector import Projector
from lab.servers import server
from lab.stores import Store, store_class
from lab.truth import open_beside, open_truth

NAME, STORE = "partitioned", "postgres.table"
MEMBERS, PARTITIONS, PAGE = (1, 2, 4), 4, 10_000


def rows(bench: Bench) -> Iterator[Row]:
    """A row for each number of members; `vs_limit` is by how many times they are as fast as one process."""
    if left_out():
        return
    changes = min(bench.size.live, bench.size.changes)
    note = "The limit is the lab's own catch-up in one process without partitions; both read pages of 10,000."
    for members in MEMBERS:
        contestants = [
            Contestant("lab", changes, partial(_attempt, bench, changes, members, PARTITIONS)),
            Contestant("limit", changes, partial(_attempt, bench, changes, 1, 0)),
        ]
        variant = f"{members} member{'s' if members > 1 else ''}"
        yield Row(NAME, variant, "changes/s", changes, contestants, {}, note)


def left_out() -> dict[str, str]:
    """The rows that need a server, and why there is none."""
    found = server("postgres").find()
    return {NAME: f"{found.reason}; {found.way_out}"} if isinstance(found, Missing) else {}


def foretold(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what the measured rows amount to: the serial share, and what more members come to by Amdahl's law.

    `s = (n / S - 1) / (n - 1)` where `n` members are `S` times as fast as one that has all partitions.
    """
    found = {row["size"] and row["variant"]: row["lab"] for row in results if row["row"] == NAME and row["verified"]}
    rates = {members: found.get(f"{members} member{'s' if members > 1 else ''}") for members in MEMBERS}
    if not rates[1]:
        return []
    lines = []
    for members in MEMBERS[1:]:
        if not rates[members]:
            continue
        speed_up = rates[members] / rates[1]
        serial = min(1.0, max(0.0, (members / speed_up - 1) / (members - 1)))
        eight = 1 / (serial + (1 - serial) / 8)
        most = f"{1 / serial:.2f}" if serial else "as many as there are members"
        lines.append(
            f"{NAME}: {members} members are {speed_up:.2f} times as fast as one: a serial share of {serial:.2f}; "
            f"foretold: 8 members {eight:.2f} times, never more than {most}"
        )
    return lines


def _store(folder: Path, partitions: int) -> Store:
    return store_class(STORE)(FolderPlace(folder / "store"), replace(LAYOUT, partitions=partitions))


def _attempt(bench: Bench, changes: int, members: int, partitions: int, folder: Path) -> Attempt:
    truth = open_truth("postgres", "history", FolderPlace(folder / "truth"), EMPLOYEES, "normal")
    truth.load(ENTITY, bench.history.frame[:changes])
    store = _store(folder, partitions)
    store.open()
    store.close()
    words = [sys.executable, "-m", f"benchmarks.bench.{NAME}", str(folder), str(members), str(partitions)]
    crew = [
        subprocess.Popen([*words, str(number)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(members)
    ]
    for process in crew:
        assert process.stdout is not None
        process.stdout.readline()

    def run() -> None:
        for process in crew:
            assert process.stdin is not None
            process.stdin.close()
        for process in crew:
            if process.wait():
                raise RuntimeError("a member failed")

    def close() -> None:
        for process in crew:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        store.drop()
        truth.drop()

    return Attempt(run, lambda: differs(dumped(store), must_be(bench, changes)), close)


class Part:
    """What one process does with one partition, or with the whole."""

    def __init__(self, folder: Path, partitions: int, number: int) -> None:
        truth = open_beside("postgres", "history", FolderPlace(folder / "truth"), EMPLOYEES, "normal")
        assert truth is not None
        self.reader, store = ChangeReader(truth), _store(folder, partitions)
        if partitions:
            cast(FencingStore, store).claim(Assignment(number, 1))
            self.reader = SlicedReader(self.reader, KeySlice(number, partitions))
        self.projector = Projector(store, "revision", 1)
        self.position = 0

    def step(self) -> bool:
        """Read a page and write it; false if it was the last."""
        page = self.reader.changes_since(ENTITY, self.position, PAGE)
        if page.height:
            self.position = int(page["position"][-1])
            self.projector.apply(ENTITY, page, self.position)
        return page.height == PAGE


def main(folder: str, members: str, partitions: str, number: str) -> None:
    """Catch up with this member's partitions, page by page in turn, once standard input ends."""
    mine = range(int(number), int(partitions), int(members)) if int(partitions) else [0]
    parts = [Part(Path(folder), int(partitions), one) for one in mine]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    while parts:
        parts = [one for one in parts if one.step()]


if __name__ == "__main__":
    main(*sys.argv[1:])
