"""Offer requests to one store that serves one at a time, in a closed loop, at a pace, or in an open loop.

The store is a real projection in SQLite, slowed to a service time that is known, so what its queue does can be
foretold: it can serve `1 / service` requests a second, and no more. All times are wall clock, in seconds.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import numpy as np
import polars as pl

from lab.base import LabError, stream
from lab.load.events import LATE_MAX
from lab.statistics.quantiles import quantile

COLUMNS = {"intended": pl.Float64(), "sent": pl.Float64(), "done": pl.Float64()}


class VoidLoad(LabError):
    """A load was not what it says, since its generator was late or requests are missing: it shows nothing."""

    exit_status = 4


@dataclass
class QueuedRequest:
    """A request: when it was meant to be sent, when it was sent, and when its answer came."""

    intended: float
    sent: float
    done: float = 0.0
    answered: threading.Event = field(default_factory=threading.Event)


class SlowedStore:
    """Answer requests one at a time, in the order in which they come, each in `service` seconds.

    `ask` is the query; it must take less than that, and the rest of the time is slept. From `frozen_at` seconds after
    the start the store answers nothing for `frozen` seconds, as in a pause for a checkpoint or a failover.
    """

    def __init__(self, ask: Callable[[], Any], service: float, frozen_at: float = 0.0, frozen: float = 0.0) -> None:
        self.ask, self.service = ask, service
        self.start = monotonic()
        self._frozen_at, self._frozen = frozen_at, frozen
        self._waiting: queue.SimpleQueue[QueuedRequest | None] = queue.SimpleQueue()
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._server.start()

    def send(self, intended: float) -> QueuedRequest:
        """Send a request that was meant to be sent at `intended` seconds after the start."""
        request = QueuedRequest(intended, self.now)
        self._waiting.put(request)
        return request

    def wait_until(self, at: float) -> None:
        """Return at `at` seconds after the start, or at once if that is over."""
        if (left := at - self.now) > 0:
            sleep(left)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return monotonic() - self.start

    def close(self) -> None:
        """Answer what has been sent, and end the server's thread."""
        self._waiting.put(None)
        self._server.join()

    def _serve(self) -> None:
        free = 0.0
        while (request := self._waiting.get()) is not None:
            # Counted from when it could begin, so that a late wake-up doesn't make the store slower than it says.
            began = max(free, request.sent)
            if self._frozen and self._frozen_at <= began:
                began = max(began, self._frozen_at + self._frozen)
                self._frozen = 0.0
            self.ask()
            free = began + self.service
            self.wait_until(free)
            request.done = self.now
            request.answered.set()


def open_loop(store: SlowedStore, rate: float, seconds: float, seed: int = 1087) -> pl.DataFrame:
    """Send requests by a Poisson process of `rate` a second, whatever the answers do; a row for each, in order.

    Columns: `intended`, `sent`, `done`, seconds after the start. What is under way at the end is waited for.
    """
    gaps = stream(seed, "arrivals").exponential(1 / rate, max(1, round(rate * seconds)))
    sent = []
    for intended in np.cumsum(gaps).tolist():
        store.wait_until(intended)
        sent.append(store.send(intended))
    store.close()
    return _frame(sent)


def closed_loop(store: SlowedStore, users: int, seconds: float) -> pl.DataFrame:
    """Have `users` send requests for `seconds`, each of them as soon as it has the answer to its last one.

    Columns are those of `open_loop`; a request is meant to be sent when it is sent.
    """
    sent: list[list[QueuedRequest]] = [[] for _ in range(users)]

    def user(mine: list[QueuedRequest]) -> None:
        while (now := store.now) < seconds:
            mine.append(store.send(now))
            mine[-1].answered.wait()

    threads = [threading.Thread(target=user, args=(mine,)) for mine in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    return _frame([request for mine in sent for request in mine])


def paced_loop(store: SlowedStore, rate: float, seconds: float) -> pl.DataFrame:
    """Have one user mean to send `rate` requests a second, evenly, but wait for each answer first.

    Columns are those of `open_loop`. While the user waits, requests that were meant to be sent are late: a tool that
    counts from `sent` leaves that wait out, which Gil Tene calls coordinated omission.
    """
    sent = []
    for number in range(max(1, round(rate * seconds))):
        store.wait_until(number / rate)
        sent.append(store.send(number / rate))
        sent[-1].answered.wait()
    store.close()
    return _frame(sent)


def sound(requests: pl.DataFrame) -> pl.DataFrame:
    """Return the requests of an open loop. Raises VoidLoad if the generator was late.

    As for `lab load`, it must not be later than `LATE_MAX` with one request in a hundred.
    """
    late = quantile((requests["sent"] - requests["intended"]).to_numpy(), 0.99)
    if late > LATE_MAX:
        raise VoidLoad(f"the load is void: the generator was late by {late * 1e3:.0f} ms at p99; run the cell again")
    return requests


def told(requests: pl.DataFrame) -> dict[str, float]:
    """Return what a report says of the requests.

    Keys: `count`; `per_second`, answers from the first one sent to the last one done; the p50 and p99 in milliseconds
    `since_sent`, as most tools have it, and `since_meant`, from when each was meant to be sent.
    """
    lasted = max(1e-9, float(requests["done"].max() or 0.0) - float(requests["sent"].min() or 0.0))  # type: ignore[arg-type]
    found: dict[str, float] = {"count": requests.height, "per_second": requests.height / lasted}
    for column, name in (("sent", "since_sent"), ("intended", "since_meant")):
        times = (requests["done"] - requests[column]).to_numpy() * 1e3
        found |= {f"{name}_p50_ms": quantile(times, 0.5), f"{name}_p99_ms": quantile(times, 0.99)}
    return found


def _frame(requests: list[QueuedRequest]) -> pl.DataFrame:
    rows = sorted((request.intended, request.sent, request.done) for request in requests)
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")
