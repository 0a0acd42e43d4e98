"""Simulate readers: sessions that write, wait for their write with a token, and read.

A session commits a change, thinks, and asks the projection for its record. With a token it waits until the
projection says that it has come to the position of the write, or shows its revision of the record; after a time
limit it is answered "stale", and never nothing. Then it reads again and again, and must not see the record at an
older revision than before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from lab.base import stream
from lab.feed.published import Published
from lab.measure.lag import Passing
from lab.running.journal import Journal
from lab.scenario import ReadersTable
from lab.scenario.draws import delays
from lab.statistics.quantiles import told


def sessions(
    name: str,
    published: Published,
    journal: Journal,
    chosen: np.ndarray,
    visible: np.ndarray,
    shown: Callable[[np.ndarray], pl.DataFrame] | None,
    parked: np.ndarray,
    entities: Sequence[str],
    options: ReadersTable,
    seed: int,
) -> dict[str, Any] | None:
    """One row of the table `readers`; None without sessions or changes.

    `shown` gives what readers see of some records (`lag.shown`), or is None where a projection shows no revisions of
    records: then a write is read when it has become visible. `parked` marks the changes that were
    ever set aside, by index.
    """
    count = min(options.sessions, 1_000_000 if chosen.size else 0)
    if not count:
        return None
    rng = stream(seed, "readers")
    written = rng.choice(chosen, count)
    asked_at = published.committed_at[written] + delays(options.think, count, rng)
    again = np.cumsum(delays(options.think, count * (options.reads - 1), rng).reshape(count, -1), axis=1)
    # `delay` is the way to the projection: it moves the first read of a session and, with it, all later ones.
    asked_at = asked_at + delays(options.delay, count, rng)
    token_at = _token(options.token, published, journal, entities, written, asked_at, visible)
    if options.token != "none":
        # Of what is parked the projection knows that it isn't in, until it has been applied after all.
        token_at = np.where(parked[written], np.maximum(token_at, visible[written]), token_at)
    waited = np.maximum(token_at - asked_at, 0.0)
    stale = waited > options.wait
    # A read is on its way, and then waits at the projection.
    read_at = np.where(stale, asked_at + options.wait, np.maximum(asked_at, token_at))
    if shown is None:
        unread, backward = visible[written] > read_at, 0
    else:
        times = np.column_stack([read_at, read_at[:, None] + again])
        mine = shown(np.unique(published.record[written]))
        seen = look(mine, np.repeat(published.record[written], times.shape[1]), times.ravel()).reshape(times.shape)
        unread = seen[:, 0] < published.revision[written]
        # Only a session that was answered goes on reading.
        backward = int((np.diff(seen, axis=1) < 0)[~stale].sum())
    answered = waited[~stale]
    return {
        "projection": name,
        "token": options.token,
        "reads": int(count + (~stale).sum() * (options.reads - 1)),
        "answered": int((~stale).sum()),
        "stale": int(stale.sum()),
        "unread": int((unread & ~stale).sum()),
        "backward": backward,
        "wait_p50_seconds": told(answered, 0.5),
        "wait_p99_seconds": told(answered, 0.99),
    }


def _token(
    token: str,
    published: Published,
    journal: Journal,
    entities: Sequence[str],
    written: np.ndarray,
    asked_at: np.ndarray,
    visible: np.ndarray,
) -> np.ndarray:
    """Return when what each session waits for is there; when it asks, if it waits for nothing."""
    found: np.ndarray = asked_at
    if token == "checkpoint":
        found = _checkpoint_token(published, journal, entities, written)
    elif token == "revision":
        # The record itself is asked: it is there at the revision that the session wrote, or at a later one.
        found = visible[written]
    elif token == "highest":
        found = _highest_token(published, journal)[written]
    return found


def look(shown: pl.DataFrame, record: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the revision that is shown of each record at each time; 0 for none."""
    asked = pl.DataFrame({"record": record, "at": at, "row": np.arange(at.size)}).sort("at")
    found = asked.join_asof(shown.select("record", "at", "revision"), on="at", by="record", check_sortedness=False)
    revisions: np.ndarray = found.sort("row")["revision"].fill_null(0).to_numpy()
    return revisions


def _checkpoint_token(
    published: Published, journal: Journal, entities: Sequence[str], written: np.ndarray
) -> np.ndarray:
    """Return when the checkpoint reached each of these changes."""
    token = np.full(written.size, np.inf)
    for entity in entities:
        mine = published.entity_of[written] == published.entities.index(entity)
        token[mine] = Passing(journal, entity).at(written[mine])
    return token


def _highest_token(published: Published, journal: Journal) -> np.ndarray:
    """When a change at or beyond each one had been applied, by index. It doesn't mean that the change itself was."""
    order = np.argsort(journal.written_at, kind="stable")
    highest = np.maximum.accumulate(journal.all("positions")[order])
    reached = np.searchsorted(highest, np.arange(1, published.committed_at.size + 1), side="left")
    token: np.ndarray = np.append(journal.written_at[order], np.inf)[reached]
    return token
