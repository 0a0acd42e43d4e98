"""The process of the trials: `python -m lab.conformance FOLDER` reads jobs there, and writes what came of each.

It imports what the jobs need, opens no store, and starts no thread, so that it can fork: each trial, and each process
that is to die, is a fork of it. That costs a few milliseconds, and a new interpreter half a second.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from pathlib import Path

from lab.conformance.crashes import Death, count, deaths, look_after, run_and_die
from lab.conformance.faithful import ValueTrial
from lab.conformance.job import JOBS, RESULTS, Conformance, ConformanceJob, TrialResult
from lab.conformance.operations import Script, script
from lab.conformance.values import told

# A process that takes longer is ended: it hangs.
SECONDS_MAX = 60
STOPPED = f"it was stopped after {SECONDS_MAX} s"
# How a process ends that dies where it is to die.
KILLED = signal.SIGKILL.name

Work = Callable[[], None]
# Yields what processes are to do, and is continued with how each ended, once all have; nothing is said of a good end.
Steps = Generator[list[Work], list[str], TrialResult]


def crashes(job: ConformanceJob, folder: Path) -> Steps:
    """Try deaths: one process counts the steps of each operation, others die at some, one looks after them all."""
    kept, steps, out = folder / "script.pickle", folder / "steps.pickle", folder / "crashes.json"

    def counting() -> None:
        made = script(job.layout, job.policy, job.hold, job.seed)
        kept.write_bytes(pickle.dumps(made))
        steps.write_bytes(pickle.dumps(count(job.store(folder / "counted"), made)))

    def dying(number: int, death: Death) -> Work:
        name = f"death-{number}"
        return lambda: run_and_die(
            job.store(folder / name), pickle.loads(kept.read_bytes()), death, folder / f"{name}.steps"
        )

    def looking() -> None:
        done: Script = pickle.loads(kept.read_bytes())
        faults: list[str] = []
        for number, death in enumerate(chosen):
            confirmed = (folder / f"death-{number}.steps").stat().st_size
            faults += look_after(job.store(folder / f"death-{number}"), done, death, confirmed)
        out.write_text(json.dumps(list(dict.fromkeys(faults))))

    (ended,) = yield [counting]
    if ended:
        return _failed("without any crash it fails", ended, job)
    chosen = deaths(pickle.loads(steps.read_bytes()), job.seed, job.thorough)
    ends = yield [dying(number, death) for number, death in enumerate(chosen)]
    for number, end in enumerate(ends):
        if end != KILLED:
            return _failed("while it is written to it fails", end or "it ended before it was killed", job)
        if not (folder / f"death-{number}.steps").exists():
            return TrialResult(unknown="a process was killed from outside", transient=True)
    (ended,) = yield [looking]
    if ended:
        return _failed("opened after crashes it fails", ended, job)
    return TrialResult(json.loads(out.read_text()))


def values(job: ConformanceJob, folder: Path) -> Steps:
    """Try awkward values."""
    out = folder / "values.json"

    def work() -> None:
        faults = ValueTrial(job.store(folder / "values"), job.policy, job.hold, job.queries, job.seed).faults()
        out.write_text(json.dumps(faults))

    (ended,) = yield [work]
    if ended:
        return _failed("awkward values end its process", ended, job)
    return TrialResult(json.loads(out.read_text()))


def _failed(what: str, ended: str, job: ConformanceJob) -> TrialResult:
    """What a process that failed says of the store. A timeout proves nothing about it, so the result is unknown."""
    if ended == STOPPED:
        return TrialResult(unknown=ended, transient=True)
    return TrialResult([f"{what}: {ended} ({job.store_class.name})"])


def no_crashes(job: ConformanceJob) -> Steps:
    """Try no deaths: nothing outlives the process."""
    yield []
    return TrialResult(unknown=f"does not apply: {job.store_class.durability}")


class Forks:
    """Runs the work of several trials in forks of this process, as many at a time as there are processors."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[tuple[int, int, Work]] = deque()
        self._running: dict[int, tuple[int, int]] = {}
        self._ends: dict[int, list[str]] = {}
        self._left: dict[int, int] = {}

    def results(self, trials: Sequence[Steps]) -> list[TrialResult]:
        """What each trial found."""
        found: dict[int, TrialResult] = {}

        def go_on(number: int, ends: list[str] | None) -> None:
            try:
                work = trials[number].send(ends)  # type: ignore[arg-type]
            except StopIteration as stop:
                found[number] = stop.value
                return
            self._ends[number], self._left[number] = [""] * len(work), len(work)
            if not work:
                go_on(number, [])
            self._waiting.extend((number, place, one) for place, one in enumerate(work))

        for number in range(len(trials)):
            go_on(number, None)
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._most:
                number, place, work = self._waiting.popleft()
                self._running[_forked(work)] = number, place
            pid, status = os.wait()
            number, place = self._running.pop(pid)
            self._ends[number][place] = _end(pid, status)
            self._left[number] -= 1
            if not self._left[number]:
                go_on(number, self._ends[number])
        return [found[number] for number in range(len(trials))]


def _forked(work: Work) -> int:
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(SECONDS_MAX)
    try:
        work()
    except BaseException as error:
        _said(os.getpid()).write_text(told(error))
        os._exit(1)
    os._exit(0)


def _said(pid: int) -> Path:
    """Where a fork says why it failed."""
    return Path(sys.argv[1]) / f"failed-{pid}"


def _end(pid: int, status: int) -> str:
    """How a fork ended, in words; nothing if it ended well."""
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return STOPPED
    if code < 0:
        return signal.Signals(-code).name
    return _said(pid).read_text() if code and _said(pid).exists() else f"exit status {code}" if code else ""


def main(folder: Path) -> None:
    """Make all trials of the jobs in a folder; what several of them have in common is tried once.

    The trial of values is shared by projections with the same layout and queries; that of crashes by those with the
    same store, `keeps`, durability, and memory of a guard or none.
    """
    jobs: list[ConformanceJob] = pickle.loads((folder / JOBS).read_bytes())
    trials: dict[object, Steps] = {}
    pairs: list[tuple[object, object]] = []
    for number, job in enumerate(jobs):
        mine = folder / str(number)
        mine.mkdir()
        # Drivers are imported here, once for all forks.
        store = job.store_class
        memory = store.capabilities.durability == "memory"
        kept = (store, job.layout.keeps, job.layout.durability, bool(job.layout.memory))
        whole = (store, pickle.dumps((job.layout, job.queries)))
        trials.setdefault(whole, values(job, mine))
        trials.setdefault(kept, no_crashes(job) if memory else crashes(job, mine))
        pairs.append((whole, kept))
    found = dict(zip(trials, Forks(os.cpu_count() or 1).results(list(trials.values())), strict=True))
    both = [Conformance(found[whole], found[kept]) for whole, kept in pairs]
    (folder / RESULTS).write_text(json.dumps([asdict(one) for one in both]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
