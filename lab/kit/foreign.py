"""`lab check --exec`: try a consumer of any language, which is a process that speaks the protocol of `wire`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lab.checks import CHECKS
from lab.kit import trial
from lab.kit.apart import PATIENCE
from lab.kit.check import HISTORIES, SECONDS, Effort, Result, TrialOptions, Verdict, judge
from lab.kit.driver import Driver
from lab.kit.exchange import Stock
from lab.kit.properties import tried
from lab.kit.remote import ConsumerHangs, Consumers, TrialRecorder
from lab.kit.settings import replayed
from lab.kit.watch import WATCH

# So many starts of the process aren't counted in the time for histories: the crashes of the least number of histories.
STARTS = 120
UNKEPT = 'its answer to `init` has no `"keeps": true`: it is unknown what a crash does'


@dataclass(frozen=True)
class TrialPace:
    """How much was tried: histories, the seconds that they took, starts of the process, seconds of the first start."""

    histories: int
    seconds: float
    starts: int
    start_seconds: float

    def text(self) -> str:
        """Return one line: how many histories, and how many a minute that is."""
        rate = self.histories / self.seconds * 60 if self.seconds else 0.0
        histories = f"{self.histories:,} histor{'y' if self.histories == 1 else 'ies'}"
        starts = f"{self.starts:,} start{'' if self.starts == 1 else 's'} of the process"
        return (
            f"{histories} in {self.seconds:.1f} s, {rate:,.0f} a minute; {starts}, "
            f"the first took {self.start_seconds:.2f} s"
        )


def check_exec(
    command: str,
    seed: int,
    histories: int | None = None,
    patience: float = PATIENCE,
    seconds: float | None = None,
    delivery: str = "out-of-order",
    properties: Sequence[str] = (),
    watch: Callable[[str, bytes], None] | None = None,
) -> tuple[Result, TrialPace]:
    """Try the consumer that a command line starts, and return the verdicts and how much was tried.

    `seconds`, `delivery` and `properties` are as in `TrialOptions`. An answer that takes longer than `patience` seconds
    is a failure. `watch` is shown every line of the protocol. Raises BadInput for a program that isn't found, that ends
    before it has answered, or whose answers are none.
    """

    def again(seed: int, rounds: int) -> str:
        return f"lab check --exec {shlex.quote(command)} {replayed(delivery, properties, seed, rounds)}"

    with Stock(command, patience, watch) as stock:
        consumers = Consumers(stock, seed)
        consumers.meet()
        options = TrialOptions(seed, histories, properties, consumers.shape, delivery=delivery, seconds=seconds)
        options.unable = _unable(consumers.keeps, delivery)
        if histories is None and seconds is None:
            options.seconds = limit(stock.start_seconds)
        began = time.monotonic()
        with _followed() as latest:
            try:
                result = judge(consumers, options, command, again)
            except ConsumerHangs as error:
                names = tuple(properties) or tried(delivery)
                result = _hung(error, latest.step, names, command, again(seed, WATCH.number + 1))
                longest = 0 if error.case is None else len(error.case.history.changes)
                result = replace(result, effort=Effort(delivery, WATCH.number + 1, histories or HISTORIES, longest))
        return result, TrialPace(consumers.trials, time.monotonic() - began, stock.started, stock.start_seconds)


def limit(start_seconds: float) -> float:
    """Return for how many seconds histories are tried unless it is said: longer where a start takes long."""
    return SECONDS + round(STARTS * start_seconds)


def _unable(keeps: bool, delivery: str) -> dict[str, str]:
    """Return why what needs a method of a projector in Python can't be known of a program, by the method."""
    found = {"twin": "a program has no twin: it is unknown what a second owner of the same store does"}
    if not keeps:
        found["reopen"] = UNKEPT
    elif delivery == "in-order":
        found["reopen"] = "a program names no checkpoint: a feed in order can't know where it goes on after a crash"
    return found


@dataclass
class LatestStep:
    """The step at which the check is."""

    step: int = 0


@contextmanager
def _followed() -> Iterator[LatestStep]:
    """Follow the steps of the trials while the block runs."""
    latest, former = LatestStep(), WATCH.tell

    def note(prop: str, number: int, step: int) -> None:
        latest.step = step

    WATCH.tell = note
    try:
        yield latest
    finally:
        WATCH.tell = former


def _hung(error: ConsumerHangs, last: int, properties: Sequence[str], command: str, again: str) -> Result:
    """Return the result of a check that a consumer without an answer has ended: its story up to there."""
    prop = WATCH.prop
    lines = [f"{CHECKS[prop].anomaly}: the projector {error.why}"]
    if error.case is not None:
        told = trial.run(lambda: Driver(TrialRecorder()), error.case).lines
        lines += [f"  {who:<9}  {what}" for step, who, what, _ in told if step <= last]
    lines += [f"  {'projector':<9}  {error.why}"]
    lines += [f"  {'' if index else 'stderr':<9}  {line}" for index, line in enumerate(error.printed)]
    unknown = Verdict("", "unknown", f"the check ended: see {prop}")
    verdicts = [
        Verdict(name, "fail", "\n".join(lines), raised=True, hangs=True)
        if name == prop
        else replace(unknown, prop=name)
        for name in properties
    ]
    return Result(command, tuple(verdicts), again)
