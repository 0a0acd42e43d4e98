"""Polls at an interval, with the time that it takes to apply what they find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.validity.pipeline import WARM_UP, by_polls, poisson
from benchmarks.validity.section import Case, Measure, against_theory
from benchmarks.validity.theory import lag_polled


def polls(rate: float, every: float, per_batch: float, per_row: float) -> Measure:
    """The lab's mean lag over whole intervals after the warm-up: a part of one would have shorter lags."""

    def measure(seed: int, size: int) -> float:
        at = poisson(rate, size, seed)
        model = {"per_batch": per_batch, "per_row": per_row}
        lags = by_polls(at, seed, model, every)
        first, last = np.ceil(WARM_UP * at[-1] / every) * every, np.floor(at[-1] / every) * every
        return float(lags[(at >= first) & (at < last)].mean())

    return measure


def polled(rate: float, every: float, per_batch: float, per_row: float) -> Case:
    """The mean lag by polls alone, with a service that fits into the interval."""
    theory = lag_polled(rate, every, per_batch, per_row)
    name = f"polls every {every:g} s at {rate:g} a second, {per_batch:g} s + {per_row:g} s a row: mean lag (s)"
    return Case(name, theory, "half an interval, and its batch", polls(rate, every, per_batch, per_row))


def cases() -> Sequence[Case]:
    """The cases of this section."""
    return [polled(200.0, 0.5, 0.0, 0.0), polled(200.0, 0.5, 0.02, 0.000_4), polled(50.0, 1.0, 0.3, 0.005)]


SECTION = against_theory(
    "Polling",
    "A projection that is fed by catch-up alone. A poll reads all that was committed, applies it as one batch, and the "
    "next poll begins at the next multiple of the interval.",
    cases,
)
