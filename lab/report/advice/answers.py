"""The three answers as sentences and as rows of a table, with what each costs, and the reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lab.advice.answer import Advice
from lab.advice.figures import FAILED, UNCHECKED, UNTIMED, WRONG
from lab.advice.gaps import NOT_ASKED, remedy
from lab.advice.model import COMMIT, Candidate, Reading
from lab.advice.portfolio import Portfolio
from lab.advice.reasons import Decider, Standing
from lab.advice.sensitivity import tied
from lab.formatting import NOTHING, duration, listed, number, plural, ratio, share, size
from lab.statistics.steady import NOT_STABLE

TRUTH_SAID = "the source of truth"
NAMES = {"fewest": "fewest projections", "quickest": "quickest", "bargain": "best bargain"}
INDEXED = "It has indexes for readers, which every commit keeps."
NOT_INDEXED = (
    "It has no index for readers: --set truth.indexed=true shows what one would gain here, and what commits pay for it."
)


def portfolio_said(each: Portfolio) -> str:
    """Return the names of a portfolio's projections, or that it is the source of truth alone."""
    return " + ".join(each.names) or TRUTH_SAID


def stores_said(each: Portfolio) -> str:
    """Return the projections of a portfolio with their stores, or that it is the source of truth alone."""
    return listed([f"{who.name} ({who.store})" for who in each.members]) or TRUTH_SAID


def answers(advice: Advice) -> list[tuple[tuple[str, ...], Portfolio]]:
    """Return the different ones among the three answers, each with its names (keys of `NAMES`)."""
    found: dict[tuple[str, ...], tuple[list[str], Portfolio]] = {}
    for name, each in (("fewest", advice.answer), ("quickest", advice.quickest), ("bargain", advice.bargain)):
        if each is not None:
            found.setdefault(each.names, ([], each))[0].append(name)
    return [(tuple(names), each) for names, each in found.values()]


def same_said(advice: Advice) -> str:
    """Return which of the three answers are the same portfolio; empty if none are."""
    for names, each in answers(advice):
        if len(names) == len(NAMES):
            told = "One portfolio has the fewest projections, is the quickest and the best bargain"
            return f"{told}: {portfolio_said(each)}."
        if len(names) > 1:
            both = listed([NAMES[name] for name in names])
            return f"{both[0].upper()}{both[1:]} are the same: {portfolio_said(each)}."
    return ""


def quicker_said(one: Portfolio, other: Portfolio) -> str:
    """Return how many times as fast, or as slow, one portfolio answers as another, with what the intervals leave."""
    if tied(one, other):
        return "no difference in time is shown"
    quick, slow = sorted((one, other), key=lambda each: each.cost)
    if not quick.cost:
        return "in no time at all"
    least = slow.cost_interval[0] / quick.cost_interval[1] if quick.cost_interval[1] else 0.0
    sure = f" (at least {ratio(least, 1.0)})" if least > 1.0 else ""
    return f"{ratio(slow.cost, quick.cost)} as {'fast' if quick is one else 'slow'}{sure}"


def more_said(each: Portfolio, other: Portfolio) -> str:
    """Return what a portfolio has to operate in addition to another one: `1 projection and 1 engine more`."""
    pairs = ((len(each.members) - len(other.members), "projection"), (len(each.engines) - len(other.engines), "engine"))
    more = [plural(count, what) for count, what in pairs if count > 0]
    less = [plural(-count, what) for count, what in pairs if count < 0]
    told = ([f"{listed(more)} more"] if more else []) + ([f"{listed(less)} less"] if less else [])
    return ", ".join(told) or "as much to operate"


def cost_rows(advice: Advice) -> list[tuple[str, list[str]]]:
    """Return the table of the answers: a title and a cell for each of them."""
    found = [each for _, each in answers(advice)]
    rows = [
        ("projections", [stores_said(each) for each in found]),
        ("weighted query time", [_time(each) for each in found]),
        ("new engines", [listed(list(each.engines)) or "none" for each in found]),
        ("disk", [size(each.disk) if each.members else "none" for each in found]),
        ("lag p99", [_lag(each) for each in found]),
        ("rebuild", [duration(each.rebuild.value) if each.members else "none" for each in found]),
        ("changes a second", [_rates(each) for each in found]),
        ("busy with them", [_busy(each) for each in found]),
        ("reads keep the source of truth busy", [_reads(each) for each in found]),
    ]
    return [(name, cells) for name, cells in rows if any(cell != NOTHING for cell in cells)]


def _time(each: Portfolio) -> str:
    low, high = each.cost_interval
    if high is None:
        return duration(each.cost)
    return f"{duration(each.cost)} ({duration(low)} to {duration(high)})"


def _lag(each: Portfolio) -> str:
    if not each.members:
        return "none"
    if each.lag.untold:
        return f"unknown: {each.lag.reason}"
    return endless_said(each.lag) if math.isinf(each.lag.value) else duration(each.lag.value)


def endless_said(lag: Reading) -> str:
    """Return why a lag has no p99, though there are changes enough to tell it."""
    if not lag.table:
        return "not measured"
    return "grows without end" if lag.reason == NOT_STABLE else "never, for more than 1 in 100 changes"


def _rates(each: Portfolio) -> str:
    if not each.members:
        return "none"
    return listed([f"{who.name} {NOTHING if who.rate is None else number(who.rate)}" for who in each.members])


def _busy(each: Portfolio) -> str:
    told = [
        f"{who.name} {share(who.busy)}, at 25 % more {share(who.busy_more)}"
        for who in each.members
        if who.busy is not None and who.busy_more is not None
    ]
    return "; ".join(told) or NOTHING


def _reads(each: Portfolio) -> str:
    if each.problem.truth is None:
        return NOTHING
    if not any(who.truth for who in each.assigned.values()):
        return "0 %: it is asked nothing"
    return share_said(each.truth_reads)


def share_said(reading: Reading) -> str:
    """Return a share of time with its interval; above 1 there is no keeping up."""
    if reading.value > 1.0:
        return f"{reading.value:,.0%} (more than it can do)".replace("%", " %")
    high = "" if reading.high is None else f" (at most {share(reading.high)})"
    return f"{share(reading.value)}{high}"


def reads_said(advice: Advice) -> str:
    """Return at which rate of reads the load on the source of truth is counted, and what commands take beside it."""
    problem = advice.problem
    if problem.truth is None:
        return replayed_said(advice)
    rate = f"{number(problem.reads_per_second)} reads a second"
    if problem.settings.reads_per_second is None:
        rate += ", as many as changes (set advice.reads_per_second)"
    commands = "" if problem.write_busy is None else f"; commands take {share(problem.write_busy)} of it"
    told = f"The load on the source of truth is counted at {rate}{commands}."
    told = f"{told} {replayed_said(advice)} {beside_said(advice)}".replace("  ", " ").rstrip()
    return told if problem.indexed is None else f"{told} {INDEXED if problem.indexed else NOT_INDEXED}"


def replayed_said(advice: Advice) -> str:
    """Return that a recorded history was replayed faster than it happened, or slower, and what that makes of rates."""
    scale, rate = advice.problem.time_scale, advice.problem.changes_per_second
    if scale == 1.0 or not rate:
        return ""
    often = f"{number(scale)} times as fast as it happened" if scale > 1 else f"{number(1 / scale)} times as slowly"
    return (
        f"The history was replayed {often} ({number(rate / scale)} changes a second): rates, lags and shares of time "
        "are those of the replay (domain.time_scale)."
    )


def beside_said(advice: Advice) -> str:
    """Return what reads at the source of truth and its commits cost each other, as measured on one connection."""
    found = advice.problem.beside
    if COMMIT not in found:
        return ""
    slowed = {name: advice.problem.slowed(name) for name in found}
    alone, crowded = found[COMMIT]
    commit = f"takes {duration(crowded.value)} instead of {duration(alone.value)}"
    told = f"With reads between them a commit {commit}"
    told += "" if slowed[COMMIT] > 1.0 else ", no difference shown"
    reads = {name: times for name, times in slowed.items() if name != COMMIT and times > 1.0}
    if not reads:
        return f"{told}; no read is shown to take longer beside commits."
    worst = max(reads, key=lambda name: reads[name])
    return (
        f"{told}; beside commits, reads of {_queries(list(reads))} take longer, `{worst}` {ratio(reads[worst], 1.0)}."
    )


def candidate_said(who: Candidate) -> str:
    """Return a candidate's name with its store."""
    return f"{TRUTH_SAID} ({who.store})" if who.truth else f"{who.name} ({who.store})"


def standing_said(advice: Advice, each: Standing) -> str:
    """Return what a candidate is best at, or that it is best at nothing, and what it can't answer and why."""
    who, many = each.candidate, len(advice.problem.queries)
    names = [*each.best, *each.only]
    if not who.answers:
        told = "answers none of the queries"
    elif len(advice.standings) == 1:
        told = "the only candidate"
    elif each.nothing:
        told = f"best at nothing: {_slower(each)}"
    elif each.lone_merit and not who.truth:
        told = f"its only merit is `{each.lone_merit}`, which no other can answer; {_slower(each)}"
    elif len(names) == many:
        told = "best at every query, or as good as the best"
    elif names:
        told = f"best, or as good as the best, at {_queries(names)}"
    else:
        told = "shown to be best at nothing"
    if each.blind and len(advice.standings) > 1:
        told += f"; too few samples to tell how it compares at {_queries(each.blind)}"
    told = f"{candidate_said(who)}: {told}"
    return f"{told}. {cannot_said(advice, each)}" if each.cannot else f"{told}."


def _queries(names: Sequence[str]) -> str:
    return listed([f"`{name}`" for name in names])


def _slower(each: Standing) -> str:
    """Return how many times as fast others answer what a candidate isn't best at."""
    times = sorted(factor for _, factor in each.beside.values())
    low, high = ratio(times[0], 1.0), ratio(times[-1], 1.0)
    span = low if low == high else f"{low.removesuffix(' times')} to {high}"
    if len(times) == 1:
        return f"another answers `{next(iter(each.beside))}` {span} as fast"
    return (
        f"in each of the {'other ' if each.only else ''}{len(times)} queries that it answers, another is {span} as fast"
    )


def cannot_said(advice: Advice, each: Standing) -> str:
    """Return what a candidate can't answer, why, and what could."""
    reasons: dict[str, list[str]] = {}
    for query, why in each.cannot.items():
        reasons.setdefault(why, []).append(query)
    kinds = advice.problem.kinds
    told = []
    for why, queries in reasons.items():
        if why in (WRONG, UNCHECKED, FAILED, UNTIMED):
            told.append(f"It has no time of {_queries(queries)}: {why}.")
            continue
        if why == NOT_ASKED:
            told.append(f"It isn't asked {_queries(queries)}: the projection's `queries` leave it out.")
            continue
        able = dict.fromkeys(remedy(kinds[query]) for query in queries if query in kinds)
        way_out = f"; add {listed(list(able))}, or ask what it can answer" if able else ""
        told.append(f"It can't answer {_queries(queries)}{f' ({why})' if why else ''}{way_out}.")
    return " ".join(told)


def decider_said(advice: Advice, each: Decider) -> str:
    """Return that a query alone decides, and what would happen without it."""
    answer, without = advice.answer, each.without
    assert answer is not None
    why = f"; {listed(list(each.only))} would be there for it alone" if each.only else ""
    then = f"without it {stores_said(without)} would do"
    fewer = len(answer.members) - len(without.members)
    same = Portfolio(without.problem, answer.members, {query: answer.assigned[query] for query in without.assigned})
    gain = quicker_said(without, same) if without.cost < same.cost else ""
    rest = [f"with {plural(fewer, 'projection')} less"] if fewer > 0 else []
    rest += [gain] if gain else []
    return f"`{each.query}` alone decides the fewest{why}: {then}{', ' if rest else ''}{', '.join(rest)}."


def merits_said(advice: Advice) -> list[str]:
    """Return of each projection of an answer that it is best at nothing, or there for one query alone."""
    told, found = set(), []
    known = {each.candidate.name: each for each in advice.standings}
    for _, each in answers(advice):
        for who in each.members:
            standing = known[who.name]
            if who.name in told:
                continue
            if (standing.lone_merit and not who.truth) or standing.nothing:
                told.add(who.name)
                found.append(standing_said(advice, standing))
                continue
            mine = [query for query, other in each.assigned.items() if other.name == who.name]
            if len(mine) == 1 and len(each.assigned) > 1:
                told.add(who.name)
                found.append(f"In {portfolio_said(each)}, {who.name} is there for {_queries(mine)} alone.")
    return found
