"""The types of values in a scenario: which numbers, words and lists are taken at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lab.scenario.limits import (
    COLUMNS_MAX,
    FILE_COLUMNS_MAX,
    INTERVAL_MIN,
    QUERIES_MAX,
    RATIO_MAX,
    SECONDS_MAX,
    WORD_MAX,
)

DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def _positive_zero(value: float) -> float:
    # Minus zero would be shown as such.
    return value + 0.0


def _each_once(words: Sequence[str] | None) -> Sequence[str] | None:
    """Refuse a list that has a word twice."""
    twice = sorted({word for word, often in Counter(words or ()).items() if often > 1})
    if twice:
        raise ValueError(f"`{twice[0]}` is in it twice")
    return words


def is_whole(value: Any) -> Any:
    """Refuse a truth value where a number stands: Python takes true for 1."""
    if isinstance(value, bool | float):
        raise ValueError("must be a whole number")
    return value


def _no_device(name: str) -> str:
    """Refuse the names of devices under Windows: `runs/nul` can't be made there."""
    if name.lower() in DEVICES:
        raise ValueError("is a device under Windows, where no file can be called so")
    return name


def _printable(word: str) -> str:
    """Refuse control characters: they have no place in a name, and could move the cursor of a terminal."""
    if not word.isprintable():
        raise ValueError("has a control character in it")
    return word


Probability = Annotated[float, Field(ge=0.0, le=1.0), AfterValidator(_positive_zero)]
Seconds = Annotated[float, Field(ge=0.0, le=SECONDS_MAX, allow_inf_nan=False), AfterValidator(_positive_zero)]
# Between polls, or between tries.
Interval = Annotated[float, Field(ge=INTERVAL_MIN, le=SECONDS_MAX, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=1 / RATIO_MAX, le=RATIO_MAX, allow_inf_nan=False)]
# A service level: a nanosecond at least, so that every figure that is made of it stays a number.
Level = Annotated[float, Field(ge=1e-9, le=SECONDS_MAX, allow_inf_nan=False)]
Word = Annotated[str, Field(min_length=1, max_length=WORD_MAX), AfterValidator(_printable)]
Words = Annotated[tuple[Word, ...], Field(strict=False, max_length=COLUMNS_MAX)]
FileColumns = Annotated[tuple[Word, ...], Field(strict=False, max_length=FILE_COLUMNS_MAX)]
Set = Annotated[tuple[Word, ...], Field(strict=False, min_length=1, max_length=COLUMNS_MAX), AfterValidator(_each_once)]
NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]
# Folders are called by it, so it must be a name of a file on every system.
FileName = Annotated[str, Field(pattern=NAME), AfterValidator(_no_device)]
# Names of queries; none at all: nothing is asked.
Asked = Annotated[tuple[Word, ...], Field(strict=False, max_length=QUERIES_MAX), AfterValidator(_each_once)]


class ScenarioTable(BaseModel):
    """Base of all tables of a scenario: refuses unknown keys and loose types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
