"""Compare a single-server queue under growing load with the formula of queueing theory."""

from __future__ import annotations

import numpy as np
import polars as pl

from lab.base import stream
from lab.running.theory import single_server
from lab.statistics.quantiles import quantile
from lab.teach.scale import scaled

LOADS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
SERVICE_SECONDS = 0.001


def curve(changes: int = 200_000, seed: int = 1087, store: str = "sqlite.table") -> pl.DataFrame:
    """Return the lag of a projector without batches by load: `utilisation`, `quantile`, `seconds`, `store`.

    Changes arrive by a Poisson process, and each takes `SERVICE_SECONDS`. `changes` is scaled. `quantile` is the mean
    and the p99 of the lane's simulation, and the theoretical mean of M/D/1 by Pollaczek and Khinchine:
    service (1 + load / (2 (1 - load))).
    """
    rows = []
    for load in LOADS:
        gaps = stream(seed, "queue", str(load)).exponential(SERVICE_SECONDS / load, scaled(changes))
        arrives = np.cumsum(gaps)
        lag = single_server(arrives, SERVICE_SECONDS) - arrives
        theory = SERVICE_SECONDS * (1 + load / (2 * (1 - load)))
        figures = {"p99": quantile(lag, 0.99), "mean": float(lag.mean()), "theory: mean": theory}
        rows += [(load, quantile, seconds, store) for quantile, seconds in figures.items()]
    return pl.DataFrame(rows, schema=["utilisation", "quantile", "seconds", "store"], orient="row")
