"""Draw arrival times of commands: uniform, Poisson, or in bursts. Used by every domain that is made by commands."""

from __future__ import annotations

import numpy as np

from lab.domain.model import Options

BURST = 20  # A bursty workload sends this many commands at once, on the average.


def arrivals(options: Options, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` sorted arrival times in seconds, `rate` a second on average."""
    count, gap = options.commands, 1.0 / options.rate
    if options.arrivals == "uniform":
        times: np.ndarray = gap * np.arange(1, count + 1)
    elif options.arrivals == "poisson":
        times = np.cumsum(rng.exponential(gap, count))
    else:
        # Bursts arrive by a Poisson process; within a burst, commands arrive a hundred times as fast.
        starts = rng.random(count) < 1.0 / BURST
        pauses = np.where(starts, rng.exponential(0.99 * BURST * gap, count), 0.0)
        times = np.cumsum(pauses + rng.exponential(gap / 100, count))
    return times
