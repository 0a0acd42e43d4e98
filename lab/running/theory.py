"""What theory says of a single queue, in closed form: tests and the course hold the lab's own runs against it."""

from __future__ import annotations

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
