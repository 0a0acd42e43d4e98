"""What is varied: `KEY=a,b,c`, or a range, `KEY=1..10000:log5`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.base import BadInput, Problem
from lab.formatting import toml
from lab.scenario import VaryTable
from lab.scenario.text import assignment, cut

# What has a meaning of its own in a sweep, and the way out.
_OTHERWISE = {
    "seed": "give --seed for the first, and --repeat for more",
    "repeat": "give --repeat",
    "name": "a scenario keeps its name",
    "schema": "there is one",
}
_RANGE = re.compile(r"\s*(\S+?)\.\.([^:\s]+?)(?::(log|lin|)(\d*))?\s*")
STEPS_MAX = 10_000
EXAMPLE = "for example --vary channel.lose=0,0.01,0.1 or --vary workload.rate=10..1000:log5"


@dataclass(frozen=True)
class Varied:
    """A key with the values that it takes, or with the ends of a range from which a design draws them.

    Values are numbers, truth values or words. A range of a list of steps has both.
    """

    key: str
    values: tuple[Any, ...]
    low: float | None = None
    high: float | None = None
    logarithmic: bool = False

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    @property
    def column(self) -> list[float] | list[str]:
        """The values as the results have them: numbers, or texts."""
        return [float(value) for value in self.values] if self.numeric else [str(value) for value in self.values]

    def at(self, share: float) -> float:
        """Return the value that lies at a share of the range, from 0 to 1. Raises ValueError without a range."""
        if self.low is None or self.high is None:
            raise ValueError(f"{self.key} has no range")
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share


def override(key: str, value: Any) -> str:
    """Return the `--set` of a value as TOML: a whole number without a point, a text in quotation marks.

    A number of NumPy is the number that it is.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"{key}={value!r}"
        if value.is_integer() and abs(value) < 2**53:
            return f"{key}={int(value)}"
    return f"{key}={toml(value)}"


def read_all(items: Sequence[str], tables: Sequence[VaryTable] = ()) -> list[Varied]:
    """Return what `--vary` and the file's `[[vary]]` vary; the command line replaces a key of the file.

    Raises BadInput with every problem.
    """
    problems: list[Problem] = []
    found: dict[str, Varied] = {}
    for table in tables:
        _take(_of_table(table), found, problems)
    given: dict[str, Varied] = {}
    for item in items:
        read = _of_text(item)
        if isinstance(read, Varied) and read.key in given:
            read = Problem(f"--vary {cut(item)}", f"`{read.key}` is varied twice", "give all its values at once")
        _take(read, given, problems)
    if not problems and not (found or given):
        problems.append(Problem("--vary", "nothing is varied", EXAMPLE))
    if problems:
        raise BadInput(problems)
    return list((found | given).values())


def _take(read: Varied | Problem, found: dict[str, Varied], problems: list[Problem]) -> None:
    if isinstance(read, Problem):
        problems.append(read)
    else:
        found[read.key] = read


def _of_table(table: VaryTable) -> Varied | Problem:
    where = f"vary.{cut(table.key)}"
    if (table.range is None) == (not table.values):
        return Problem(where, "needs either `values` or `range`", 'values = [0.0, 0.1] or range = "1..1000:log5"')
    if table.range is not None:
        return _of_range(table.key, table.range, where) or Problem(where, "not a range", 'range = "1..1000:log5"')
    return _checked(table.key, tuple(table.values), where)


def _of_text(item: str) -> Varied | Problem:
    where = f"--vary {cut(item)}"
    key, equals, text = item.partition("=")
    key = key.strip()
    if not equals or not key or not text.strip():
        return Problem(where, "not of the form key=a,b,c", EXAMPLE)
    if (ranged := _of_range(key, text, where)) is not None:
        return ranged
    values = []
    for part in _parts(text):
        read = assignment(f"{key}={part.strip()}")
        if isinstance(read, Problem):
            return Problem(where, read.what, read.way_out)
        values.append(read[1])
    return _checked(key, tuple(values), where)


def _parts(text: str) -> list[str]:
    """Split at the commas that are in no list, table or text."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _checked(key: str, values: tuple[Any, ...], where: str) -> Varied | Problem:
    if key in _OTHERWISE:
        return Problem(where, f"`{key}` can't be varied", _OTHERWISE[key])
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len({str(value) for value in values}) < len(values) or len(set(numbers)) < len(numbers):
        return Problem(where, "a value stands there twice", "more runs of each point: --repeat")
    return Varied(key, values)


def _of_range(key: str, text: str, where: str) -> Varied | Problem | None:
    """Return a range; None for a text that is none."""
    if (match := _RANGE.fullmatch(text)) is None:
        return None
    try:
        low, high = float(match[1]), float(match[2])
    except ValueError:
        return None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return Problem(where, "a range goes from a number to a larger one", EXAMPLE)
    logarithmic, steps = match[3] == "log", int(match[4] or 0)
    if logarithmic and low <= 0:
        return Problem(where, "a logarithmic range begins above 0", "without `log`, or from a small number on")
    if steps and not 2 <= steps <= STEPS_MAX:
        return Problem(where, f"a range has 2 to {STEPS_MAX:,} steps", EXAMPLE)
    whole = {match[1], match[2]} == {str(int(low)), str(int(high))} and logarithmic
    ranged = Varied(key, (), low, high, logarithmic)
    made = [ranged.at(share) for share in np.linspace(0, 1, steps)] if steps else []
    # Over several powers of ten, the whole number beside is as good; else what a person would write.
    steps_made = [float(round(value)) if whole and value >= 1 else float(f"{value:.6g}") for value in made]
    if steps_made:
        # The ends are what was said.
        steps_made[0], steps_made[-1] = low, high
    values = dict.fromkeys(steps_made)
    checked = _checked(key, tuple(values), where)
    return checked if isinstance(checked, Problem) else Varied(key, checked.values, low, high, logarithmic)
