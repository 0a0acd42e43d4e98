"""The table `[[vary]]`: a key that a sweep of this scenario varies."""

from __future__ import annotations

from pydantic import Field

from lab.scenario.values import ScenarioTable, Word

VARIED_MAX = 100


class VaryTable(ScenarioTable):
    """A key with its values, or with a range: `1..10000:log5` are five values whose ratios are equal."""

    key: Word
    values: tuple[bool | int | float | str, ...] = Field((), strict=False, max_length=10_000)
    range: Word | None = None
