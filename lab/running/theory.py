"""What theory says of a single queue and of pollers: tests and the course hold the lab's own runs against it."""

from __future__ import annotations

import math

import numpy as np


def single_server(arrives_at: np.ndarray, seconds: float) -> np.ndarray:
    """Departure times of one server that takes each arrival alone, for `seconds`; arrivals in order.

    With S the running sum of service, departure = S + running maximum of (arrival - former S): Lindley's
    recursion in closed form (D. V. Lindley, 1952). What `Lane` gives for a batch of 1 without polls.
    """
    served = seconds * np.arange(1, arrives_at.size + 1)
    # In place: at this length, fresh memory costs more than the sums.
    ahead: np.ndarray = served - seconds
    np.subtract(arrives_at, ahead, out=ahead)
    np.maximum.accumulate(ahead, out=ahead)
    ahead += served
    return ahead


def one_cut(rate: float, shorter: float, longer: float) -> float:
    """Return the probability that two pollers show one cut, with intervals in seconds and `rate` commits a second.

    Each shows what was committed by its last poll. How long ago those were, A and B, is uniform over each interval, and
    independent of each other if no interval is a multiple of the other. Both show one cut if nothing was committed
    between the two polls, which under a Poisson process has the probability exp(-rate |A - B|). Its mean over
    0 <= A <= S (the shorter interval) and 0 <= B <= T, with r for the rate:

        (2 S - (1 - exp(-r S)) / r - (exp(-r (T - S)) - exp(-r T)) / r) / (r S T)
    """
    short, long = sorted((shorter, longer))
    within = -math.expm1(-rate * short) / rate
    beyond = (math.exp(-rate * (long - short)) - math.exp(-rate * long)) / rate
    return (2 * short - within - beyond) / (rate * short * long)


def comes_back(share: float, mean: float, gap: float, retention: float) -> float:
    """Return the probability that a change is shown after the delete that came `gap` seconds later had expired.

    A share of the messages takes an exponential detour with this mean, in seconds; the others come at once. The change
    must be later than gap and retention together: share exp(-(gap + retention) / mean). And its delete must have come
    before, which it has if it took no detour, or one that is shorter by more than the gap. The longer part of a detour
    being exponential again, that is 1 - exp(-retention / mean) / 2.
    """
    late = share * math.exp(-(gap + retention) / mean)
    return late * ((1 - share) + share * (1 - math.exp(-retention / mean) / 2))


def one_cut_in_step(rate: float, shorter: float, longer: float) -> float:
    """Return the same for pollers that begin together, the longer interval being a multiple of the shorter.

    Each poll of the slower coincides with one of the quicker. B less A is then a whole number of the shorter interval
    S, each of 0 to k - 1 (k = T / S) as probable as the others: the mean of exp(-r j S) over j. The same holds for
    several pollers, each a multiple of the one before, with S the shortest and T the longest.
    """
    return math.expm1(-rate * longer) / (longer / shorter * math.expm1(-rate * shorter))
