"""What a piece of work takes on the simulated clock: by a formula, by chance around it, or as it was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lab.scenario import Delay, ServiceModel
from lab.scenario.draws import delays

# A time is drawn among so many that were measured for the nearest numbers of rows.
NEAREST = 40
# Factors are drawn so many at a time.
BLOCK = 1_024


class ServiceTimes(Protocol):
    """Says how long work on so many rows takes; called once for each piece of work, in its order."""

    def draw(self, rows: int) -> float:
        """The time in seconds."""


@dataclass(frozen=True)
class RecordedWork:
    """Work that was measured: how many rows, and how many seconds, of each piece."""

    rows: np.ndarray
    seconds: np.ndarray


class Formula:
    """Exactly `per_batch + per_row * rows` seconds."""

    def __init__(self, model: ServiceModel) -> None:
        self.model = model

    def draw(self, rows: int) -> float:
        """What the formula gives."""
        return self.model.per_batch + self.model.per_row * rows


class AroundFormula(Formula):
    """What the formula gives, times a factor that is drawn for each piece of work: of mean 1, independent."""

    def __init__(self, model: ServiceModel, rng: np.random.Generator) -> None:
        super().__init__(model)
        self._factors = _factors(model, rng)

    def draw(self, rows: int) -> float:
        """Return the formula's time multiplied by the next random factor."""
        return super().draw(rows) * next(self._factors)


def _factors(model: ServiceModel, rng: np.random.Generator) -> Iterator[float]:
    law = Delay(
        kind=model.distribution,
        mean=1.0,
        sigma=model.sigma,
        shape=model.shape,
    )
    while True:
        yield from delays(law, BLOCK, rng).tolist()


class MeasuredTimes:
    """Times drawn from what was measured."""

    def __init__(self, recorded: RecordedWork, rng: np.random.Generator) -> None:
        rows, seconds = recorded.rows, recorded.seconds
        order = np.argsort(rows, kind="stable")
        self.rows, self.seconds, self._rng = rows[order], seconds[order], rng
        spread = float(np.var(rows)) if rows.size else 0.0
        per_row = float(np.mean((rows - rows.mean()) * (seconds - seconds.mean()))) / spread if spread else 0.0
        self.per_row = max(0.0, per_row)

    def draw(self, rows: int) -> float:
        """One of the times measured for about as many rows, corrected by the fitted time of each row more or less.

        All with this very number may be drawn if there are many. 0 if nothing was measured.
        """
        if not self.rows.size:
            return 0.0
        first, last = np.searchsorted(self.rows, [rows, rows + 1])
        low = min(int(first), max(0, int(first) - (NEAREST - int(last - first)) // 2))
        high = max(int(last), min(self.rows.size, low + NEAREST))
        drawn = int(self._rng.integers(low, high))
        if self.rows[drawn] == rows:
            return float(self.seconds[drawn])
        corrected = self.seconds[drawn] + self.per_row * (rows - self.rows[drawn])
        return float(max(corrected, self.seconds[low:high].min()))


def service_times(
    model: ServiceModel, rng: np.random.Generator | None = None, recorded: RecordedWork | None = None
) -> ServiceTimes:
    """The times of a modelled store; `rng` for any distribution but `constant`, `recorded` for `empirical`."""
    if model.distribution == "constant":
        return Formula(model)
    assert rng is not None
    if model.distribution == "empirical":
        assert recorded is not None
        return MeasuredTimes(recorded, rng)
    return AroundFormula(model, rng)
