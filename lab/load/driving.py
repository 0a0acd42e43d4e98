"""Locust, run headless against a service until the load is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired

import psutil

from lab.servers.processes import free_port
from lab.service.supervisor import Program, ProgramFailed

# Seconds between two looks at the service while Locust runs.
LOOK = 0.5
# Seconds that a load may take beyond its requests and the wait for what is under way: on a busy machine, workers are
# slow to start.
SLACK = 120.0

# Seconds in which all workers must have been seen: one that died before can't be told from one that is yet to come.
STARTS = 120.0

LOCUSTFILE = Path(__file__).parent / "users.py"


@dataclass(frozen=True)
class Order:
    """What to offer. With a rate, arrivals a second over all workers (open loop); without, `users` that wait.

    `seconds` is how long; `commands` the share of arrivals that are commands. After `probe_timeout` seconds a probe
    gives up, and what is under way at the end is waited for `drain` seconds at most.
    """

    rate: float = 0.0
    seconds: float = 30.0
    users: int = 8
    processes: int = 2
    commands: float = 0.5
    probe_timeout: float = 10.0
    drain: float = 10.0


@dataclass
class Workers:
    """The worker processes of a Locust, to see whether one ended before it had closed its log."""

    locust: Program
    processes: int
    events: Path
    seen: set[int] = field(default_factory=set)
    began: float = field(default_factory=time.monotonic)

    def lost(self) -> str | None:
        """Return what is wrong with a load that lacks a worker, whose counts can't be had any more; None otherwise."""
        now = self._now()
        gone, self.seen = self.seen - now, self.seen | now
        if not gone and len(self.seen) < self.processes and time.monotonic() - self.began > STARTS:
            return f"only {len(self.seen)} of {self.processes} workers of Locust have started in {STARTS:g} s"
        if not gone:
            return None
        # Read after the processes: a worker closes its log before it ends.
        closed = sum(_closed(self.events / f"events-{number}.ndjson") for number in range(self.processes))
        if len(gone) <= closed:
            return None
        return f"{len(gone) - closed} of {self.processes} workers of Locust ended early: the load is incomplete"

    def _now(self) -> set[int]:
        """The ids of the workers that run; those that were there, once the master is gone, which is told by itself."""
        try:
            children = psutil.Process(self.locust.process.pid).children()
            found = {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}
        except psutil.Error:
            return self.seen
        return found if self.locust.process.poll() is None else self.seen


def _closed(log: Path) -> bool:
    """Return whether a worker's log has its last line."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65_536))
            return b'"end": true' in file.read()
    except OSError:
        return False


def drive(url: str, order: Order, seed: int, events: Path, failed: Callable[[], str | None] = lambda: None) -> None:
    """Run Locust until the load is over; its workers write to the folder `events`. Raises ProgramFailed.

    `failed` is asked again and again; a load for which it has an answer is over at once, with that reason.
    """
    closed = order.rate <= 0
    users = max(order.users, order.processes) if closed else order.processes
    # A load ends by itself (`lab.load.users.quit_when_over`); Locust's own limit is for one that doesn't.
    lasts = order.seconds + order.drain + SLACK
    port = str(free_port())
    arguments = [
        "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--host", url,
        "--users", str(users), "--spawn-rate", str(users), "--processes", str(order.processes),
        "--run-time", f"{max(1, round(lasts))}s", "--stop-timeout", f"{max(1, round(order.drain))}",
        "--exit-code-on-error", "0", "--csv", str(events / "stats"), "--only-summary",
        # Several loads on one machine must not meet at Locust's usual port.
        "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port,
    ]  # fmt: skip
    environment = {
        "LAB_RATE": str(order.rate), "LAB_SECONDS": str(order.seconds),
        "LAB_EVENTS": str(events), "LAB_SEED": str(seed), "LAB_COMMANDS": str(order.commands),
        "LAB_PROBE_TIMEOUT": str(order.probe_timeout), "LAB_DRAIN": str(order.drain), "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    locust = Program(arguments, events / "locust.log", environment, events, quiet=True)
    locust.start()
    workers = Workers(locust, order.processes, events)
    try:
        status = _awaited(locust, lasts + SLACK, lambda: failed() or workers.lost())
    except BaseException:
        # Its workers share its session.
        locust.kill()
        raise
    locust.stop()
    if status:
        raise ProgramFailed(f"Locust ended with {status}: {locust.last_words()}")


def _awaited(locust: Program, seconds: float, failed: Callable[[], str | None]) -> int:
    """Wait for the exit status. Raises ProgramFailed for a load that failed, or doesn't end."""
    until = time.monotonic() + seconds
    while True:
        try:
            return locust.process.wait(LOOK)
        except TimeoutExpired:
            if (why := failed()) is not None:
                raise ProgramFailed(why) from None
            if time.monotonic() > until:
                raise ProgramFailed(f"Locust did not end: {locust.last_words()}") from None
