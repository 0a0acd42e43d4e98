"""One server and a queue before it: a projection that takes messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.validity.pipeline import by_messages, lost, mean_lag, poisson, steady
from benchmarks.validity.section import Case, Measure, against_theory
from benchmarks.validity.theory import loss_md1k, loss_mm1k, sojourn_bulk, wait_mg1
from lab.statistics.quantiles import quantile

RATE = 1_000.0


def _md1(load: float) -> Case:
    seconds = load / RATE

    def measure(seed: int, size: int) -> float:
        return mean_lag(by_messages(poisson(RATE, size, seed), seed, {"per_batch": seconds, "per_row": 0.0}))

    theory = wait_mg1(RATE, seconds, seconds**2) + seconds
    return Case(f"M/D/1, load {load:g}: mean lag (s)", theory, "Pollaczek, Khinchine", measure)


def loses(load: float, capacity: int) -> Measure:
    """The share that the lab loses with this capacity, at this load of a constant service."""

    def measure(seed: int, size: int) -> float:
        model = {"per_batch": load / RATE, "per_row": 0.0}
        return lost(by_messages(poisson(RATE, size, seed), seed, model, {"capacity": capacity}))

    return measure


def bounded(load: float, capacity: int) -> Case:
    """M/D/1/K: `capacity` wait, and one is in service."""
    theory = loss_md1k(RATE, load / RATE, capacity)
    name = f"M/D/1/K, load {load:g}, capacity {capacity}: share lost"
    return Case(name, theory, "Gnedenko, Kovalenko", loses(load, capacity))


def _bulk(load: float, batch: int) -> Case:
    seconds = load * batch / RATE

    def measure(seed: int, size: int) -> float:
        # A server that takes several at once comes to rest so much more slowly.
        model = {"per_batch": seconds, "per_row": 0.0}
        return mean_lag(by_messages(poisson(RATE, size, seed), seed, model, batch=batch))

    name = f"M/D[1,{batch}]/1, load {load:g} of a full batch: mean lag (s)"
    return Case(name, sojourn_bulk(RATE, seconds, batch), "Bailey; embedded chain", measure)


def random_service(name: str, load: float, variance: float, planted: float = 1.0, **model: Any) -> Case:
    """M/G/1 with a time of service of this squared coefficient of variation; the lab's mean is `planted` times it."""
    seconds = load / RATE

    def measure(seed: int, size: int) -> float:
        law = {"per_batch": seconds * planted, "per_row": 0.0, **model}
        return mean_lag(by_messages(poisson(RATE, size, seed), seed, law))

    theory = wait_mg1(RATE, seconds, seconds**2 * (1 + variance)) + seconds
    return Case(f"{name}, load {load:g}: mean lag (s)", theory, "Pollaczek, Khinchine", measure)


def _mm1_tail(load: float) -> Case:
    """The time in M/M/1 is exponential too, with the rate of service less that of arrivals: Kleinrock (1975), 5.8."""
    seconds = load / RATE

    def measure(seed: int, size: int) -> float:
        law = {"per_batch": seconds, "per_row": 0.0, "distribution": "exponential"}
        return quantile(steady(by_messages(poisson(RATE, size, seed), seed, law)), 0.99)

    theory = math.log(100) * seconds / (1 - load)
    return Case(f"M/M/1, load {load:g}: lag p99 (s)", theory, "Kleinrock", measure)


def _mm1k(load: float, capacity: int) -> Case:
    def measure(seed: int, size: int) -> float:
        law = {"per_batch": load / RATE, "per_row": 0.0, "distribution": "exponential"}
        return lost(by_messages(poisson(RATE, size, seed), seed, law, {"capacity": capacity}))

    theory = loss_mm1k(RATE, load / RATE, capacity)
    return Case(f"M/M/1/K, load {load:g}, capacity {capacity}: share lost", theory, "Kleinrock", measure)


def cases() -> Sequence[Case]:
    """The cases of this section."""
    return [
        *(_md1(load) for load in (0.5, 0.7, 0.9)),
        *(bounded(load, capacity) for load, capacity in ((0.9, 5), (1.2, 5), (1.2, 2))),
        random_service("M/M/1", 0.5, 1.0, distribution="exponential"),
        random_service("M/M/1", 0.8, 1.0, distribution="exponential"),
        _mm1_tail(0.5),
        _mm1k(0.9, 4),
        random_service("M/G/1, gamma of shape 4", 0.7, 1 / 4, distribution="gamma", shape=4.0),
        random_service("M/G/1, gamma of shape 0.5", 0.6, 2.0, distribution="gamma", shape=0.5),
        random_service("M/G/1, lognormal of sigma 1", 0.6, math.e - 1, distribution="lognormal", sigma=1.0),
        *(_bulk(load, batch) for load, batch in ((0.5, 20), (0.9, 20), (0.7, 4))),
    ]


SECTION = against_theory(
    "Queues",
    "Messages arrive by a Poisson law, 1,000 a second, at a projection that takes them one by one or in batches "
    "(`batch`), for a time that `[time] model` says. `channel.capacity` bounds those that wait; what is in service "
    "doesn't count among them.",
    cases,
)
