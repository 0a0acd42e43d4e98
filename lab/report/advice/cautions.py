"""What speaks against an answer: a lag without end, too little room, a busy source of truth, figures of few samples."""

from __future__ import annotations

from lab.advice.answer import Advice
from lab.advice.model import COMMIT, Candidate, Reading
from lab.advice.portfolio import Portfolio
from lab.advice.sensitivity import tied, told_apart
from lab.formatting import listed, number, ratio, share
from lab.report.advice.answers import NAMES, TRUTH_SAID, answers, endless_said, portfolio_said, share_said

# What is busy for a larger share of the time has little room for bursts.
BUSY = 0.8


def cautions(advice: Advice) -> list[str]:
    """Return what speaks against the recommended answer, as sentences for the headline."""
    chosen = advice.recommended
    if chosen is None:
        return []
    told = [f"But {who.name} is no read model to rely on: its lag p99 {endless_of(who)}." for who in chosen.endless]
    if overloaded(chosen):
        rate = f"{number(advice.problem.reads_per_second)} reads a second"
        told.append(f"But {rate} would keep {TRUTH_SAID} busy {_load(chosen)} of the time (levels.truth_reads).")
    return [*told, *filter(None, (blind_said(advice),))]


def endless_of(who: Candidate) -> str:
    """Return what is wrong with a lag that has no p99: `grows without end`."""
    said = endless_said(who.lag)
    return said if said.startswith("grows") else f"is {said}"


def blind_said(advice: Advice) -> str:
    """Return that a portfolio is quicker by the medians alone, where samples are too few to show a difference."""
    chosen, problem = advice.recommended, advice.problem
    able = [each for each in advice.front if not each.misses]
    if chosen is None or not able:
        return ""
    best = min(able, key=lambda each: each.order[1:])
    saved = chosen.cost - best.cost
    if saved <= 0 or saved < problem.settings.gain * chosen.cost or not tied(best, chosen):
        return ""
    pairs = {name: [each.assigned[name].answers[name].p50 for each in (best, chosen)] for name in problem.queries}
    few = {name: pair for name, pair in pairs.items() if not told_apart(*pair)}
    if not few:
        return ""
    first = next(reading for pair in few.values() for reading in pair if reading.ends[1] is None)
    why = "; ".join(filter(None, (first.reason, first.remedy))) or "no intervals"
    times = f"{ratio(chosen.cost, best.cost)} as fast" if best.cost else "in no time at all"
    return (
        f"Samples of {listed([f'`{name}`' for name in few])} are too few to show a difference ({why}): by the medians "
        f"alone, {portfolio_said(best)} answers {times}."
    )


def busy_said(advice: Advice) -> list[str]:
    """Return a warning for each projection of an answer, and for the source of truth, that has little room left."""
    found = []
    for who in {who.name: who for _, each in answers(advice) for who in each.members}.values():
        if who.busy_more is not None and who.busy is not None and who.busy_more > BUSY:
            found.append(
                f"{who.name} is busy {share(who.busy)} of the time, and {share(who.busy_more)} at 25 % more changes: "
                f"above {share(BUSY)} its lag grows steeply with every burst."
            )
    for names, each in answers(advice):
        if overloaded(each):
            which = listed([NAMES[name] for name in names])
            commands = "" if advice.problem.write_busy is None else f", commands {share_said(Reading(_writes(each)))}"
            found.append(
                f"{which[0].upper()}{which[1:]}: {TRUTH_SAID} would be busy for {_load(each)} of the time (reads "
                f"{share_said(Reading(each.truth_reads.bound))}{commands}). Reads compete with commands."
            )
    return found


def _writes(each: Portfolio) -> float:
    return (each.problem.write_busy or 0.0) * each.problem.slowed(COMMIT)


def _load(each: Portfolio) -> str:
    return share_said(Reading(each.truth_reads.bound + _writes(each)))


def overloaded(each: Portfolio) -> bool:
    """Return whether reads and commands together leave the source of truth little room, or none."""
    return each.truth_reads.value > 0 and each.truth_reads.bound + _writes(each) > BUSY
