"""What theory says of queues with one server, by formula. Times are in seconds, rates in events a second."""

from __future__ import annotations

import math

import numpy as np


def wait_mg1(rate: float, mean: float, square: float) -> float:
    """The mean wait before service in M/G/1; `square` is the second moment of the time of service.

    F. Pollaczek (1930), A. Y. Khinchine (1932): rate * square / (2 (1 - load)).
    """
    return rate * square / (2 * (1 - rate * mean))


def quantile_md1(rate: float, seconds: float, share: float, places: int = 300) -> float:
    """The quantile of the time that a customer is in M/D/1, waiting and being served, in the steady state.

    P(wait <= t) by G. J. Franx, "A simple solution for the M/D/c waiting time distribution" (2001), whose terms are all
    positive: with t between (k - 1) and k times `seconds`, the sum over j < k of P(at most k - 1 - j wait) times the
    Poisson probability of j arrivals in what is left to k times `seconds`. `places` bounds the queue.
    """
    chain = np.zeros((places, places))
    load = rate * seconds
    arrive = np.exp(np.arange(places) * math.log(load) - load - np.array([math.lgamma(n + 1) for n in range(places)]))
    for state in range(places):
        first = max(0, state - 1)
        chain[state, first:] = arrive[: places - first]
        chain[state, -1] += 1 - chain[state].sum()
    # In the system; one of them is served, so at most n wait where at most n + 1 are there.
    waiting = np.cumsum(stationary(chain))[1:]

    def within(wait: float) -> float:
        k = int(wait / seconds) + 1
        left = rate * (k * seconds - wait)
        return sum(
            float(waiting[k - 1 - j]) * math.exp(-left) * left**j / math.factorial(j) for j in range(k) if left or not j
        )

    low, high = 0.0, seconds * places / 4
    if within(0.0) >= share:
        return seconds
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < share else (low, middle)
    return high + seconds


def loss_md1k(rate: float, seconds: float, waiting: int) -> float:
    """The share of arrivals that M/D/1 loses where at most `waiting` wait beside the one in service.

    The chain embedded at departures has the queue's own transitions up to the last place; with its stationary law p, a
    departure leaves the queue empty with p[0], and the share that is served is 1 / (p[0] + load): B. V. Gnedenko and
    I. N. Kovalenko, Introduction to Queueing Theory (1989), for M/G/1 with finite capacity.
    """
    load, places = rate * seconds, waiting + 1
    arrive = np.array([math.exp(-load) * load**n / math.factorial(n) for n in range(places)])
    chain = np.zeros((places, places))
    for state in range(places):
        first = max(0, state - 1)
        chain[state, first : places - 1] = arrive[: places - 1 - first]
        chain[state, places - 1] = 1 - chain[state, : places - 1].sum()
    return float(1 - 1 / (stationary(chain)[0] + load))


def loss_mm1k(rate: float, seconds: float, waiting: int) -> float:
    """The share of arrivals that M/M/1/K loses, K = waiting + 1: (1 - load) load^K / (1 - load^(K + 1)); load not 1.

    L. Kleinrock, Queueing Systems, volume 1 (1975), section 3.6.
    """
    load, places = rate * seconds, waiting + 1
    return (1 - load) * load**places / (1 - load ** (places + 1))


def sojourn_bulk(rate: float, seconds: float, batch: int, reach: int = 4_000) -> float:
    """The mean time in M/D[1, b]/1: one server that takes all that wait, at most `batch`, for `seconds` whatever many.

    N. T. J. Bailey (1954), with a server that does not start empty: the chain embedded at the ends of service. A server
    that leaves q behind takes min(q, batch) at once, or waits for the next arrival and takes that. Waiting over a
    cycle, by Little's law, gives the mean wait; `reach` bounds the queue.
    """
    load = rate * seconds
    # A Poisson law in logarithms, since load and reach may be large.
    number = np.arange(reach)
    logs = number * math.log(load) - load - np.array([math.lgamma(n + 1) for n in range(reach)])
    arrive = np.exp(logs)
    # The law of the queue at the ends of service, by repeating the step: it converges quickly below saturation.
    law = np.zeros(reach)
    law[0] = 1.0
    while True:
        left = np.append(law[batch:], np.zeros(batch))
        left[0] += law[:batch].sum()
        after = np.convolve(left, arrive)[:reach]
        after /= after.sum()
        if np.abs(after - law).sum() < 1e-13:
            break
        law = after
    stays = float((law[batch:] * number[: reach - batch]).sum())
    cycle = seconds + law[0] / rate
    queue = (stays * seconds + rate * seconds**2 / 2) / cycle
    return float(queue / rate + seconds)


def stationary(chain: np.ndarray) -> np.ndarray:
    """The stationary law of a Markov chain with these transition probabilities, row by row."""
    size = len(chain)
    equations = np.vstack([chain.T - np.eye(size), np.ones(size)])
    law: np.ndarray = np.linalg.lstsq(equations, np.append(np.zeros(size), 1.0))[0]
    return law


def lag_polled(rate: float, every: float, per_batch: float, per_row: float) -> float:
    """The mean lag by polls that read all at once, where reading and applying fit into the interval.

    On average half an interval until the next poll, then the time of the whole batch. The batch of a change has
    rate * every others on average, since a Poisson law has no memory (PASTA).
    """
    return every / 2 + per_batch + per_row * (rate * every + 1)
