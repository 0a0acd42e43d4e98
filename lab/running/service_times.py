"""What a piece of work takes on the simulated clock: by a formula, by chance around it, or as it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    @property
    def per_row(self) -> float:
        """The fitted seconds of each row more: least squares, and not below 0."""
        spread = float(np.var(self.rows)) if self.rows.size else 0.0
        both = np.mean((self.rows - self.rows.mean()) * (self.seconds - self.seconds.mean())) if spread else 0.0
        return max(0.0, float(both) / spread) if spread else 0.0

    @property
    def per_batch(self) -> float:
        """The mean seconds that the rows of a piece don't explain; 0 if nothing was measured."""
        return max(0.0, float(self.seconds.mean()) - self.per_row * float(self.rows.mean())) if self.rows.size else 0.0


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
        self.per_row = recorded.per_row

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


def service_times(model: ServiceModel, rng: np.random.Generator | None = None) -> ServiceTimes:
    """The times of a modelled store by its formula; `rng` for any distribution but `constant`."""
    if model.distribution == "constant":
        return Formula(model)
    assert rng is not None
    return AroundFormula(model, rng)


def times_by_source(
    model: ServiceModel,
    sources: Mapping[int, str],
    rng: np.random.Generator | None = None,
    recorded: Mapping[str, RecordedWork] | None = None,
) -> dict[int, ServiceTimes]:
    """The times of a modelled store for each of the `sources`; `rng` for any distribution but `constant`.

    A formula is the same for all of them. Of `empirical`, each draws from its own work in `recorded`, by the source's
    name: a page of catch-up and a batch of messages don't take the same. One without any draws from all the others.
    """
    if model.distribution != "empirical":
        return dict.fromkeys(sources, service_times(model, rng))
    assert rng is not None
    assert recorded
    whole = together(recorded)
    return {source: MeasuredTimes(recorded.get(name, whole), rng) for source, name in sources.items()}


def together(recorded: Mapping[str, RecordedWork]) -> RecordedWork:
    """Return the recorded work of all sources as one."""
    parts = recorded.values()
    return RecordedWork(np.concatenate([one.rows for one in parts]), np.concatenate([one.seconds for one in parts]))
