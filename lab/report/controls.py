"""What two runs share and nobody changed, the **control**: what it did, and how a figure is compared beside it.

It is the calibration loop (`clock`), the commands and queries of the source of truth, and the rebuild of a projection
in `null`, which costs what the harness costs (`lab.report.sharing` says which of them are shared). A machine that is
slower for an hour slows them all, and one that is slower in one repetition shows that in them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lab.formatting import listed
from lab.report.sharing import CLOCK, KINDS, machine_alike
from lab.runs import Run
from lab.statistics.covariance import adjusted
from lab.statistics.quantiles import median
from lab.statistics.replicated import Ratio, ratio

# A control that moves by less than this is not said to have moved, however sure it is.
MOVES_MIN = 1.02
# Times of one thing: those of the repetitions of the first run, and of the second.
Pair = tuple[list[float], list[float]]
# What a figure's control is called by: the quantity that measures the same kind of work, and its temperature.
Like = tuple[str, str | None]
_LIKE = {"query_p50": "query_p50", "query_p99": "query_p50", "queries_p50": "query_p50", "rebuild": "rebuild"}


@dataclass(frozen=True)
class SharedTimes:
    """One control: its kind, what work it is like, and its times in both runs."""

    kind: str
    like: Like
    times: Pair


@dataclass(frozen=True)
class ControlMovement:
    """What the controls did: the factor of each kind, and of all of them together.

    `moved`: they did, beyond chance. `likes` has the times of controls by the work that they are like, `together` those
    of all. `left_out` says of each kind that is no control why not.
    """

    kinds: dict[str, Ratio] = field(default_factory=dict)
    whole: Ratio = field(default_factory=Ratio)
    moved: bool = False
    likes: dict[Like, Pair] = field(default_factory=dict)
    together: Pair | None = None
    left_out: tuple[str, ...] = ()

    def beside(self, quantity: str, temperature: str | None) -> Pair | None:
        """Return the times that a figure is compared beside: those of a control of its kind, or of all together."""
        return self.likes.get((_LIKE.get(quantity, ""), temperature), self.together)


def clock(a: Run, b: Run) -> list[SharedTimes]:
    """The calibration loop as a control, if both runs have it, and it is the same program."""
    each = [_clock(run) for run in (a, b)]
    return [SharedTimes(CLOCK, (CLOCK, None), (each[0], each[1]))] if all(each) and machine_alike(a, b) else []


def _clock(run: Run) -> list[float]:
    """The calibration loop's time in each repetition; empty of runs that have none."""
    each = [run.repetition(number).manifest.get("clock_seconds") for number in range(1, run.repetitions + 1)]
    return [median(times) for times in each if times] if all(each) else []


def shared_figure(quantity: str, temperature: str | None, a: dict[str, Any], b: dict[str, Any]) -> SharedTimes:
    """A figure that nobody changed as a control; `a` and `b` are its rows, with a value for each repetition."""
    # A rate is the inverse of a time.
    sign = -1 if quantity == "rate" else 1
    before, after = ([value**sign for value in each["values"]] for each in (a, b))
    return SharedTimes(KINDS[quantity], (quantity, temperature), (before, after))


def unshared(a: Run, b: Run, kinds: Sequence[str], changed: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Say of each kind of control that there is none of why: what of it was `changed`."""
    why: dict[str, tuple[str, ...]] = {} if machine_alike(a, b) else {CLOCK: ("versions",)}
    why |= {kind: what for kind, what in changed.items() if kind not in kinds}
    return tuple(f"{kind}, since {listed(list(what))} changed" for kind, what in why.items())


def settled(controls: Sequence[SharedTimes], pairs: bool) -> ControlMovement:
    """Return what controls did.

    The controls of a kind count as one, and the kinds count the same, whatever their numbers.
    """
    if not controls:
        return ControlMovement()
    kinds = {
        kind: _mean([one.times for one in controls if one.kind == kind])
        for kind in dict.fromkeys(one.kind for one in controls)
    }
    likes = {
        like: _mean([one.times for one in controls if one.like == like])
        for like in dict.fromkeys(one.like for one in controls)
    }
    together = _mean(list(kinds.values()))
    whole = ratio(*together, pairs)
    assert whole.value is not None
    assert whole.low is not None
    assert whole.high is not None
    moved = not whole.low <= 1.0 <= whole.high and max(whole.value, 1 / whole.value) >= MOVES_MIN
    each = {kind: ratio(*times, pairs) for kind, times in kinds.items()}
    return ControlMovement(each, whole, moved, likes, together)


def _mean(several: Sequence[Pair]) -> Pair:
    """The geometric mean of several times, repetition by repetition."""
    before, after = (np.exp(np.mean([np.log(pair[run]) for pair in several], axis=0)).tolist() for run in (0, 1))
    return before, after


def control(
    a: Run, b: Run, controls: Sequence[SharedTimes], changed: dict[str, tuple[str, ...]], pairs: bool
) -> ControlMovement:
    """Return what the controls of two runs did; none without repetitions, or if nothing is shared."""
    if min(a.repetitions, b.repetitions) < 2:
        return ControlMovement()
    kinds = [one.kind for one in controls]
    return replace(settled(controls, pairs), left_out=unshared(a, b, kinds, changed))


@dataclass(frozen=True)
class Beside:
    """A figure's ratios: as it was `measured`, and beside the control (`ratio`), which is the one to judge."""

    measured: Ratio
    ratio: Ratio


def beside(figure: Pair, shared: ControlMovement, work: Like, pairs: bool) -> Beside:
    """Return the ratios of a figure that measures `work`; without a control they are the same.

    By how much a figure moves with its control is estimated within the runs. Where the control moved between them, that
    line is followed further than it was seen. Then the figure by the control, which takes it that both move alike, is
    looked at too, and the ratio is that of the two which shows less: a difference has to be one in both ways.
    """
    measured = ratio(*figure, pairs)
    control_ = shared.beside(*work)
    if control_ is None or measured.p is None:
        return Beside(measured, measured)
    along = adjusted(figure, control_, pairs)
    if not shared.moved:
        return Beside(measured, along)
    by = adjusted(figure, control_, pairs, slope=1.0)
    if along.value is None or by.value is None or along.p is None or by.p is None:
        return Beside(measured, measured)
    if (along.value > 1) != (by.value > 1):
        # They contradict each other: nothing is shown.
        return Beside(measured, replace(by, p=1.0))
    return Beside(measured, max(along, by, key=lambda one: one.p or 0.0))
