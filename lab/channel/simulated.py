"""The simulated channel: computes the fates of all messages of a run at once with array operations.

A message is published when its change is committed. It is delayed, takes a detour, is delivered twice, is lost, or
waits for an outage to end. The resulting arrays are in the order of arrival.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from lab.channel.fates import Fates, through_outages
from lab.scenario import ChannelTable
from lab.spill import Spill, here
from lab.statistics.grouped import blocks, by_blocks, running, sorted_rows
from lab.statistics.quantiles import quantile, told

Floats = np.ndarray
Ints = np.ndarray


@dataclass(frozen=True)
class _Copies:
    """Every copy that was sent, messages before duplicates, by the message and the times that it has.

    `sent_at` and `record` are those of the messages; `order` has the copies that arrive, in the order of that.
    """

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

    @property
    def journal(self) -> pl.DataFrame:
        """Return a row for every copy that was sent, lost ones included; see `pieces`."""
        return pl.concat([_piece(self._copies, slice(0, 0), np.empty(0, bool)), *self.pieces()])

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Yield a row for every copy that was sent, lost ones included, a block at a time.

        message, copy, fate, sent_at, arrives_at (null if lost), held by an outage, overtaken by a later revision of its
        record.
        """
        overtaken = self._overtaken()
        for block in blocks(self._copies.message.size):
            yield _piece(self._copies, block, overtaken[block])

    def lost_messages(self) -> Ints:
        """Return the messages of which no copy arrives, in order."""
        arrives = np.zeros(self._copies.record.size, bool)
        for block in blocks(self.message.size):
            arrives[self.message[block]] = True
        return np.flatnonzero(~arrives)

    def _overtaken(self) -> np.ndarray:
        """For each copy, whether a later revision of its record arrived before it."""
        of = self._copies
        overtaken = np.zeros(of.message.size, bool)
        newest = here().empty(int(of.record.max(initial=0)) + 1, np.int64)
        newest[:] = -1
        for block in blocks(of.order.size):
            copies = of.order[block]
            message = of.message[copies]
            overtaken[copies] = running(of.record[message], message, newest, "most") > message
        return overtaken


def _piece(of: _Copies, block: slice, overtaken: np.ndarray) -> pl.DataFrame:
    message, lost = of.message[block], of.lost[block]
    duplicate = np.arange(block.start, block.stop) >= of.record.size
    return pl.DataFrame(
        {
            "message": message,
            "copy": duplicate.astype(np.int8),
            "fate": pl.Series(np.where(lost, 2, duplicate)).replace_strict(
                {0: "delivered", 1: "duplicate", 2: "lost"}, return_dtype=pl.String
            ),
            "sent_at": of.sent_at[message],
            "arrives_at": pl.Series(np.where(lost, np.nan, of.arrives_at[block])).fill_nan(None),
            "held": of.held[block] & ~lost,
            "overtaken": overtaken,
        }
    )


def transmit(
    sent_at: Floats, record: Ints, options: ChannelTable, rng: np.random.Generator, spill: Spill | None = None
) -> Deliveries:
    """Send one message for each change.

    `sent_at` is each change's time of commit in seconds, not falling within a record; `record` says with a number which
    record it belongs to. Copies of one message fare independently of each other. What arrives is kept in `spill`.
    """
    spill = spill or Spill()
    count, put = sent_at.size, spill.array
    fates = Fates.draw(options, count, rng, spill)
    arrives, message, lost = fates.arrivals(sent_at, spill), fates.message, fates.lost
    del fates
    if options.ordered_by_key:
        # As in a partition: a message waits behind the earlier ones of its record. A second copy is a late
        # retransmission, and keeps to no order.
        kept = np.where(lost[:count], -np.inf, arrives[:count])
        behind = pl.DataFrame({"record": record, "arrives": kept}).select(pl.col("arrives").cum_max().over("record"))
        arrives[:count] = np.maximum(arrives[:count], behind["arrives"].to_numpy())
    arrives, lost, held = through_outages(options.outages, arrives, lost)
    order = sorted_rows(arrives, spill)
    order = _arriving(order, lost, spill)
    copies_sent = _Copies(message, record, sent_at, arrives, put(lost), put(held), order)

    def in_order_of_arrival(values: np.ndarray) -> np.ndarray:
        return by_blocks(spill, order.size, values.dtype.type, lambda block: values[order[block]])

    return Deliveries(in_order_of_arrival(message), in_order_of_arrival(arrives), copies_sent)


def _arriving(order: Ints, lost: np.ndarray, spill: Spill) -> Ints:
    """Return which copies arrive, in their order."""
    if not lost.any():
        return order
    found, place = spill.empty(order.size - int(lost.sum()), np.int64), 0
    for block in blocks(order.size):
        some = order[block][~lost[order[block]]]
        found[place : place + some.size] = some
        place += some.size
    return found


class CopyTally:
    """Sums up copies for the table `channel`: each fate's messages, their share of all copies, and their delay."""

    def __init__(self, spill: Spill | None = None) -> None:
        self._kept = (spill or Spill()).array
        self._messages: Counter[str] = Counter()
        self._delays: dict[str, list[Floats]] = {}

    def add(self, piece: pl.DataFrame) -> None:
        """Add a piece of the journal."""
        delays = piece.with_columns(delay=pl.col("arrives_at") - pl.col("sent_at"))
        of = [(fate, part) for (fate,), part in delays.partition_by("fate", as_dict=True).items()]
        for fate, part in [*of, *((mark, delays.filter(pl.col(mark))) for mark in ("held", "overtaken"))]:
            if part.height:
                self._messages[fate] += part.height
                self._delays.setdefault(fate, []).append(self._kept(part["delay"].drop_nulls().to_numpy()))

    def table(self) -> pl.DataFrame:
        """Return the table."""
        sent = sum(count for fate, count in self._messages.items() if fate not in ("held", "overtaken"))
        rows = []
        for fate, count in sorted(self._messages.items()):
            delays = np.concatenate(self._delays[fate])
            rows.append((fate, count, quantile(delays, 0.5) if delays.size else None, told(delays, 0.99)))
        names = {"fate": pl.String(), "messages": pl.UInt32()}
        names |= dict.fromkeys(("delay_p50_seconds", "delay_p99_seconds"), pl.Float64())
        share = (pl.col("messages") / max(1, sent)).alias("share")
        return pl.DataFrame(rows, schema=names, orient="row").with_columns(share)


def summary(journal: pl.DataFrame) -> pl.DataFrame:
    """Return the table `channel` of a journal."""
    tally = CopyTally()
    tally.add(journal)
    return tally.table()
