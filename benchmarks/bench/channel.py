"""A channel with every fault, and one queue behind it: messages are delayed, lost, doubled and reordered, then served.

All contestants draw by themselves, so their figures agree as far as chance allows: the mean delay, the shares of lost
and doubled messages and the mean wait are compared with what theory or the limit has.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import simpy

from benchmarks.bench.data import Bench
from benchmarks.bench.harness import Attempt, Contestant, Row, Targets
from lab.channel.simulated import transmit
from lab.running.theory import single_server
from lab.scenario import ChannelTable, Delay
from lab.scenario.tables import Reorder

RATE, SERVICE = 1_000.0, 0.000_5
DUPLICATE, LOSE, SHARE = 0.05, 0.01, 0.10
MEAN, SIGMA, EXTRA = 0.020, 1.0, 0.200
OPTIONS = ChannelTable(
    delay=Delay(kind="lognormal", mean=MEAN, sigma=SIGMA),
    duplicate=DUPLICATE,
    lose=LOSE,
    reorder=Reorder(share=SHARE, extra=Delay(kind="exponential", mean=EXTRA)),
)
MU = np.log(MEAN) - SIGMA**2 / 2
Pair = tuple[np.ndarray, np.ndarray]


def rows(bench: Bench) -> Iterator[Row]:
    """`channel`."""
    messages = bench.size.messages
    few, fewer = max(1_000, messages // 20), max(1_000, messages // 40)
    targets: Targets = {
        "vs_peer": ("least", 20.0),
        "vs_peer_processes": ("least", 50.0),
        "vs_limit": ("least", 0.7),
    }
    note = (
        f"The peer is SimPy with callbacks, given {few:,} messages, and with processes, given {fewer:,}. The lab "
        "also keeps what a journal of every copy is made of, when it is asked for. No durability is involved."
    )
    contestants = [
        Contestant("lab", messages, lambda _: _lab(messages, bench.seed)),
        Contestant("limit", messages, lambda _: _arrays(messages, bench.seed)),
        Contestant("peer", few, lambda _: _callbacks(few, bench.seed)),
        Contestant("peer_processes", fewer, lambda _: _processes(fewer, bench.seed)),
    ]
    yield Row("channel", "", "messages/s", messages, contestants, targets, note)


def _sent(messages: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    return np.cumsum(rng.exponential(1 / RATE, messages))


def judged(arrives: np.ndarray, departs: np.ndarray, messages: int) -> str | None:
    """What is wrong with arrivals (in order) and departures of one server, and with how many there are."""
    expected = messages * (1 + DUPLICATE) * (1 - LOSE)
    # Six standard deviations of two binomials.
    allowed = 6 * np.sqrt(messages * (DUPLICATE * (1 - DUPLICATE) + LOSE * (1 - LOSE) * (1 + DUPLICATE)))
    if abs(arrives.size - expected) > allowed:
        return f"{arrives.size:,} messages arrived, must be {expected:,.0f} give or take {allowed:,.0f}"
    if np.any(np.diff(arrives) < 0):
        return "they are not in the order of arrival"
    free, must = 0.0, np.empty(arrives.size)
    for place, at in enumerate(arrives.tolist()):
        free = max(free, at) + SERVICE
        must[place] = free
    worst = float(np.max(np.abs(departs - must), initial=0.0))
    return f"a departure is off by {worst:.3g} s" if worst > 1e-6 else None


def _attempt(run: Any, messages: int) -> Attempt:
    made: list[Pair] = []
    return Attempt(lambda: made.append(run()), lambda: judged(*made[0], messages))


def _lab(messages: int, seed: int) -> Attempt:
    sent, record = _sent(messages, seed), np.random.default_rng(seed).integers(0, max(1, messages // 10), messages)

    def run() -> Pair:
        deliveries = transmit(sent, record, OPTIONS, np.random.default_rng([seed, 2]))
        return deliveries.arrives_at, single_server(deliveries.arrives_at, SERVICE)

    return _attempt(run, messages)


def _arrays(messages: int, seed: int) -> Attempt:
    """NumPy alone, with its draws: nothing is kept but when messages arrive and depart."""
    sent = _sent(messages, seed)

    def run() -> Pair:
        rng = np.random.default_rng([seed, 2])
        copies = np.concatenate([sent, sent[rng.random(messages) < DUPLICATE]])
        arrives = copies + rng.lognormal(MU, SIGMA, copies.size)
        detour = rng.random(copies.size) < SHARE
        arrives[detour] += rng.exponential(EXTRA, int(detour.sum()))
        arrives = np.sort(arrives[rng.random(copies.size) >= LOSE])
        served = SERVICE * np.arange(1, arrives.size + 1)
        return arrives, served + np.maximum.accumulate(arrives - (served - SERVICE))

    return _attempt(run, messages)


def _drawn(messages: int, seed: int) -> list[list[float]]:
    """For each message the delays of its copies that are not lost. Given to the peers: drawing is not their work."""
    rng = np.random.default_rng([seed, 2])
    delays = rng.lognormal(MU, SIGMA, (messages, 2)) + np.where(
        rng.random((messages, 2)) < SHARE, rng.exponential(EXTRA, (messages, 2)), 0.0
    )
    sent = rng.random((messages, 2)) >= LOSE
    sent[:, 1] &= rng.random(messages) < DUPLICATE
    return [[delay for delay, goes in zip(*pair, strict=True) if goes] for pair in zip(delays, sent, strict=True)]


def _arrays_of(arrivals: list[float], departures: list[float]) -> Pair:
    return np.array(arrivals), np.array(departures)


def _callbacks(messages: int, seed: int) -> Attempt:
    """SimPy with a callback on each event: the quick way to use it. The server is a number: when it is free."""
    sent, drawn = _sent(messages, seed).tolist(), _drawn(messages, seed)

    def run() -> Pair:
        environment = simpy.Environment()
        arrivals: list[float] = []
        departures: list[float] = []
        free = 0.0

        def depart(_: Any) -> None:
            departures.append(environment.now)

        def arrive(_: Any) -> None:
            nonlocal free
            now = environment.now
            arrivals.append(now)
            free = max(free, now) + SERVICE
            environment.timeout(free - now).callbacks.append(depart)

        def publish(number: int) -> None:
            for delay in drawn[number]:
                environment.timeout(delay).callbacks.append(arrive)
            if number + 1 < messages:
                gap = environment.timeout(sent[number + 1] - environment.now)
                gap.callbacks.append(lambda _: publish(number + 1))

        environment.timeout(sent[0]).callbacks.append(lambda _: publish(0))
        environment.run()
        return _arrays_of(arrivals, departures)

    return _attempt(run, messages)


def _processes(messages: int, seed: int) -> Attempt:
    """SimPy as its guide has it: a process for each message, and a resource for the server."""
    sent, drawn = _sent(messages, seed).tolist(), _drawn(messages, seed)

    def run() -> Pair:
        environment = simpy.Environment()
        server = simpy.Resource(environment, capacity=1)
        arrivals: list[float] = []
        departures: list[float] = []

        def message(delay: float) -> Generator[Any, Any, None]:
            yield environment.timeout(delay)
            arrivals.append(environment.now)
            with server.request() as turn:
                yield turn
                yield environment.timeout(SERVICE)
            departures.append(environment.now)

        def source() -> Generator[Any, Any, None]:
            for at, delays in zip(sent, drawn, strict=True):
                yield environment.timeout(at - environment.now)
                for delay in delays:
                    environment.process(message(delay))

        environment.process(source())
        environment.run()
        return _arrays_of(arrivals, departures)

    return _attempt(run, messages)
