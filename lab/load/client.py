"""What one of Locust's workers does: sends commands, asks queries, and looks for what it wrote.

Commands, queries and values all come from the service (`/workload`, `/openapi.json`, `/changes`), so a worker needs its
address and nothing else. What becomes of each request is noted twice: for Locust's statistics, and in the ledger's log.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import gevent
from gevent.pool import Group, Pool
from geventhttpclient import HTTPClient

from lab.load.drawing import Drawing, Row, Unanswered
from lab.load.ledger import Offered, RequestLedger

RATE = float(os.environ.get("LAB_RATE", "0"))
SECONDS = float(os.environ.get("LAB_SECONDS", "0"))
SEED = int(os.environ.get("LAB_SEED", "1"))
SHARE = float(os.environ.get("LAB_COMMANDS", "0.5"))
PROBE_TIMEOUT = float(os.environ.get("LAB_PROBE_TIMEOUT", "10"))
DRAIN = float(os.environ.get("LAB_DRAIN", "10"))
TOKEN = os.environ.get("LAB_TOKEN")
EVENTS = os.environ.get("LAB_EVENTS")
# Seconds between two readings of what was applied, and before a probe asks a process again that is being restarted.
WATCH, AGAIN = 0.25, 0.5
# The longest that the service lets a reader wait, in seconds.
WAIT_MAX = 60.0
# Requests of one worker in flight at most; further arrivals wait, and SCHEDULE shows by how much.
IN_FLIGHT_MAX = 200
# Commands a second, over all workers, after which it is looked for what they did.
PROBES = 5.0


class LoadClient:
    """One worker's connections, the queries it can ask with values for them, and its ledger."""

    def __init__(self, environment: Any, host: str, part: int, workers: int) -> None:
        self.environment, self.part, self.workers = environment, part, workers
        # Part of each Idempotency-Key: neither a second test on the same service nor another client has the same keys.
        self.run = secrets.token_hex(8)
        self.random = random.Random(f"{SEED} {part}")
        self.client = self._connections(host, IN_FLIGHT_MAX + 20)
        self.document = self.get("/openapi.json")
        self.projections = {item["name"]: item for item in self.get("/projections")["projections"]}
        # Probes that wait must not keep the connections from others: two for each projection and command.
        waiting = round(2 * PROBES * (PROBE_TIMEOUT + 2) * len(self.projections) / workers)
        self.patient = self._connections(host, waiting + 10)
        self.ledger = RequestLedger(part, Path(EVENTS) if EVENTS else None, self._tell)
        self.drawing = Drawing(self.get, self.document, self.projections, self.random, (part, workers))
        self.pool, self.probes = Pool(IN_FLIGHT_MAX), Group()
        self.next_probe = time.time()
        # False of a domain that replays a history. One whose commands come to an end still has arrivals of them.
        self.sends = not self.drawing.dry

    @staticmethod
    def _connections(host: str, most: int) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {TOKEN}"} if TOKEN else {})
        return HTTPClient.from_url(
            host, concurrency=most, connection_timeout=10, network_timeout=60 + PROBE_TIMEOUT, headers=headers
        )

    # -- requests -----------------------------------------------------------------------------------------------------

    def call(
        self, method: str, path: str, body: Any = None, headers: Any = None, client: Any = None
    ) -> tuple[int, Any]:
        """Send one request; returns its status and its answer as JSON."""
        data = json.dumps(body).encode() if body is not None else b""
        response = (client or self.client).request(method, path, body=data, headers=headers or {})
        found = response.read()
        return response.status_code, json.loads(found) if found else None

    def get(self, path: str) -> Any:
        """The JSON document at a path. Raises Unanswered for any status but 200, and what the client raises."""
        status, found = self.call("GET", path)
        if status != 200:
            raise Unanswered(status, f"GET {path}: {status} {found}")
        return found

    def _tell(self, row: str, seconds: float, failed: str | None) -> None:
        self.environment.events.request.fire(
            request_type="", name=row, response_time=seconds * 1e3, response_length=0, response=None, context={},
            exception=None if failed is None else RuntimeError(failed), start_time=time.time() - seconds, url=None,
        )  # fmt: skip

    # -- the rows -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _under_way(self, request: Offered) -> Iterator[Row]:
        """Conclude a request when the block ends, with what the block notes; `failed` says why there is no answer.

        A user that Locust ends while it waits leaves it censored; whatever else is raised is a failure of the request.
        """
        began = request.more["began"] = time.time()
        noted: Row = {}
        try:
            yield noted
        except gevent.GreenletExit:
            self.ledger.conclude(request, censored=True)
            raise
        except Exception as error:
            noted = {"failed": f"{type(error).__name__}: {error}"}
        service = time.time() - request.more.get("began", began)
        self.ledger.conclude(request, noted.pop("failed", None), service=service, **noted)

    def send(self, intended: float, request: Offered | None = None) -> bool:
        """Send a command; False if there is none left. A rejection is an answer; no outcome is a failure."""
        request = request or self.ledger.offer("COMMAND", intended)
        told: Row = {}
        with self._under_way(request) as noted:
            order = self.drawing.command()
            if order is None:
                self.ledger.withdraw(request)
                return False
            body = {"command": order["command"], "key": order["key"], "fields": order["fields"]}
            once = {"Idempotency-Key": f"locust {self.run} {self.part} {order['number']}"}
            # Commands may have been fetched before.
            request.more |= {"began": time.time(), "entity": order["entity"], "key": order["key"]}
            status, found = self.call("POST", f"/commands/{quote(order['entity'])}", body, once)
            if isinstance(found, dict) and "outcome" in found:
                told = {**found, "entity": order["entity"], "at": time.time()}
                noted |= {"outcome": found["outcome"], "position": found.get("position")}
            else:
                noted["failed"] = f"{status}: {found.get('detail', '') if isinstance(found, dict) else ''}"
        if told.get("outcome") == "accepted" and told.get("position") and told["at"] >= self.next_probe:
            # Random gaps, so that probes don't keep step with polls.
            self.next_probe = told["at"] + self.random.expovariate(PROBES / self.workers)
            self.probe(told)
        return True

    def ask(self, intended: float) -> bool:
        """Draw a query of a projection, and ask it; False while there is no data to ask with."""
        if (offered := self._offer_query(intended)) is None:
            return False
        self._ask(*offered)
        return True

    def _offer_query(self, intended: float) -> tuple[Offered, str] | None:
        drawn = self.drawing.question()
        if drawn is None:
            self.ledger.withdraw(self.ledger.offer("QUERY", intended))
            return None
        projection, query, path = drawn
        return self.ledger.offer(f"QUERY/{projection}/{query}", intended), path

    def _ask(self, request: Offered, path: str) -> None:
        with self._under_way(request) as noted:
            status, found = self.call("GET", path)
            if status != 200:
                noted["failed"] = f"{status}: {found.get('detail', '')}"
            else:
                noted["rows"] = len(found["rows"])

    # -- reading what was written -------------------------------------------------------------------------------------

    def probe(self, done: Row) -> None:
        """Look in every projection for what an accepted command did, each in a greenlet of its own.

        RYW: until the query by key shows the record in that revision or a later one; not of a deletion, which leaves
        nothing to be shown. RYW-CHECKPOINT: until everything up to the command's position is in.
        """
        for name, item in self.projections.items():
            path = self.drawing.by_key(name, done["entity"])
            if path is not None and not done["deleted"]:
                asked = {"key": done["key"], "revision_at_least": done["revision"]}
                self._look(f"RYW/{name}", path, asked, done)
            if item["subscribe"] != "channel":
                self._look(
                    f"RYW-CHECKPOINT/{name}", f"/projections/{quote(name)}", {"at_least": done["position"]}, done
                )

    def _look(self, row: str, path: str, asked: Row, done: Row) -> None:
        request = self.ledger.offer(row, done["at"], position=done["position"])
        self.probes.spawn(self._wait, request, path, asked)

    def _wait(self, request: Offered, path: str, asked: Row) -> None:
        """Let the service answer as soon as it can; after PROBE_TIMEOUT the probe is censored."""
        until, shown = request.intended + PROBE_TIMEOUT, False
        while not shown and (left := until - time.time()) > 0:
            # A process that is stopped doesn't say that the time is over.
            with gevent.Timeout(left + WATCH, False):
                try:
                    words = urlencode(asked | {"timeout": f"{min(left, WAIT_MAX):.3f}"})
                    status, _ = self.call("GET", f"{path}?{words}", client=self.patient)
                except Exception:  # whatever the client raises, the probe asks again
                    status = 503
                shown = status == 200
                if status not in (200, 504):
                    # It may be restarting, and shows nothing.
                    gevent.sleep(AGAIN)
        self.ledger.conclude(request, censored=not shown)

    def watch(self, name: str) -> None:
        """Read again and again which changes a projection has applied: LAG in the statistics of Locust by itself."""
        seen = 0
        while True:
            with_more = True
            while with_more:
                try:
                    status, found = self.call("GET", f"/applied/{quote(name)}?since={seen}&limit=5000")
                except Exception:
                    # Its process may be restarting.
                    break
                if status != 200:
                    break
                if found["since"] < seen:
                    # A restarted process counts from the beginning: all that it reports is new.
                    seen = 0
                    continue
                for position, committed, visible in found["applied"]:
                    self.ledger.observe(f"LAG/{name}", max(0.0, visible - committed), position=position)
                seen = found["since"]
                with_more = len(found["applied"]) == 5_000
            gevent.sleep(WATCH)

    # -- open loop ----------------------------------------------------------------------------------------------------

    def arrivals(self) -> None:
        """Draw Poisson arrivals at this worker's share of the rate; a greenlet of its own carries each of them out."""
        at = time.time()
        end = at + SECONDS if SECONDS else float("inf")
        while True:
            at += self.random.expovariate(RATE / self.workers)
            if at > end:
                break
            ahead = at - time.time()
            if ahead > 0:
                gevent.sleep(ahead)
            # With IN_FLIGHT_MAX requests in flight this waits, and SCHEDULE shows the delay.
            self.pool.wait_available(max(0.0, end + DRAIN - time.time()) if SECONDS else None)
            if self.pool.full():
                # What was not offered by then is not offered: the load is void.
                break
            self._arrive(at)
            self.ledger.observe("SCHEDULE", max(0.0, time.time() - at))

    def _arrive(self, at: float) -> None:
        # Offered here, and not by the greenlet: one that is never run would be forgotten.
        if self.random.random() < SHARE and self.sends:
            self.pool.spawn(self.send, at, self.ledger.offer("COMMAND", at))
        elif (offered := self._offer_query(at)) is not None:
            self.pool.spawn(self._ask, *offered)

    def drain(self, seconds: float = DRAIN) -> None:
        """Wait for what is under way; what isn't answered by then is censored."""
        until = time.time() + seconds
        self.pool.join(seconds)
        self.probes.join(max(0.0, until - time.time()))
        self.give_up()

    def give_up(self) -> None:
        """Censor what is under way, and end it."""
        self.ledger.give_up()
        self.pool.kill(block=False)
        self.probes.kill(block=False)
