"""The simulated channel: computes the fates of all messages of a run at once with array operations.

A message is published when its change is committed. It is delayed, takes a detour, is delivered twice, is lost, or
waits for an outage to end. The resulting arrays are in the order of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from lab.channel.fates import Fates, through_outages
from lab.scenario import ChannelTable
from lab.statistics.quantiles import quantile_of, told_of

Floats = np.ndarray
Ints = np.ndarray


@dataclass(frozen=True)
class _Copies:
    """Every copy that was sent, messages before duplicates, by the message, the record and the times that it has."""

    message: Ints
    record: Ints
    sent_at: Floats
    arrives_at: Floats
    lost: np.ndarray
    held: np.ndarray
    order: Ints


@dataclass(frozen=True)
class Deliveries:
    """What arrives, in order of arrival: `message` is the index of the change, `arrives_at` in seconds."""

    message: Ints
    arrives_at: Floats
    _copies: _Copies

    @cached_property
    def journal(self) -> pl.DataFrame:
        """Return a row for every copy that was sent, lost ones included; computed on first access.

        message, copy, fate, sent_at, arrives_at (null if lost), held by an outage, overtaken by a later revision of its
        record.
        """
        of = self._copies
        count = of.record.size
        duplicate = np.arange(of.message.size) >= count
        return pl.DataFrame(
            {
                "message": of.message,
                "copy": duplicate.astype(np.int8),
                "fate": pl.Series(np.where(of.lost, 2, duplicate)).replace_strict(
                    {0: "delivered", 1: "duplicate", 2: "lost"}, return_dtype=pl.String
                ),
                "sent_at": of.sent_at,
                "arrives_at": pl.Series(np.where(of.lost, np.nan, of.arrives_at)).fill_nan(None),
                "held": of.held & ~of.lost,
                "overtaken": _overtaken(of.message, of.record, of.arrives_at, of.order),
            }
        )


def transmit(sent_at: Floats, record: Ints, options: ChannelTable, rng: np.random.Generator) -> Deliveries:
    """Send one message for each change.

    `sent_at` is each change's time of commit in seconds, not falling within a record; `record` says with a number which
    record it belongs to. Copies of one message fare independently of each other.
    """
    count = sent_at.size
    fates = Fates.draw(options, count, rng)
    arrives = fates.arrivals(sent_at)
    if options.ordered_by_key:
        # As in a partition: a message waits behind the earlier ones of its record. A second copy is a late
        # retransmission, and keeps to no order.
        kept = np.where(fates.lost[:count], -np.inf, arrives[:count])
        behind = pl.DataFrame({"record": record, "arrives": kept}).select(pl.col("arrives").cum_max().over("record"))
        arrives[:count] = np.maximum(arrives[:count], behind["arrives"].to_numpy())
    arrives, lost, held = through_outages(options.outages, arrives, fates.lost)
    order = np.argsort(arrives, kind="stable")
    order = order[~lost[order]]
    copies_sent = _Copies(fates.message, record, sent_at[fates.message], arrives, lost, held, order)
    return Deliveries(fates.message[order], arrives[order], copies_sent)


def _overtaken(message: Ints, record: Ints, arrives: Floats, order: Ints) -> np.ndarray:
    """For each copy, whether a later revision of its record arrived before it."""
    arrived = pl.DataFrame({"record": record[message[order]], "message": message[order]})
    newest = arrived.select(pl.col("message").cum_max().over("record"))["message"].to_numpy()
    overtaken = np.zeros(arrives.size, dtype=bool)
    overtaken[order] = newest > message[order]
    return overtaken


def summary(journal: pl.DataFrame) -> pl.DataFrame:
    """The table `channel`: each fate's messages, their share of all copies, and their delay."""
    delay = pl.col("arrives_at") - pl.col("sent_at")
    figures = (
        pl.len().alias("messages"),
        quantile_of(delay, 0.5).alias("delay_p50_seconds"),
        told_of(delay, 0.99).alias("delay_p99_seconds"),
    )
    fates = journal.group_by("fate").agg(figures)
    marks = [
        journal.filter(pl.col(mark)).select(pl.lit(mark).alias("fate"), *figures).filter(pl.col("messages") > 0)
        for mark in ("held", "overtaken")
    ]
    every = pl.concat([fates, *(mark.select(fates.columns) for mark in marks)])
    share = (pl.col("messages") / max(1, journal.height)).alias("share")
    return every.with_columns(share).sort("fate")
