"""Let a process die between two steps, and count what is lost, what comes twice, and what was told but never happened.

A death is an exception at a step; what had been committed stays, and the process goes on after it. Each function
returns what was committed and what was sent, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from lab.base import Key, stream
from lab.domain.model import Command
from lab.teach.desk import Reader, planned, source_of_truth
from lab.teach.experiments import projection
from lab.truth import Change, Truth

ENTITY = "employee"
ALL = 10_000_000


class ProcessDied(Exception):
    """The process died here."""


@dataclass
class SentChanges:
    """What a way of publishing did: the source of truth, the positions sent, in order, and each announcement.

    An announcement is key and revision, as a reader hears it: it may be of a change that was never committed.
    """

    truth: Truth
    sent: list[tuple[Key, int]] = field(default_factory=list)

    @property
    def committed(self) -> list[tuple[Key, int]]:
        """Key and revision of all that was committed, in order."""
        return list(self.truth.changes_since(ENTITY, 0, ALL).select("key", "revision").iter_rows())

    def counts(self) -> dict[str, int]:
        """Return how many changes were `committed`, `lost`, sent `twice`, and how many sent are `phantoms`."""
        there, told = set(self.committed), set(self.sent)
        return {
            "committed": len(there),
            "lost": len(there - told),
            "twice": len(self.sent) - len(told),
            "phantoms": len(told - there),
        }


def commands(count: int = 200, records: int = 20, seed: int = 1087) -> list[Command]:
    """Return commands of employees, the first ones of which hire them."""
    drawn = planned(projection("a"), records=records, commands=count)
    return list(drawn.domain.workload(drawn.options, stream(seed, "workload")))


def dual_write(
    wanted: Iterable[Command], deaths: Collection[int], first: Literal["commit", "send"] = "commit"
) -> SentChanges:
    """Commit each command to the source of truth and send its change to a broker: two systems, one after the other.

    The process dies between the two at the commands whose numbers, from 0, are in `deaths`. What was not committed by
    then is rolled back; nobody sends it again, since the process doesn't know what it was doing.
    """
    truth = source_of_truth()
    delivery = SentChanges(truth)
    at = -1

    def send(changes: Sequence[Change]) -> None:
        if at in deaths and first == "commit":
            raise ProcessDied
        delivery.sent += [(change.key, change.revision) for change in changes]
        if at in deaths:
            raise ProcessDied

    if first == "commit":
        truth.publish = lambda change: send([change])
    else:
        truth.committing = send
    for command in wanted:
        at += 1
        try:
            truth.execute(command)
        except ProcessDied:
            continue
    truth.publish = truth.committing = None
    return delivery


def outbox(wanted: Iterable[Command], deaths: Collection[int], page: int = 10) -> SentChanges:
    """Commit commands with their changes in one transaction, then have a relay send the changes to a broker.

    The table of changes is the outbox. The relay reads a page behind its position, sends it, and notes the new
    position; it dies between the two at the pages whose numbers are in `deaths`, and reads the same page again.
    """
    truth = source_of_truth()
    delivery = SentChanges(truth)
    for command in wanted:
        truth.execute(command)
    position, number = 0, -1
    while (rows := truth.changes_since(ENTITY, position, page)).height:
        number += 1
        try:
            delivery.sent += list(rows.select("key", "revision").iter_rows())
            if number in deaths:
                raise ProcessDied
            position = int(rows["position"][-1])
        except ProcessDied:
            continue
    return delivery


def hears(delivery: SentChanges, **keys: object) -> Reader:
    """Return a projection that was fed by what was sent, in that order; what was never committed is left out.

    `keys` are those of a projection: its guard, what it keeps.
    """
    reader = Reader(delivery.truth, **keys)  # type: ignore[arg-type]
    feed = reader.feed.changes_since(ENTITY, 0, ALL)
    rows = {(row["key"], row["revision"]): number for number, row in enumerate(feed.iter_rows(named=True))}
    reader.hear(feed[[rows[one] for one in delivery.sent if one in rows]])
    return reader


def mails(
    changes: pl.DataFrame, deaths: Collection[int], order: Literal["send first", "note first"]
) -> tuple[list[int], int]:
    """Send a mail for each change, and note in a database that it was sent: two systems again.

    Returns the positions mailed, in order, and how many changes never got a mail. The process dies between the two
    steps at the positions in `deaths`, once each, and goes on from what is noted.
    """
    noted, sent, died = 0, list[int](), set[int]()
    positions = changes["position"].to_list()
    while noted < len(positions):
        position = positions[noted]
        dies = position in deaths and position not in died
        if order == "send first":
            sent.append(position)
            if dies:
                died.add(position)
                continue
            noted += 1
        else:
            noted += 1
            if dies:
                died.add(position)
                continue
            sent.append(position)
    return sent, len(set(positions) - set(sent))
