"""Draw delays from a scenario's `Delay`."""

from __future__ import annotations

import numpy as np

from lab.scenario.tables import Delay


def delays(options: Delay, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` delays in seconds. The parameters of a lognormal are chosen so that its mean is `mean`."""
    if options.kind == "exponential":
        return rng.exponential(options.mean, count) if options.mean else np.zeros(count)
    if options.kind == "lognormal" and options.mean:
        return rng.lognormal(np.log(options.mean) - options.sigma**2 / 2, options.sigma, count)
    return np.full(count, options.mean)
