"""How fast the machine was: a small calibration loop, timed at several moments of a run.

It is the same work in every run, whatever the scenario is: interpreted code, sorting, and copying more than a cache
holds. If it takes longer in one run than in another, then the machine was slower, and not what was compared.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np

from lab.statistics.quantiles import median

# Loops at each moment, of which the median counts; one takes a few milliseconds.
_LOOPS = 5
_NUMBERS = 20_000
_BYTES = 4 * 2**20


class CalibrationClock:
    """Times the loop whenever it is told to; `seconds` has one time a moment."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._numbers = np.random.Generator(np.random.PCG64(1)).random(_NUMBERS)
        self._bytes = np.zeros(_BYTES, np.uint8)

    def tick(self) -> None:
        """Time the loop now."""
        self.seconds.append(median([self._once() for _ in range(_LOOPS)]))

    def _once(self) -> float:
        began = perf_counter()
        total = 0
        for number in range(_NUMBERS):
            total += number & 7
        np.sort(self._numbers)
        self._bytes.copy()
        return perf_counter() - began
