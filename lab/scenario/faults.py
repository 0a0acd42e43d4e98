"""The tables of what happens to a projection itself: faults, and a rebuild while changes keep coming."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lab.scenario.limits import PERIODS_MAX
from lab.scenario.values import Interval, Probability, Ratio, ScenarioTable, Seconds

CrashStep = Literal["before-apply", "between", "after-checkpoint"]


class ScheduledCrash(ScenarioTable):
    """A crash of the projector at its first apply from `at` on, at this step; it is back after `lasts` seconds."""

    at: Seconds
    step: CrashStep = "between"
    lasts: Seconds = 0.1


class Slow(ScenarioTable):
    """A period in which the store takes `factor` times as long."""

    at: Seconds
    lasts: Seconds
    factor: Ratio = 10.0


class FaultsTable(ScenarioTable):
    """Faults of a projection itself: crashes, refused batches, poisoned changes, slowness. All are zero by default."""

    crashes: tuple[ScheduledCrash, ...] = Field((), strict=False, max_length=PERIODS_MAX)
    crash: Probability = 0.0
    down: Seconds = 0.1
    refuse: Probability = 0.0
    retry: Interval = 0.05
    poison: Probability = 0.0
    heals_at: Seconds | None = None
    retry_parked: Interval = 1.0
    slow: tuple[Slow, ...] = Field((), strict=False, max_length=PERIODS_MAX)

    @property
    def any(self) -> bool:
        """Return whether any fault can occur."""
        return bool(self.crashes or self.slow or self.crash or self.refuse or self.poison)


class RebuildTable(ScenarioTable):
    """A rebuild while changes keep coming: in place, visible to readers, or on a copy that is swapped in."""

    at: Seconds
    mode: Literal["in-place", "blue-green"] = "blue-green"
