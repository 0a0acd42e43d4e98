"""Locust's users: open loop (arrivals at a rate) or closed loop (users that wait), with read-your-writes probes.

Locust is a program of its own: it loads this module (`locust -f`), and the rest of the package never imports it.

Rows: COMMAND; QUERY/<projection>/<query>; RYW/<projection>, from a commit until the projection shows it, polled every
20 ms; LAG/<projection>, from commit until applied, as the projection's process reports it; SCHEDULE, how late the
generator was itself.

Without LAB_RATE users wait for each answer (closed loop). With it, arrivals come at that rate whatever the answers do
(open loop): one user for each worker draws them, and a row's time begins when its request was meant to start.

Environment: LAB_RATE, arrivals a second over all workers (0: closed loop); LAB_SECONDS, how long arrivals come;
LAB_EVENTS, the folder for each worker's log; LAB_SEED; LAB_TOKEN; LAB_COMMANDS, the share of commands (0.5);
LAB_PROBE_TIMEOUT, seconds until a probe gives up (10).
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
from locust import User, constant_pacing, events, task
from locust.exception import StopUser
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner, WorkerRunner

from lab.load.client import EVENTS, PROBE_TIMEOUT, RATE, LoadClient

# Seconds between two probes of a worker.
PROBE = 0.5
# Seconds, beyond Locust's own --stop-timeout, in which a worker must have reported all that it counted.
FINISHES = 60.0

LABS: dict[str, Any] = {"lab": None, "beside": [], "workers": None, "environment": None, "finished": set()}
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
        environment.runner.register_message("lab-finished", finished)


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
            LABS["beside"] = [gevent.spawn(LABS["lab"].keep)]
            if max(0, index) == 0:
                LABS["beside"].append(gevent.spawn(LABS["lab"].watch))
    return LABS["lab"]


@events.test_stopping.add_listener
def stopped(environment: Any, **_: Any) -> None:
    """End what runs beside the users, before the worker reports for the last time."""
    if isinstance(environment.runner, MasterRunner):
        return
    gevent.killall(LABS["beside"])
    if LABS["lab"] is not None and LABS["lab"].pool is not None:
        # Requests in flight are cut off, and are in no row.
        LABS["lab"].pool.kill(block=False)


@events.test_stop.add_listener
def ended(environment: Any, **_: Any) -> None:
    """Close the log: its counts are final. The master waits for the last counts of all workers."""
    if isinstance(environment.runner, MasterRunner):
        await_workers(environment.runner)
    elif LABS["lab"] is not None:
        LABS["lab"].close()
        LABS["lab"], LABS["beside"] = None, []


def await_workers(master: MasterRunner) -> None:
    """Wait for every worker's last statistics; Locust itself waits half a second, which a busy machine exceeds.

    A worker that is gone is not waited for; its log has no last line either.
    """
    LABS["finished"].clear()
    master.send_message("lab-finish")
    with gevent.Timeout(master.environment.stop_timeout + FINISHES, False):
        while any(worker.state != STATE_MISSING and worker.id not in LABS["finished"] for worker in master.clients.all):
            gevent.sleep(0.02)


def finish(environment: Any, **_: Any) -> None:
    """Stop this worker, send its last statistics, then tell the master: messages of one worker keep their order."""
    environment.runner.stop()
    last: dict[str, Any] = {}
    environment.events.report_to_master.fire(client_id=environment.runner.client_id, data=last)
    environment.runner.send_message("stats", last)
    environment.runner.send_message("lab-finished")


def finished(msg: Any, **_: Any) -> None:
    """Note that a worker has sent all that it counted."""
    LABS["finished"].add(msg.node_id)


class OpenLoop(User):
    """Open loop: one such user for each worker draws the arrivals."""

    abstract = RATE <= 0

    def on_start(self) -> None:
        """Start the probes, which run beside the arrivals."""
        self.lab, self.over = lab_of(self.environment), False
        self.probes = gevent.spawn(self.probing)

    def on_stop(self) -> None:
        """End the probes."""
        gevent.kill(self.probes)

    def probing(self) -> None:
        """Probe one projection after the other until the arrivals end."""
        while not self.lab.dry:
            for name in self.lab.projections:
                if self.over:
                    return
                self.lab.probe(name)
                gevent.sleep(PROBE)

    @task
    def come(self) -> None:
        """Offer all arrivals, let the last probe end, and offer nothing more."""
        self.lab.arrivals()
        self.over = True
        self.probes.join(PROBE_TIMEOUT + 1)
        raise StopUser


class ClosedLoop(User):
    """Closed loop: a user waits for each answer before its next request."""

    abstract = True

    def on_start(self) -> None:
        """Share the worker's connections."""
        self.lab = lab_of(self.environment)


class CommandUser(ClosedLoop):
    """A user that sends commands."""

    abstract = RATE > 0
    weight = 4

    @task
    def command(self) -> None:
        """Send one command; a query when the workload has no more commands."""
        if self.lab.send(time.time()) is None and self.lab.dry:
            self.lab.ask(time.time())


class QueryUser(ClosedLoop):
    """A user that asks queries of all projections."""

    abstract = RATE > 0
    weight = 4

    @task
    def query(self) -> None:
        """Ask one query."""
        self.lab.ask(time.time())


class ProbeUser(ClosedLoop):
    """A user that reads what it wrote."""

    abstract = RATE > 0
    weight = 1
    wait_time = constant_pacing(PROBE)

    @task
    def probe(self) -> None:
        """Probe each projection once."""
        for name in self.lab.projections:
            self.lab.probe(name)
