"""Histories of values that are awkward to keep, and histories that are long: a change, so many others, and it again."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.base import Kind
from lab.kit.history import Planned, Shape, TrialHistory, build

# What mends as text, or breaks where text is pasted into a statement, cut, padded, folded or taken for something else.
TEXTS: tuple[str, ...] = (
    "", " ", "0", "false", "null", "None", "nan", "007", "1e3", "o'brien", 'say "hi"', "'); DROP TABLE customers; --",
    "50% {name} :key ?", "a\\b", "tab\tand\nline", "\x01\x1f\x7f", "trailing  ", "  leading", "ABC", "abc", "Ünïcödé",
    "漢字 🙂", "caf\u00e9", "cafe\u0301", "\u200bzero width", "long " * 1_000,
)  # fmt: skip
INTS: tuple[int, ...] = (
    0, 1, -1, 2**15, 2**31 - 1, 2**31, -(2**31) - 1, 2**32, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63),
)  # fmt: skip
FLOATS: tuple[float, ...] = (0.0, -0.0, 0.1, 1 / 3, -2.5, 16_777_217.0, 2.0**53, 1e300, 1e-300, 5e-324)
# Keys that are two to their source, and one to what folds case, pads, normalises, or takes a text for a number.
TWINS: tuple[tuple[str, str], ...] = (
    ("ada", "Ada"), ("bea", "bea "), ("caf\u00e9", "cafe\u0301"), ("7", "007"), ("o'brien", "obrien"),
    ("stra\u00dfe", "strasse"), ("", " "), ("a/b", "a%2Fb"),
)  # fmt: skip
NUMBERS: tuple[tuple[int, int], ...] = ((0, -1), (2**31, -(2**31)), (2**32 + 1, 1), (2**53, 2**53 + 1), (2**63 - 1, 5))
# How many changes come between a change and its repetition, by turns: just beyond usual windows, and the rare long one.
BETWEEN, RARELY = (12, 25, 70, 130), 1_100


def value(rng: np.random.Generator, kind: Kind, bits: int) -> Any:
    """One awkward value of this kind; null now and then."""
    if rng.random() < 0.15:
        return None
    if kind == "bool":
        return bool(rng.random() < 0.5)
    pool: tuple[Any, ...] = TEXTS if kind == "str" else FLOATS if kind == "float" else _within(INTS, bits)
    return pool[int(rng.integers(len(pool)))]


def _within(numbers: tuple[int, ...], bits: int) -> tuple[int, ...]:
    return tuple(number for number in numbers if -(2 ** (bits - 1)) <= number < 2 ** (bits - 1))


def awkward(rng: np.random.Generator, shape: Shape) -> TrialHistory:
    """A history of awkward values, and of two records whose keys are easily taken for one."""
    records = int(rng.integers(2, 5))
    keys = _keys(rng, shape)
    plan: list[Planned] = []
    alive: set[int] = set()
    dead: set[int] = set()
    for _ in range(int(rng.integers(2, 13))):
        record = int(rng.integers(1, records + 1))
        if record in dead:
            continue
        deleted = record in alive and rng.random() < 0.15
        alive, dead = alive | {record}, dead | {record} if deleted else dead
        values = {name: value(rng, kind, shape.bits) for name, kind in shape.columns if rng.random() < 0.6}
        before = next((item for item in reversed(plan) if item.record == record), None)
        if before and not before.deleted and rng.random() < 0.1:
            # A state that doesn't change: what is written is what is there.
            values = dict(before.values)
        plan.append(Planned(record, deleted, values=tuple(values.items()), key=keys.get(record)))
    return build(plan, shape)


def _keys(rng: np.random.Generator, shape: Shape) -> dict[int, Any]:
    if shape.parts or rng.random() < 0.3:
        return {}
    if shape.key == "str":
        pair: tuple[Any, Any] = TWINS[int(rng.integers(len(TWINS)))]
    else:
        able = [(one, other) for one, other in NUMBERS if len(_within((one, other), shape.bits)) == 2]
        pair = able[int(rng.integers(len(able)))]
    return {1: pair[0], 2: pair[1]}


def between(number: int) -> int:
    """How many changes lie between a change and its repetition in the `number`-th history; 0 in most."""
    if number % 100 == 99:
        return RARELY
    return BETWEEN[number // 5 % len(BETWEEN)] if number % 5 == 4 else 0


def others(rng: np.random.Generator, count: int, first: int) -> list[Planned]:
    """So many changes of other records: revisions of one, or many new records, or many that are deleted again."""
    kind = int(rng.integers(3))
    if kind == 0:
        return [Planned(first)] * count
    if kind == 1:
        return [Planned(first + index) for index in range(count)]
    return [Planned(first + index // 2, index % 2 == 1) for index in range(count)]
