"""Time pieces of work in turns, and say which is quicker only where an interval over the rounds says so."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from time import process_time

from lab.statistics.replicated import Ratio, ratio

ROUNDS = 7


def in_turns(
    works: Mapping[Hashable, Callable[[], object]], rounds: int = ROUNDS, clock: Callable[[], float] = process_time
) -> dict[Hashable, list[float]]:
    """Do each piece of work once in each round, and return its times in seconds by name.

    Slow drift of the machine so meets all of them alike. A first round is not counted: it pays for what is cold. Times
    are those of this process on the processors, unless `clock` is another: who else is at work then matters less.
    """
    times: dict[Hashable, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            began = clock()
            work()
            if number:
                times[name].append(clock() - began)
    return times


def longer(slow: Sequence[float], quick: Sequence[float]) -> Ratio:
    """Return how many times as long `slow` takes as `quick`, with an interval of 95 % over the rounds (paired)."""
    return ratio(quick, slow, paired=True)


def by_more_than(factor: float, found: Ratio) -> bool:
    """Return whether the whole interval lies above a factor."""
    return found.low is not None and found.low > factor


def told_longer(found: Ratio) -> str:
    """Return a ratio in words: `12 times as long (95 %: 11 to 13)`, or as a tie if the interval holds 1."""
    if found.value is None or found.low is None or found.high is None:
        return f"not known ({found.reason})"
    if found.low <= 1 <= found.high:
        return f"as long, as far as can be told (a tie; 95 %: {found.low:.2g} to {found.high:.2g})"
    return f"{found.value:.2g} times as long (95 %: {found.low:.2g} to {found.high:.2g})"
