"""Time queries in two ways: single calls among those of all others (cold), and blocks of calls (hot).

A call that follows one of another store finds the processor's caches as its neighbour left them: a `get` of SQLite can
take ten times as long after a query of DuckDB as after another `get`. Neither time is wrong. The first is that of a
process that does many things; the second is that of one whose working set stays in the caches, and it belongs to the
store alone.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np

from lab.base import NotAnswered
from lab.measure.asked import Asked, HotBlock
from lab.queries.answers import Row
from lab.statistics.quantiles import median

# A block of quick calls goes on for two milliseconds, up to ten times its samples: they cost nothing, and narrow
# intervals.
QUICK_NANOSECONDS = 2_000_000
QUICK_TIMES = 10
# A block ends when its answers have this many rows, which are in memory until it is over.
ROWS_MAX = 100_000
# Calls that take so long refill the caches many times over: each counts, and no slow query is asked in vain.
SLOW_NANOSECONDS = 20_000_000
# The warm-up of a block beside its samples; and the share of its time and its rows that it may take if calls are slow
# or answers are large. The first call is warm-up all the same.
WARM_UP_SHARE = 0.1

Parameters = Mapping[str, Sequence[Row]]


def nothing() -> None:
    """Report no progress."""


@dataclass(frozen=True)
class CallLimits:
    """How often a query is asked of a store: calls of warm-up, calls that count, and the seconds that they may take.

    `few` calls count although the time is used up, unless these take longer than `limit_seconds`.
    """

    warm_up: int
    samples: int
    budget_seconds: float
    few: int = 1
    limit_seconds: float = math.inf


def in_rounds(
    asked: Sequence[Asked],
    parameters: Parameters,
    limits: CallLimits,
    rng: np.random.Generator,
    progress: Callable[[], None] = nothing,
) -> None:
    """Ask everything once a round, each round in a new order, so that slow drift affects all contenders alike.

    `parameters` has the sets of each query by name, one for each round; every projection is asked the same ones.
    """
    for turn in range(limits.warm_up + limits.samples):
        for place, chosen in enumerate(rng.permutation(len(asked))):
            one = asked[chosen]
            drawn, counts = parameters[one.query.name], turn >= limits.warm_up
            if drawn and not one.over(counts, limits.budget_seconds, limits.limit_seconds):
                before = len(one.nanoseconds)
                one.ask(drawn[turn % len(drawn)], counts, limits.limit_seconds)
                one.places += [(turn, place)] * (len(one.nanoseconds) - before)
        progress()


def in_blocks(
    asked: Sequence[Asked],
    parameters: Parameters,
    blocks: int,
    limits: CallLimits,
    rng: np.random.Generator,
    progress: Callable[[], None] = nothing,
) -> None:
    """Ask everything in blocks of `limits.samples` calls, after a warm-up of each; all blocks share the budget.

    After another store's call the first one takes several times as long as the later ones. The warm-up is a tenth of
    the samples, and `limits.warm_up` at the least. What took long in single calls needs none.

    In every other round the order of the blocks is drawn, and the next round has it reversed (ABBA): a drift that is
    linear in time adds the same to each of those that have all their blocks. The n-th call of a query has the same
    parameters in every projection. One that has used up its budget, and been timed as often as it must, has no further
    block. A single call that took longer than the limit stands for a block: it made its caches itself.
    """
    warm_up = max(limits.warm_up, math.ceil(limits.samples * WARM_UP_SHARE))
    number, order = 0, list[int]()
    for turn in range(blocks):
        order = order[::-1] if turn % 2 else rng.permutation(len(asked)).tolist()
        for one in (asked[place] for place in order):
            drawn = parameters[one.query.name]
            if longer(one, limits.limit_seconds):
                one.blocks = one.blocks or [HotBlock(number, 0, one.nanoseconds[:1])]
            elif drawn and not one.over_hot(limits.budget_seconds, limits.limit_seconds):
                share, few = limits.budget_seconds / blocks, math.ceil(one.few / blocks)
                cut = 0 if _slow(one) else warm_up
                ask_block(one, drawn, number, CallLimits(cut, limits.samples, share, few, limits.limit_seconds))
            number += 1
        progress()


def longer(one: Asked, limit_seconds: float) -> bool:
    """True if the first single call took longer than the limit."""
    return bool(one.nanoseconds) and not one.refused and one.nanoseconds[0] > limit_seconds * 1e9


def _slow(one: Asked) -> bool:
    """True if single calls took so long that a block of them needs no warm-up."""
    return bool(one.nanoseconds) and median(one.nanoseconds) >= SLOW_NANOSECONDS


def ask_block(one: Asked, drawn: Sequence[Row], number: int, limits: CallLimits) -> None:
    """Ask one query of one store again and again; keep the times that count and the answers that are new.

    The garbage collector rests meanwhile: what it walks through is the lab's memory, not the store's.
    """
    asked_before = sum(block.warm_up + len(block.nanoseconds) for block in one.blocks)
    answers: list[tuple[Row, list[Row]]] = []
    collects = gc.isenabled()
    gc.disable()
    try:
        block = _timed(one, drawn, asked_before, HotBlock(number, 0, []), answers, limits)
    finally:
        if collects:
            gc.enable()
    if block.nanoseconds:
        one.blocks.append(block)
    _keep_new(one, answers)


def _timed(
    one: Asked,
    drawn: Sequence[Row],
    first: int,
    block: HotBlock,
    answers: list[tuple[Row, list[Row]]],
    limits: CallLimits,
) -> HotBlock:
    """Make the calls of a block, which begins with the parameters of number `first`. Adds to `answers`."""
    query, ask, times = one.query, one.store.query, block.nanoseconds
    budget, most = limits.budget_seconds * 1e9, limits.samples * QUICK_TIMES
    spent = rows_held = calls = 0
    warming = limits.warm_up > 0
    while True:
        parameters = drawn[(first + calls) % len(drawn)]
        began = perf_counter_ns()
        try:
            rows = ask(query, parameters)
        except NotAnswered as error:
            one.refused[parameters] = str(error)
            break
        took = perf_counter_ns() - began
        answers.append((parameters, rows))
        calls, spent, rows_held = calls + 1, spent + took, rows_held + len(rows)
        if warming:
            share = max(spent / budget, rows_held / ROWS_MAX)
            warming = calls < limits.warm_up and share < WARM_UP_SHARE
            continue
        times.append(took)
        few = limits.few if one.spent_hot + spent <= limits.limit_seconds * 1e9 else 1
        if len(times) >= few and (spent > budget or rows_held > ROWS_MAX):
            break
        if len(times) >= limits.samples and (spent > QUICK_NANOSECONDS or len(times) >= most):
            break
    one.spent_hot += spent
    return HotBlock(block.number, calls - len(times), times)


def _keep_new(one: Asked, answers: Sequence[tuple[Row, list[Row]]]) -> None:
    """Keep the answers that differ from every other one to the same question: the rest is as right as those."""
    known: dict[Row, list[list[Row]]] = {}
    for parameters, rows in [*one.answers, *one.others]:
        known.setdefault(parameters, []).append(rows)
    for parameters, rows in answers:
        same_question = known.setdefault(parameters, [])
        if rows not in same_question:
            same_question.append(rows)
            one.others.append((parameters, rows))
