"""What if a projection polled more often, did not linger, or took larger batches: simulated again with arrays alone.

Everything that chance decides stays as it was (common random numbers): the same commits, the same deliveries, the same
times of the store. No store is written to, so only the moment counts at which each change is handed over; where a guard
may refuse a change that no later revision shows, there is no answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import polars as pl

from lab.base import stream
from lab.experiment.project import Live
from lab.experiment.work import own_work
from lab.feed.arrays import FeedArrays
from lab.feed.gaps import Gate
from lab.measure import lag
from lab.measure.machine import give_back
from lab.projection.applied import NONE, Applied
from lab.projection.projector import Projector
from lab.running.journal import Journal
from lab.running.lane import Lane, Pace
from lab.running.service_times import RecordedWork
from lab.running.services import Modelled
from lab.running.simulated import Arrivals, drive, nothing_arrives
from lab.running.worker import Worker
from lab.scenario import ServiceModel
from lab.spill import Spill, chosen_of
from lab.statistics.intervals import difference
from lab.statistics.quantiles import quantile, told
from lab.statistics.steady import NOT_STABLE
from lab.wiring import Plan

EVERY = 0.1
LARGER = 10
# More steps than this take too long for a question on the side.
STEPS_MAX = 40_000
_TOO_MANY = f"more than {STEPS_MAX:,} steps"
# The interval of a difference of more changes than this takes too long.
CHANGES_MAX = 200_000


class _Taker:
    """Stands for a projector: it takes all that it is handed."""

    goes_by_checkpoint = expires = False

    def __init__(self, live: Live) -> None:
        self.layout, self.guard, self.store = live.plan.layout, self, self

    def checkpoint(self, entity: str) -> int:
        return 0

    def refresh(self) -> None:
        pass

    def apply(self, entity: str, frame: pl.DataFrame, checkpoint: int | None = None) -> Applied:
        return Applied(frame["position"].to_numpy(), np.arange(frame.height), NONE, NONE)


class _Positions(Modelled):
    """A modelled service whose frames have nothing but positions, and times that nobody looks at."""

    def frame(self, entity: str, piece: np.ndarray) -> pl.DataFrame:
        return pl.DataFrame({"position": self.feeds[entity].positions[piece], "committed_at": np.zeros(piece.size)})


def untold(plan: Plan, live: Live) -> str:
    """Return why there is no answer for a projection; empty if there is."""
    table, journal = live.plan.table, live.journal
    if live.plan.faults.any or table.rebuild is not None:
        return "it has faults or a rebuild, which are drawn along with its work"
    if table.guard == "ordered" or not (live.plan.subsumes or table.guard in ("none", "dedupe")):
        return f"the guard `{table.guard}` decides which changes are written"
    if journal.overflowed:
        return "messages found its inbox full"
    if plan.scenario.time.service == "measured" and own_work(live).is_empty():
        return "none of its work was measured"
    if len(journal.spans) > STEPS_MAX:
        return _TOO_MANY
    return ""


def steps(plan: Plan, live: Live, pace: Pace) -> float:
    """Return about how many polls and batches there are at another pace, at the most."""
    end, found = live.published.end, float(len(live.journal.spans))
    if pace.polls and pace.every < live.plan.pace.every:
        found += end / pace.every
    if pace.linger < live.plan.pace.linger and live.arrived is not None:
        # Without linger each message may be a batch, as far as the store's time allows.
        least = live.plan.model.per_batch
        if plan.scenario.time.service == "measured":
            least = float(own_work(live)["seconds"].min() or 0.0)  # type: ignore[arg-type]
        found += min(live.arrived.messages.size, end / least if least else math.inf)
    return found


def settings(live: Live) -> Iterator[tuple[str, Pace]]:
    """Yield each other setting with its name."""
    pace = live.plan.pace
    if pace.polls and pace.every > EVERY:
        yield f"every {EVERY:g} s", replace(pace, every=EVERY)
    if live.arrived is not None and pace.linger > 0:
        yield "no linger", replace(pace, linger=0.0)
    yield f"batch {pace.batch * LARGER:,}", replace(pace, batch=pace.batch * LARGER)


def what_ifs(plan: Plan, live: Live) -> list[dict[str, Any]]:
    """Return the rows of the table `what_if` of one projection; one row with the reason if there is no answer."""
    name, empty = live.plan.name, dict.fromkeys(("p50_seconds", "p99_seconds", *_DIFFERENCES))
    if reason := untold(plan, live):
        return [{"projection": name, "what": "as it is"} | empty | {"reason": reason}]
    committed = chosen_of(live.published.committed_at, live.chosen)
    calm = np.ones(committed.size, bool) if live.calm is None else live.calm
    usual = simulated(plan, live, live.plan.pace)
    grows = lag.endless(usual, committed, calm)
    rows: list[dict[str, Any]] = [{"projection": name, "what": "as it is"} | _told(usual, grows) | _nothing(grows)]
    for what, pace in settings(live):
        if steps(plan, live, pace) > STEPS_MAX:
            rows.append({"projection": name, "what": what} | empty | {"reason": _TOO_MANY})
            continue
        # What the former one was made of refers to itself, and so stays until it is collected.
        give_back()
        other = simulated(plan, live, pace)
        here = lag.endless(other, committed, calm)
        differences = _nothing(here) if grows or here else _against(usual, other)
        rows.append({"projection": name, "what": what} | _told(other, here) | differences)
    return rows


_DIFFERENCES = tuple(f"{name}_difference{end}_seconds" for name in ("p50", "p99") for end in ("", "_low", "_high"))


def _nothing(grows: bool = False) -> dict[str, Any]:
    return dict.fromkeys(_DIFFERENCES) | {"reason": NOT_STABLE if grows else None}


def _told(lags: np.ndarray, grows: bool) -> dict[str, Any]:
    """The quantiles of lags; none of such as grow without end."""
    return {f"{name}_seconds": None if grows else told(lags, share) for name, share in (("p50", 0.5), ("p99", 0.99))}


def _against(usual: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    found = _nothing()
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        if told(usual, share) is None or told(other, share) is None:
            continue
        if usual.size > CHANGES_MAX:
            found[f"{name}_difference_seconds"] = quantile(other, share) - quantile(usual, share)
            found["reason"] = f"no interval of more than {CHANGES_MAX:,} changes"
            continue
        between, interval = difference(usual, other, share, paired=True)
        found[f"{name}_difference_seconds"] = between
        found[f"{name}_difference_low_seconds"], found[f"{name}_difference_high_seconds"] = interval.low, interval.high
        found["reason"] = found["reason"] or interval.reason or None
    return found


def _measured(live: Live) -> dict[str, RecordedWork]:
    """The store's own work of a measured run, by its source."""
    return {
        str(source): RecordedWork(part["rows"].to_numpy(), part["seconds"].to_numpy())
        for (source,), part in own_work(live).group_by("source", maintain_order=True)
    }


def simulated(plan: Plan, live: Live, pace: Pace) -> np.ndarray:
    """Return the lag of each change of a projection at another pace, in the order of `live.chosen`; seconds."""
    item, strand, published, journal = (
        live.plan,
        live.strand,
        live.published,
        Journal(spill=Spill(live.published.spill.folder)),
    )
    every = strand.truth.publishes_every_revision
    feeds = {name: FeedArrays.of(published, name, every) for name in item.layout.entities}
    rng, model, recorded = stream(plan.scenario.seed, "service", item.name), item.model, item.recorded
    if plan.scenario.time.service == "measured":
        model = ServiceModel.model_construct(distribution="empirical")
        recorded = _measured(live)
    service = _Positions(published, feeds, model, rng, recorded)
    inbox = nothing_arrives()
    if live.arrived is not None:
        inbox = Arrivals(live.arrived.messages, live.arrived.arrives_at, pace.capacity, lambda _: None)
    gate = None if strand.timeline is None else Gate.of(item.gaps, strand.timeline, item.gap_limit)
    projector = cast(Projector, _Taker(live))
    page, refresh = plan.scenario.catch_up.page, item.layout.refresh
    worker = Worker(projector, service, inbox, journal, page, pace.batch, gate, refresh=refresh)
    drive([Lane(pace, inbox, published.end, worker)])
    worker.carry_out()
    visible = lag.visible_at(published, journal, item.subsumes)
    return journal.spill.array(chosen_of(visible, live.chosen) - chosen_of(published.committed_at, live.chosen))
