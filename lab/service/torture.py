"""`lab torture`: kill the service's processes repeatedly while commands keep coming.

The front, the executor and every projection get SIGKILL at moments drawn from the seed; the front's supervisor starts
its parts again, and the torture starts the front. `lab.service.aftermath` then counts what is left.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from lab.base import TRUTH, BadInput, Problem, stream
from lab.domain.model import Command
from lab.scenario import refuse
from lab.service.aftermath import TortureLedger, judge, request_key
from lab.service.liveonly import of_live_runs
from lab.service.local import LocalService
from lab.service.supervisor import ProgramFailed
from lab.statistics.quantiles import reached
from lab.wiring import Plan

# Most processes are killed at work: seconds after they first answered, drawn evenly, or after being silent for so long.
# A share of them is killed while they start or recover. The executor and the front live longer, so that changes come.
AT_WORK, EXECUTING, SILENT, STARTING, EARLY = (0.0, 0.6), (0.1, 3.0), 60.0, (0.2, 2.0), 0.2
# All parts end with the front and start again: it is killed once for so many kills of each part.
FRONT, FRONT_EVERY = "front", 10
# At most so many are starting again after a kill at one moment: with more, hardly anything would be at work.
DOWN_MAX = 6
# Seconds between two looks at the processes; and in which the projections must catch up at the end.
LOOK, CATCHES_UP = 0.1, 600.0
# Seconds to wait for the answer to a command before it is sent again, and for a process after its last kill.
ANSWER_SECONDS = 60.0


@dataclass
class Victim:
    """One process to be killed `wanted` times. `recovered`: seconds from each kill until the next process listens.

    That is when it accepts requests: its files are open, and a source of truth has read its events. A projection may
    still be catching up then.
    """

    name: str
    wanted: int
    work: tuple[float, float]
    kills: int = 0
    # Of them: before the process listened, so while it was starting or recovering.
    early: int = 0
    starts: int = 0
    recovered: list[float] = field(default_factory=list)
    fate: tuple[bool, float] = (False, 0.0)
    pid: int | None = None
    _killed: int | None = None
    _started_at: float = 0.0
    _listened_at: float | None = None
    _killed_at: float | None = None

    def draw(self, rng: np.random.Generator) -> None:
        """Draw whether the next process dies while it starts, and after how many seconds of its start or its work."""
        early = bool(rng.random() < EARLY)
        self.fate = early, float(rng.uniform(*(STARTING if early else self.work)))

    def see(self, pid: int | None, listens: bool) -> None:
        """Note what the supervisor reports: the present process, and whether it listens."""
        now = time.monotonic()
        if pid is None or pid == self._killed:
            return
        if pid != self.pid:
            self.pid, self._started_at, self._listened_at = pid, now, None
            self.starts += 1
        if listens and self._listened_at is None:
            self._listened_at = now
            if self._killed_at is not None:
                self.recovered.append(now - self._killed_at)
                self._killed_at = None

    @property
    def awaited(self) -> bool:
        """True while there are kills to come, or (for `ANSWER_SECONDS`) until one listens after the last kill."""
        silent = self._killed_at is not None and time.monotonic() - self._killed_at < ANSWER_SECONDS
        return self.kills < self.wanted or silent

    @property
    def down(self) -> bool:
        """True from a kill until the next process listens."""
        return self._killed_at is not None

    @property
    def due(self) -> bool:
        """True when the present process has lived as long as was drawn."""
        if self.pid is None or self.kills >= self.wanted:
            return False
        (early, after), now = self.fate, time.monotonic()
        at_work = self._listened_at is not None and now - self._listened_at >= after
        return now - self._started_at >= (after if early else SILENT) or (at_work and not early)

    def kill(self) -> None:
        """SIGKILL; a process that has just ended by itself is not counted."""
        assert self.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            self.kills += 1
            self.early += self._listened_at is None
            # Its predecessor may have died before it answered: then the silence began with that death.
            self._killed_at = self._killed_at or time.monotonic()
        self._killed, self.pid = self.pid, None


class Sender(threading.Thread):
    """Sends commands one after the other, each under an Idempotency-Key of its number, again until it is answered.

    After a failure the command that was acknowledged last is sent once more: it must get the same answer.
    """

    def __init__(
        self, service: LocalService, commands: Iterable[Command], rate: float, ledger: TortureLedger, workload: str
    ) -> None:
        super().__init__(daemon=True)
        self.workload = workload
        self.service, self.commands, self.rate, self.ledger = service, commands, rate, ledger
        self.stopping = threading.Event()

    def run(self) -> None:
        """Send until there are no more commands, or `stopping` is set."""
        connection: http.client.HTTPConnection | None = None
        former: tuple[int, Command] | None = None
        due = time.monotonic()
        for order in enumerate(self.commands):
            waiting = [order]
            while waiting and not self.stopping.is_set():
                try:
                    if connection is None:
                        connection = http.client.HTTPConnection(
                            urlsplit(self.service.url).netloc, timeout=ANSWER_SECONDS
                        )
                    answered = self._sent(connection, *waiting[0])
                except (OSError, http.client.HTTPException, ValueError):
                    answered = False
                if answered:
                    former = waiting.pop(0)
                    continue
                if connection is not None:
                    connection.close()
                    connection = None
                waiting = [*([former] if former else []), order]
                self.stopping.wait(0.02)
                due = time.monotonic()
            due += 1 / self.rate
            if self.stopping.wait(max(0.0, due - time.monotonic())):
                break
        if connection is not None:
            connection.close()

    def _sent(self, connection: http.client.HTTPConnection, number: int, command: Command) -> bool:
        body = {"command": command.name, "key": command.key, "fields": dict(command.fields)}
        headers = {"Content-Type": "application/json", "Idempotency-Key": request_key(self.workload, number)}
        text = json.dumps(body | {"expected": command.expected})
        connection.request("POST", f"/commands/{quote(command.entity)}", text, headers)
        response = connection.getresponse()
        found = json.loads(response.read())
        if "outcome" in found:
            self.ledger.hear(number, found["outcome"], found["position"])
            return True
        if response.status != 503:
            self.ledger.contradictions.append(f"request {number} was answered {response.status}: {found['detail']}")
            self.stopping.set()
        return False


def killings(kills: int, projections: int) -> int:
    """How many kills a torture takes: `kills` of the executor and each projection, and those of the front."""
    return kills * (1 + projections) + -(-kills // FRONT_EVERY)


def torture(
    plan: Plan, scenario: list[str], kills: int, rate: float, done: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Kill the executor and each projection `kills` times, the front less often; returns the verdict and their rows.

    `scenario` are the arguments that name the plan's scenario to `lab serve`; `rate` is in commands a second; `done` is
    told how many kills there were. Raises BadInput for a scenario that can't be judged afterwards.
    """
    _judgeable(plan)
    parts = [Victim(item.name, kills, AT_WORK) for item in plan.projections]
    victims = [Victim(TRUTH, kills, EXECUTING), *parts, Victim(FRONT, -(-kills // FRONT_EVERY), EXECUTING)]
    ledger, began, problems = TortureLedger(), time.monotonic(), []
    commands = plan.domain.workload(plan.options, stream(plan.scenario.seed, "workload"))
    # What can't be removed must not hide the result, or the error that ends it.
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as made:
        folder = Path(made) / "files"
        # Below the same folder, the sockets of a killed front go too.
        service = LocalService(scenario, folder, environment={"TMPDIR": made})
        sender = Sender(service, commands, rate, ledger, plan.workload_digest)
        try:
            with service:
                sender.start()
                _kill(victims, service, sender, stream(plan.scenario.seed, "torture"), done)
                sender.stopping.set()
                sender.join()
                if not service.caught_up(CATCHES_UP):
                    problems.append(f"not every projection had caught up after {CATCHES_UP:g} s")
        except ProgramFailed as error:
            problems.append(str(error))
        finally:
            sender.stopping.set()
        tortured = time.monotonic() - began
        if held := service.let_go(CATCHES_UP):
            # What can change meanwhile can't be judged.
            raise ProgramFailed(f"{', '.join(held)}: still at work {CATCHES_UP:g} s after the service had ended")
        found = judge(plan, folder, ledger, problems)
    found["problems"] += [
        f"{one.name} was killed {one.kills} times, and not {one.wanted}" for one in victims if one.kills < one.wanted
    ]
    rows = [_row(victim, counted) for victim, counted in zip(victims, found["processes"], strict=True)]
    verdict = "fail" if found["problems"] else "pass"
    return found | {"verdict": verdict, "processes": rows, "tortured_seconds": tortured}


def _judgeable(plan: Plan) -> None:
    refuse(of_live_runs(plan))
    if plan.scenario.truth.model == "snapshot":
        what = "a snapshot can't show that each command is there exactly once: it keeps the last one of each record"
        raise BadInput([Problem("truth.model", what, 'set truth.model to "history" or "events"')])
    if plan.domain.has_trace:
        what = f"`{plan.domain.name}` replays a history of its own and takes no commands"
        raise BadInput([Problem("domain.name", what, 'use a scenario of "employees"')])
    what, way_out = "hears messages alone: those that go by while it is dead are lost", "subscribe by catch-up or both"
    if deaf := [item.name for item in plan.projections if item.table.subscribe == "channel"]:
        raise BadInput([Problem(f"projection.{name}.subscribe", what, way_out) for name in deaf])


def _kill(
    victims: list[Victim],
    service: LocalService,
    sender: Sender,
    rng: np.random.Generator,
    done: Callable[[int], None],
) -> None:
    """Let each live for a while and kill it, until each was killed so often and listens; others go on meanwhile."""
    for victim in victims:
        victim.draw(rng)
    front = victims[-1]
    front.see(service.process.pid, listens=True)
    while sender.is_alive() and any(victim.awaited for victim in victims):
        time.sleep(LOOK)
        if (why := service.failed()) is not None:
            raise ProgramFailed(why)
        with contextlib.suppress(OSError, ValueError):
            # The front knows this without asking its parts, one of which is nearly always too busy to answer.
            found = service.get("/health", timeout=5.0)
            for victim in victims[:-1]:
                victim.see(found["pids"][victim.name], found["processes"][victim.name] == "running")
        # The one that was killed least often comes first, so that all are under way to the end.
        for victim in sorted(victims, key=lambda one: one.kills / one.wanted):
            if victim.due and (victim.down or sum(one.down for one in victims) < DOWN_MAX):
                victim.kill()
                victim.draw(rng)
                done(sum(one.kills for one in victims))
        if front.pid is None:
            # Its parts end by themselves; the next ones wait until those have let go of the files.
            service.kill()
            service.start()
            front.see(service.process.pid, listens=True)


def _row(victim: Victim, counted: dict[str, Any]) -> dict[str, Any]:
    times = victim.recovered
    return {
        "process": victim.name,
        "store": counted["store"],
        "kills": victim.kills,
        "early_kills": victim.early,
        "starts": victim.starts,
        "rows": counted["rows"],
        "lost": counted["lost"],
        "doubled": counted["doubled"],
        "recovery_p50_seconds": reached(times, 0.5),
        "recovery_max_seconds": max(times, default=None),
    }
