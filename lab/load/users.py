"""Locust's users: open loop (arrivals at a rate) or closed loop (users that wait), with read-your-writes probes.

Locust is a program of its own: it loads this module (`locust -f`), and the rest of the package never imports it.

Rows: COMMAND; QUERY/<projection>/<query>; RYW/<projection>, from a command's answer until the projection shows its
record; RYW-CHECKPOINT/<projection>, from the same until everything up to it is in; SCHEDULE, how late the generator was
itself; NOT-SENT, arrivals for which there was nothing to send. Without LAB_EVENTS also LAG/<projection>, from commit
until applied, as the projection's process reports it.

Without LAB_RATE users wait for each answer (closed loop). With it, arrivals come at that rate whatever the answers do
(open loop): one user for each worker draws them, and a row's time begins when its request was meant to start.

Environment: LAB_RATE, arrivals a second over all workers (0: closed loop); LAB_SECONDS, how long requests come (without
it, until Locust stops); LAB_EVENTS, the folder for each worker's log; LAB_SEED; LAB_TOKEN; LAB_COMMANDS, the share of
commands (0.5); LAB_PROBE_TIMEOUT, seconds until a probe gives up (10); LAB_DRAIN, seconds for which what is under way
at the end is waited for (10).
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import Semaphore
from gevent.monkey import get_original
from locust import User, events, runners, task
from locust.exception import StopUser
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner, WorkerRunner

from lab.load.client import DRAIN, EVENTS, RATE, SECONDS, LoadClient
from lab.load.drawing import FIRST

# Seconds, beyond Locust's own --stop-timeout, in which a worker must have reported all that it counted.
FINISHES = 60.0

if EVENTS:
    # Seconds of silence after which a worker counts as gone: Locust's three are too few on a busy machine. `lab load`
    # sees by its process whether one has ended.
    runners.HEARTBEAT_LIVENESS = 60

LABS: dict[str, Any] = {"lab": None, "beside": [], "workers": None, "environment": None}
# The workers that have begun, those that have nothing more to offer, and those that have reported all their counts.
BEGUN: set[str] = set()
OVER: set[str] = set()
FINISHED: set[str] = set()
# Several users start at once, and making it takes requests: the first makes it for all.
MAKING = Semaphore()


@events.init.add_listener
def told(environment: Any, **_: Any) -> None:
    """Register the messages by which the master tells workers their number, and ends them."""
    LABS["environment"] = environment
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.register_message("lab-workers", heard)
        environment.runner.register_message("lab-finish", finish)
    elif isinstance(environment.runner, MasterRunner):
        environment.runner.register_message("lab-begun", lambda msg, **_: BEGUN.add(msg.node_id))
        environment.runner.register_message("lab-over", lambda msg, **_: OVER.add(msg.node_id))
        environment.runner.register_message("lab-finished", lambda msg, **_: FINISHED.add(msg.node_id))


def end_with_stdin() -> None:
    """Wait until standard input ends, and end this process."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def watch_stdin() -> None:
    """End this process when its standard input does: with the program that started it, also if that was killed.

    The thread is no greenlet, and runs from the start: a worker whose master is gone waits for it for five minutes, and
    only then hears of any event.
    """
    get_original("_thread", "start_new_thread")(end_with_stdin, ())


if os.environ.get("LAB_ENDS_WITH_STDIN"):
    watch_stdin()
    # Locust forks its workers, and a thread isn't forked.
    os.register_at_fork(after_in_child=watch_stdin)


@events.quit.add_listener
def counted(**_: Any) -> None:
    """Write Locust's own statistics beside the logs, as the master: workers would write `--json-file` too."""
    environment = LABS["environment"]
    if EVENTS and environment is not None and isinstance(environment.runner, MasterRunner | LocalRunner):
        rows = [entry.to_dict() for entry in environment.runner.stats.entries.values()]
        (Path(EVENTS) / "stats.json").write_text(json.dumps(rows), encoding="utf-8")


def heard(msg: Any, **_: Any) -> None:
    """Keep the number of workers that share the load."""
    LABS["workers"] = int(msg.data)


@events.test_start.add_listener
def tell(environment: Any, **_: Any) -> None:
    """Send the number of workers before any user starts, so that each worker can take its share."""
    if isinstance(environment.runner, MasterRunner):
        environment.runner.send_message("lab-workers", environment.runner.worker_count)
        if SECONDS > 0:
            BEGUN.clear()
            OVER.clear()
            gevent.spawn(quit_when_over, environment.runner)


def quit_when_over(master: MasterRunner) -> None:
    """End the test as soon as every worker that is there has nothing more to offer.

    A closed loop always has more: it ends LAB_SECONDS after every worker has begun.
    """
    said = OVER if RATE > 0 else BEGUN
    while not said or not reported(master, said):
        gevent.sleep(0.05)
    if RATE <= 0:
        gevent.sleep(SECONDS)
    master.quit()


def reported(master: MasterRunner, names: set[str]) -> bool:
    """True if every worker that isn't gone is among these."""
    return all(worker.state == STATE_MISSING or worker.id in names for worker in master.clients.all)


def workers(environment: Any) -> int:
    """The number of workers that share the load; waits until the master has sent it."""
    if not isinstance(environment.runner, WorkerRunner):
        return 1
    while LABS["workers"] is None:
        gevent.sleep(0.01)
    return int(LABS["workers"])


def lab_of(environment: Any) -> LoadClient:
    """This worker's client, made by the first user that asks for it."""
    with MAKING:
        if LABS["lab"] is None:
            index = getattr(environment.runner, "worker_index", 0)
            LABS["lab"] = LoadClient(environment, environment.host, max(0, index), workers(environment))
            LABS["beside"] = [gevent.spawn(LABS["lab"].drawing.keep)]
            if max(0, index) == 0 and not EVENTS:
                # One for each: a projection that doesn't answer keeps no other waiting.
                LABS["beside"] += [gevent.spawn(LABS["lab"].watch, name) for name in LABS["lab"].projections]
            if isinstance(environment.runner, WorkerRunner):
                environment.runner.send_message("lab-begun")
    return LABS["lab"]


@events.test_stopping.add_listener
def stopped(environment: Any, **_: Any) -> None:
    """End what runs beside the users, before the worker reports for the last time."""
    if isinstance(environment.runner, MasterRunner):
        return
    gevent.killall(LABS["beside"])
    if LABS["lab"] is not None and RATE > 0:
        # Nothing, unless the time was over before the arrivals were.
        LABS["lab"].give_up()


@events.test_stop.add_listener
def ended(environment: Any, **_: Any) -> None:
    """Close the log: its counts are final. The master waits for the last counts of all workers."""
    if isinstance(environment.runner, MasterRunner):
        await_workers(environment.runner)
    elif LABS["lab"] is not None:
        # Probes of a closed loop, which its users don't wait for.
        LABS["lab"].drain()
        LABS["lab"].ledger.close()
        LABS["lab"], LABS["beside"] = None, []


def await_workers(master: MasterRunner) -> None:
    """Wait for every worker's last statistics; Locust itself waits half a second, which a busy machine exceeds.

    A worker that is gone is not waited for; its log has no last line either.
    """
    FINISHED.clear()
    master.send_message("lab-finish")
    with gevent.Timeout(master.environment.stop_timeout + DRAIN + FINISHES, False):
        while not reported(master, FINISHED):
            gevent.sleep(0.02)


def finish(environment: Any, **_: Any) -> None:
    """Stop this worker, send its last statistics, then tell the master: messages of one worker keep their order."""
    environment.runner.stop()
    last: dict[str, Any] = {}
    environment.events.report_to_master.fire(client_id=environment.runner.client_id, data=last)
    environment.runner.send_message("stats", last)
    environment.runner.send_message("lab-finished")


class OpenLoop(User):
    """Open loop: one such user for each worker draws the arrivals."""

    abstract = RATE <= 0

    @task
    def come(self) -> None:
        """Offer all arrivals, wait for what is under way, and offer nothing more."""
        lab = lab_of(self.environment)
        lab.arrivals()
        lab.drain()
        if isinstance(self.environment.runner, WorkerRunner):
            self.environment.runner.send_message("lab-over")
        raise StopUser


class ClosedLoop(User):
    """Closed loop: a user waits for each answer before its next request."""

    abstract = True

    def on_start(self) -> None:
        """Share the worker's connections."""
        self.lab = lab_of(self.environment)

    def ask(self) -> None:
        """Ask one query; while there is no data to ask with, wait a moment."""
        if not self.lab.ask(time.time()):
            gevent.sleep(FIRST)


class CommandUser(ClosedLoop):
    """A user that sends commands."""

    abstract = RATE > 0

    @task
    def command(self) -> None:
        """Send one command; a query when the workload has no more commands."""
        if self.lab.drawing.dry or not self.lab.send(time.time()):
            self.ask()


class QueryUser(ClosedLoop):
    """A user that asks queries of all projections."""

    abstract = RATE > 0

    @task
    def query(self) -> None:
        """Ask one query."""
        self.ask()
