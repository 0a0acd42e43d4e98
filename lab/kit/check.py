"""Test a projector with many small histories for each property, and reduce failures to the smallest witness."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from time import monotonic
from typing import Any

from lab.base import BadInput, Problem
from lab.checks import CHECKS
from lab.kit import views
from lab.kit.history import Shape
from lab.kit.outcome import TrialOutcome
from lab.kit.properties import PROPERTIES, tried
from lab.kit.property import promised
from lab.kit.reader import Observer, Violation
from lab.kit.reduce import reduce
from lab.kit.script import TrialCase
from lab.kit.telling import told
from lab.kit.trial import run
from lab.kit.watch import WATCH
from lab.kit.witness import witness

SEED = 1087
# On how many histories each property is tried, and how many are enough to say that it holds.
HISTORIES, LEAST = 100, 30
# A projector in a slow engine is tried on fewer histories within these seconds, unless their number is given.
SECONDS = 30.0


@dataclass(frozen=True)
class Verdict:
    """The verdict on one property. `deliveries` counts those of the witness, `tried` the histories.

    `hangs`: the projector, or its process, did not return.
    """

    prop: str
    verdict: str
    witness: str = ""
    deliveries: int = 0
    tried: int = 0
    raised: bool = False
    hangs: bool = False

    @property
    def advice(self) -> str:
        """Return the advice for a failure."""
        if self.hangs:
            return (
                "Find what it waits for: a lock or a transaction that it holds itself, an answer that never comes, a "
                "loop without an end. Set a timeout there; --set patience=SECONDS allows more time."
            )
        if self.raised and self.prop == "converged":
            return "Mend the exception first: it comes without anything repeated, lost or out of order."
        return CHECKS[self.prop].advice


@dataclass(frozen=True)
class Effort:
    """How much was tried: so many histories `of` so many for each property, the longest of so many changes.

    `seconds` is the limit that ended it early, and 0 if none did. `notes` say what was understood of the rows.
    """

    delivery: str = "out-of-order"
    histories: int = 0
    of: int = 0
    longest: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return one line: how many histories, and the longest."""
        early = f" within {self.seconds:g} s (more: --set seconds=N)" if self.seconds else ""
        return (
            f"{self.histories:,} of {self.of:,} histories for each property{early}, the longest of "
            f"{self.longest:,} changes"
        )


@dataclass(frozen=True)
class Result:
    """All verdicts on a projector, and the command that repeats the check."""

    name: str
    verdicts: tuple[Verdict, ...]
    replay: str
    effort: Effort = Effort()

    @property
    def verdict(self) -> str:
        """Fail if any property fails. What can't be known for want of a method alone changes nothing."""
        found = {item.prop: item.verdict for item in self.verdicts}
        if "fail" in found.values():
            return "fail"
        rest = [verdict for prop, verdict in found.items() if not PROPERTIES[prop].needs]
        return "unknown" if "unknown" in rest else "pass"

    def document(self) -> dict[str, Any]:
        """The result as a JSON document: `verdict`, `verdicts`, `effort` and the `replay` command."""
        rows = [{"property": item.prop, "verdict": item.verdict, "witness": item.witness} for item in self.verdicts]
        return {"verdict": self.verdict, "verdicts": rows, "effort": asdict(self.effort), "replay": self.replay}

    def text(self) -> str:
        """The result as text: a line for each property, with witness and advice below each that fails."""
        width = max(len(item.prop) for item in self.verdicts)
        lines: list[str] = []
        for item in self.verdicts:
            why = "" if item.verdict != "unknown" else f"  {item.witness}"
            lines.append(f"{item.prop:<{width}}  {item.verdict}{why}")
            if item.verdict == "fail":
                lines += [f"    {line}" for line in item.witness.splitlines()]
                lines += [f"    what to do: {item.advice}", ""]
        lines += [*self.effort.notes, self.effort.text()]
        promise = promised(self.effort.delivery)
        return "\n".join([*lines, f"{self.verdict} {promise}; again with: {self.replay}"])


@dataclass
class TrialOptions:
    """How much is tested. `histories` of None: the default, or fewer for a projector that takes longer than `seconds`.

    `properties` are those to be tried; without any, all that can be asked where the feed promises `delivery`.
    """

    seed: int = SEED
    histories: int | None = None
    properties: Sequence[str] = ()
    shape: Shape = field(default_factory=Shape)
    recreate: bool = False
    snapshot: bool = False
    restarts: bool = True
    twins: bool = True
    checkpoints: bool = True
    delivery: str = "out-of-order"
    seconds: float | None = None
    # Why what needs a method can't be known, in other words than these.
    unable: Mapping[str, str] = field(default_factory=dict)

    def lacking(self, needs: str) -> str:
        """Return why a property that needs a method can't be known; an empty text if it can."""
        if needs in self.unable:
            return self.unable[needs]
        if needs == "reopen" and not self.restarts:
            return "no reopen(): it is unknown what a restart does"
        if needs == "reopen" and self.delivery == "in-order" and not self.checkpoints:
            return "no checkpoint(): a feed in order can't know where it goes on after a crash"
        if needs == "twin" and not self.twins:
            return "no twin(): it is unknown what a second owner of the same store does"
        return ""


def judge(make: Callable[[], Any], options: TrialOptions, name: str, replay: Callable[[int, int], str]) -> Result:
    """Test all properties round by round, so that they share a limited time equally.

    `replay` says how to do it again, from the seed and the number of rounds.
    """
    wanted = HISTORIES if options.histories is None else options.histories
    limit = options.seconds or (SECONDS if options.histories is None else math.inf)
    trials = {
        prop: _Trial(make, prop, options) for prop in options.properties or tried(options.delivery, options.shape)
    }
    began, rounds, early = monotonic(), 0, False
    while rounds < wanted and not early:
        for trial in trials.values():
            trial.once(rounds)
        rounds += 1
        early = rounds < wanted and monotonic() - began > limit
    verdicts = _verdicts(trials, limit)
    if early and rounds < LEAST:
        why = f"tried on {rounds} of {wanted} histories within {limit:g} s, too few to say (more: --set seconds=N)"
        verdicts = [
            replace(item, verdict="unknown", witness=why) if item.verdict == "pass" else item for item in verdicts
        ]
    longest = max((trial.longest for trial in trials.values()), default=0)
    notes = (*sorted(set[str]().union(*(trial.notes for trial in trials.values()))), *_unjudged(trials, options.shape))
    effort = Effort(options.delivery, rounds, wanted, longest, limit if early else 0.0, notes)
    return Result(name, tuple(verdicts), replay(options.seed, rounds), effort)


def _verdicts(trials: Mapping[str, _Trial], limit: float) -> list[Verdict]:
    """The verdicts. Failures are reduced for as long as histories are tried, and share that time equally.

    What raises when everything comes once and in order raises elsewhere too, so then that alone is reduced.
    """
    first = trials.get("converged")
    broken = first is not None and first.raised
    why = "it raises when everything comes once and in order: see converged"
    waiting = sum(trial.failed is not None and not (broken and trial.raised) for trial in trials.values()) + broken
    end = monotonic() + limit
    verdicts = []
    for prop, trial in trials.items():
        if broken and trial.raised and trial is not first:
            verdicts.append(Verdict(prop, "unknown", why, tried=trial.tried, raised=True))
        elif trial.failed is None:
            verdicts.append(trial.verdict())
        else:
            now = monotonic()
            verdicts.append(trial.verdict(now + max(end - now, 0.0) / waiting))
            waiting -= 1
    return verdicts


def _unjudged(trials: Mapping[str, _Trial], shape: Shape) -> list[str]:
    """A note about the columns that were in no row. Those of groups and joins are judged."""
    found = set[str]().union(*(trial.columns for trial in trials.values()))
    absent = [f"`{name}`" for name, _ in shape.columns if name not in found]
    if shape.view or not absent or not any(trial.compared for trial in trials.values()):
        return []
    return [f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} in no row: not judged"]


class _Trial:
    """One property with its result so far."""

    def __init__(self, make: Callable[[], Any], prop: str, options: TrialOptions) -> None:
        self.make, self.prop, self.options, self.made = make, prop, options, PROPERTIES[prop]
        self.failed: TrialCase | None = None
        self.tried = self.longest = 0
        self.notes: set[str] = set()
        # Whether any row had something besides its key that could be compared.
        self.compared = False
        self.shown = False
        # The columns of the rows, and whether it failed by an exception.
        self.columns: set[str] = set()
        self.raised = False

    def once(self, number: int) -> None:
        """Try one more history, unless it is known to fail."""
        options = self.options
        if self.failed or options.lacking(self.made.needs):
            return
        case = self.made.case(
            options.seed, number, options.shape, recreate=options.recreate, snapshot=options.snapshot,
            delivery=options.delivery,
        )  # fmt: skip
        self.tried += 1
        self.longest = max(self.longest, len(case.history.changes))
        WATCH.prop, WATCH.number = self.prop, number
        outcome = run(self.make, case, telling=False)
        self.notes |= outcome.notes
        for seen in outcome.seen[-1:]:
            self.shown = self.shown or bool(seen.rows)
            names = case.history.at(1).keys() | {"count"} if options.shape.view else case.history.at(1).keys()
            self.compared = self.compared or any(len(row.keys() & names) > 1 for row in seen.rows)
            self.columns |= names & set[str]().union(*seen.rows)
        if outcome.raised or self.look(outcome):
            self.failed, self.raised = case, bool(outcome.raised)

    def look(self, outcome: TrialOutcome) -> Violation | None:
        try:
            if self.options.shape.view:
                return views.look(Observer(outcome), lambda case: run(self.make, case, telling=False), self.prop)
            return self.made.look(Observer(outcome), lambda case: run(self.make, case, telling=False))
        except BadInput:
            raise
        except Exception as error:
            what = f"gives values that can't be compared: {told(error)}"
            raise BadInput([Problem("rows()", what, "give int, float, str, bool or None")]) from None

    def verdict(self, until: float = math.inf) -> Verdict:
        """Return the verdict. A failure is reduced until this time of the monotonic clock."""
        if why := self.options.lacking(self.made.needs):
            return Verdict(self.prop, "unknown", why)
        if self.failed is None:
            if self.shown and not self.compared:
                why = "rows() gives nothing but keys: there is no state to compare"
                return Verdict(self.prop, "unknown", why, tried=self.tried)
            return Verdict(self.prop, "pass", tried=self.tried)
        WATCH.prop, WATCH.number = self.prop, self.tried - 1
        known: dict[str, bool] = {}

        def fails(case: TrialCase) -> bool:
            words = repr((case.script, case.history.plan, case.page))
            if words not in known:
                if monotonic() > until:
                    self.notes.add(f"{self.prop}: to reduce the counter-example further takes longer (--set seconds=N)")
                    return False
                outcome = run(self.make, case, telling=False)
                seen = bool(outcome.raised) if self.raised else not outcome.raised and self.look(outcome) is not None
                known[words] = seen
            return known[words]

        least = reduce(self.failed, fails)
        outcome = run(self.make, least)
        text = witness(self.prop, outcome, self.look(outcome))
        return Verdict(self.prop, "fail", text, outcome.deliveries, self.tried, self.raised)
