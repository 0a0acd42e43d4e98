"""What one of Locust's workers knows of the service: connections, values to ask with, and a log of what happened.

Commands, queries and values all come from the service (`/workload`, `/openapi.json`, `/changes`), so a worker needs its
address and nothing else. Each row is noted twice: for Locust's statistics, and as a line of `events-N.ndjson`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import gevent
from gevent.lock import Semaphore
from gevent.pool import Pool
from geventhttpclient import HTTPClient

RATE = float(os.environ.get("LAB_RATE", "0"))
SECONDS = float(os.environ.get("LAB_SECONDS", "0"))
SEED = int(os.environ.get("LAB_SEED", "1"))
SHARE = float(os.environ.get("LAB_COMMANDS", "0.5"))
PROBE_TIMEOUT = float(os.environ.get("LAB_PROBE_TIMEOUT", "10"))
TOKEN = os.environ.get("LAB_TOKEN")
EVENTS = os.environ.get("LAB_EVENTS")
# Seconds between: two looks of a probe, two readings of what was applied, two refreshes of the sampled records.
LOOK, WATCH, REFRESH = 0.02, 0.25, 5.0
# Requests of one worker in flight at most; further arrivals wait, and SCHEDULE shows by how much.
IN_FLIGHT_MAX = 200
# Records of each entity from which query values are drawn.
POOL = 4_000

Row = dict[str, Any]


class LoadClient:
    """One worker's connections, the queries it can ask with values for them, and its log of events."""

    def __init__(self, environment: Any, host: str, part: int, workers: int) -> None:
        self.environment, self.part, self.workers = environment, part, workers
        # Part of each Idempotency-Key: neither a second test on the same service nor another client has the same keys.
        self.run = secrets.token_hex(8)
        self.fetching = Semaphore()
        self.closing = False
        self.random = random.Random(f"{SEED} {part}")
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {TOKEN}"} if TOKEN else {})
        self.client = HTTPClient.from_url(
            host, concurrency=IN_FLIGHT_MAX + 20, connection_timeout=10, network_timeout=60, headers=headers
        )
        self.counts: Counter[str] = Counter()
        self.log = (Path(EVENTS) / f"events-{part}.ndjson").open("w", encoding="utf-8") if EVENTS else None
        self.document = self.get("/openapi.json")
        self.projections = {item["name"]: item for item in self.get("/projections")["projections"]}
        self.records: dict[str, list[Row]] = {}
        self.pool: Pool | None = None
        self.commands: list[Row] = []
        self.taken = self.sent = 0
        self.dry = False
        self.refresh()
        self.fetch()
        self.questions = [(name, query) for name, item in self.projections.items() for query in item["queries"]]

    # -- requests -----------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Send one request; returns its status and its answer as JSON."""
        data = json.dumps(body).encode() if body is not None else b""
        response = self.client.request(method, path, body=data, headers=headers or {})
        found = response.read()
        return response.status_code, json.loads(found) if found else None

    def get(self, path: str) -> Any:
        """The JSON document at a path. Raises RuntimeError for any status but 200."""
        status, found = self.call("GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path}: {status} {found}")
        return found

    def note(self, row: str, seconds: float, failed: str | None = None, **more: Any) -> None:
        """Note an event in Locust's statistics and in the log; in neither once the test is over."""
        if self.closing:
            return
        self.counts[row] += 1
        if self.log is not None:
            self.log.write(json.dumps({"row": row, "seconds": seconds, "failed": failed, **more}) + "\n")
        self.environment.events.request.fire(
            request_type="", name=row, response_time=seconds * 1e3, response_length=0, response=None, context={},
            exception=None if failed is None else RuntimeError(failed), start_time=time.time() - seconds, url=None,
        )  # fmt: skip

    def close(self) -> None:
        """Write the last line of the log: the number of events of each row."""
        self.closing = True
        if self.log is not None:
            self.log.write(json.dumps({"end": True, "part": self.part, "counts": self.counts}) + "\n")
            self.log.close()
            self.log = None

    # -- what to ask with ---------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read records to draw values from: some from the beginning of each entity's changes, some from its end."""
        operation = self.document["paths"]["/changes"]["get"]
        entities = next(one for one in operation["parameters"] if one["name"] == "entity")["schema"]["enum"]
        head = self.get("/projections")["truth"]["position"]
        for entity in entities:
            found = []
            for since in {0, max(0, head - POOL)}:
                page = self.get(f"/changes?{urlencode({'entity': entity, 'since': since, 'limit': POOL // 2})}")
                found += [change for change in page["changes"] if not change["deleted"]]
            self.records[entity] = found

    def keep(self) -> None:
        """Refresh the records every few seconds, so that new ones are asked for too."""
        while True:
            gevent.sleep(REFRESH if any(self.records.values()) else WATCH)
            with contextlib.suppress(Exception):
                self.refresh()

    def path(self, projection: str, query: str) -> str | None:
        """The path of a query with values drawn from the data; None while there is no data."""
        operation = self.document["paths"][f"/projections/{projection}/{query}"]["get"]
        entity = operation["summary"].split(" of ", 1)[1].split(",", 1)[0]
        records = self.records.get(entity, [])
        if not records:
            return None
        given: list[tuple[str, Any]] = []
        for parameter in operation["parameters"]:
            name = parameter["name"]
            if not parameter["required"]:
                continue
            record = self.random.choice(records)
            if name in ("key", "other"):
                value = record["key"]
            elif name == "at":
                value = record["committed_at"]
            elif name == "words":
                texts = [value for value in record.values() if isinstance(value, str) and value.strip()]
                value = self.random.choice(texts).split()[0] if texts else None
            else:
                column = name.removesuffix("_at_least").removesuffix("_less_than")
                value = record.get(column, record.get(column.rstrip("_0123456789")))
            if value is None:
                return None
            given.append((name, str(value).lower() if isinstance(value, bool) else value))
        return f"/projections/{quote(projection)}/{quote(query)}?{urlencode(given)}"

    def fetch(self) -> None:
        """Fetch the next commands of this worker's share, many at a time, so that users seldom wait for them."""
        asked = {"part": self.part % self.workers, "of": self.workers, "since": self.sent, "limit": 10_000}
        status, page = self.call("GET", f"/workload?{urlencode(asked)}")
        self.commands, self.taken = (page["commands"], 0) if status == 200 else ([], 0)
        self.dry = not self.commands

    def command(self) -> Row | None:
        """Take the next command of this worker's share; None when there are no more."""
        with self.fetching:
            if self.taken >= len(self.commands) and not self.dry:
                self.fetch()
        if self.dry:
            return None
        found = self.commands[self.taken]
        self.taken += 1
        self.sent += 1
        return {**found, "number": self.sent}

    # -- the rows -----------------------------------------------------------------------------------------------------

    def send(self, intended: float) -> Row | None:
        """Send a command; returns an accepted outcome. A rejection is an answer; no outcome is a failure."""
        order = self.command()
        if order is None:
            return None
        body = {"command": order["command"], "key": order["key"], "fields": order["fields"]}
        once = {"Idempotency-Key": f"locust {self.run} {self.part} {order['number']}"}
        began, found, failed = time.time(), None, None
        try:
            status, found = self.call("POST", f"/commands/{quote(order['entity'])}", body, once)
            if not isinstance(found, dict) or "outcome" not in found:
                failed = f"{status}: {found.get('detail', '') if isinstance(found, dict) else ''}"
        except Exception as error:  # whatever the client raises is a request that failed
            failed = f"{type(error).__name__}: {error}"
        ended = time.time()
        told = found if isinstance(found, dict) and failed is None else {}
        self.note(
            "COMMAND", ended - intended, failed, began=began, service=ended - began, outcome=told.get("outcome"),
            position=told.get("position"), entity=order["entity"], key=order["key"],
        )  # fmt: skip
        return {**told, "entity": order["entity"], "at": ended} if told.get("outcome") == "accepted" else None

    def ask(self, intended: float) -> None:
        """Ask a query of a projection."""
        # In a turn that is drawn, the first for which there are values in the data.
        drawn = self.random.sample(self.questions, len(self.questions))
        asked = ((one, path) for one in drawn if (path := self.path(*one)))
        (projection, query), path = next(asked, ((None, None), None))
        if path is None:
            return
        began, failed, rows = time.time(), None, None
        try:
            status, found = self.call("GET", path)
            if status != 200:
                failed = f"{status}: {found.get('detail', '')}"
            else:
                rows = len(found["rows"])
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"
        ended = time.time()
        row = f"QUERY/{projection}/{query}"
        self.note(row, ended - intended, failed, began=began, service=ended - began, rows=rows)

    def probe(self, projection: str) -> None:
        """Send a command, then ask the projection until it shows its effect or PROBE_TIMEOUT has passed."""
        done = self.send(time.time())
        if done is None or not done.get("position"):
            return
        by_key = self.by_key(projection, done["entity"])
        shown = False
        try:
            while not shown and time.time() - done["at"] <= PROBE_TIMEOUT:
                # A projection whose process is restarting shows nothing.
                with contextlib.suppress(OSError, RuntimeError, ValueError):
                    shown = self.shows(projection, by_key, done)
                if not shown:
                    gevent.sleep(LOOK)
        finally:
            # A probe that gave up, or was cut off by the end, has waited at least so long: it is censored.
            waited = time.time() - done["at"]
            self.note(f"RYW/{projection}", waited, None, censored=not shown, position=done["position"])

    def shows(self, projection: str, by_key: str | None, done: Row) -> bool:
        """True if a projection shows what a command did, or has everything up to its position."""
        if by_key is None:
            return bool((self.get(f"/projections/{quote(projection)}")["position"] or 0) >= done["position"])
        found = self.get(f"/projections/{quote(projection)}/{quote(by_key)}?{urlencode({'key': done['key']})}")
        newer = any(row["revision"] >= done["revision"] for row in found["rows"])
        return newer or bool(found["position"] >= done["position"])

    def by_key(self, projection: str, entity: str) -> str | None:
        """The name of the projection's query by key of an entity; None if it has none."""
        for query in self.projections[projection]["queries"]:
            said = self.document["paths"][f"/projections/{projection}/{query}"]["get"]["summary"]
            if said.startswith(f"`{query}`: get of {entity},"):
                return str(query)
        return None

    def watch(self) -> None:
        """Read again and again which changes the projections have applied; one worker does it for all."""
        seen = dict.fromkeys(self.projections, 0)
        while True:
            for name in seen:
                with_more = True
                while with_more:
                    try:
                        status, found = self.call("GET", f"/applied/{quote(name)}?since={seen[name]}&limit=5000")
                    except Exception:
                        # Its process may be restarting.
                        break
                    if status != 200:
                        break
                    if found["since"] < seen[name]:
                        # A restarted process counts from the beginning: all that it reports is new.
                        seen[name] = 0
                        continue
                    for position, committed, visible in found["applied"]:
                        self.note(f"LAG/{name}", max(0.0, visible - committed), None, position=position)
                    seen[name] = found["since"]
                    with_more = len(found["applied"]) == 5_000
            gevent.sleep(WATCH)

    # -- open loop ----------------------------------------------------------------------------------------------------

    def arrivals(self) -> None:
        """Draw Poisson arrivals at this worker's share of the rate; a greenlet of its own carries each of them out."""
        self.pool, at = Pool(IN_FLIGHT_MAX), time.time()
        end = at + SECONDS if SECONDS else float("inf")
        while True:
            at += self.random.expovariate(RATE / self.workers)
            if at > end:
                break
            ahead = at - time.time()
            if ahead > 0:
                gevent.sleep(ahead)
            work = self.send if self.random.random() < SHARE and not self.dry else self.ask
            # With IN_FLIGHT_MAX requests in flight this waits, and SCHEDULE shows the delay.
            self.pool.spawn(work, at)
            self.note("SCHEDULE", max(0.0, time.time() - at), None)
        self.pool.join()
