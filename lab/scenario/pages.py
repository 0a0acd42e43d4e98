"""The tables of pages that are made of several projections: `[[page]]` and its steps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lab.scenario.chance import Delay
from lab.scenario.limits import PROJECTIONS_MAX
from lab.scenario.values import Interval, Name, Ratio, ScenarioTable, Seconds, Word


class PageStepTable(ScenarioTable):
    """One part of a page: a query that is answered by a projection."""

    projection: Word
    query: Word


class PageTable(ScenarioTable):
    """A page: its parts in the order in which they are read, how often it is visited, and what a policy may wait.

    `ids` records are found by the first step, and looked up by later ones. `delay` is the way of each request.
    """

    name: Name
    step: tuple[PageStepTable, ...] = Field(strict=False, min_length=2, max_length=PROJECTIONS_MAX)
    ids: int = Field(10, ge=1, le=1_000)
    finds: Literal["any", "newest"] = "any"
    visits: int = Field(2_000, ge=1, le=1_000_000)
    delay: Delay = Delay()
    retry: Interval = 0.01
    wait: Seconds = 2.0
    weight: Ratio = 1.0
