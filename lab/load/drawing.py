"""Records of the service, from which a worker draws the values of its queries; and the commands of its share."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import gevent
from gevent.lock import Semaphore

# Seconds between two refreshes of the records: while there are none yet, and once there are.
FIRST, REFRESH = 0.25, 5.0
# Records of each entity from which query values are drawn.
POOL = 4_000

Row = dict[str, Any]
# The status of a domain that replays a history, and so has no commands.
NO_COMMANDS = 409


class Unanswered(RuntimeError):
    """The service answered with this `status` instead of a document."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class Drawing:
    """Draws queries with values, and takes commands. `get` fetches a document of the service, or raises Unanswered."""

    def __init__(
        self, get: Callable[[str], Any], document: Row, projections: Row, rng: random.Random, share: tuple[int, int]
    ) -> None:
        """`document` is that of OpenAPI, `share` this worker's share of the commands: which one, of how many."""
        self.get, self.document, self.random, self.share = get, document, rng, share
        self.questions = [(name, query) for name, item in projections.items() for query in item["queries"]]
        self.records: dict[str, list[Row]] = {}
        self.fetching = Semaphore()
        self.commands: list[Row] = []
        self.taken = self.sent = 0
        self.dry = False
        self.refresh()
        self.fetch()

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
            gevent.sleep(REFRESH if any(self.records.values()) else FIRST)
            with contextlib.suppress(Exception):
                self.refresh()

    def question(self) -> tuple[str, str, str] | None:
        """Draw a projection, a query of it, and its path with values; None while there is no data for any."""
        # In a turn that is drawn, the first for which there are values in the data.
        drawn = self.random.sample(self.questions, len(self.questions))
        return next(((*one, path) for one in drawn if (path := self.path(*one))), None)

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

    def by_key(self, projection: str, entity: str) -> str | None:
        """The path of the projection's query by key of an entity; None if it has none."""
        for name, query in self.questions:
            if name == projection:
                said = self.document["paths"][f"/projections/{name}/{query}"]["get"]["summary"]
                if said.startswith(f"`{query}`: get of {entity},"):
                    return f"/projections/{quote(name)}/{quote(query)}"
        return None

    def fetch(self) -> None:
        """Fetch the next commands of this worker's share, many at a time, so that users seldom wait for them.

        Raises what `get` raises: the next command tries again. Only a domain without commands has none for good.
        """
        part, of = self.share
        asked = {"part": part % of, "of": of, "since": self.sent, "limit": 10_000}
        try:
            found = self.get(f"/workload?{urlencode(asked)}")["commands"]
        except Unanswered as error:
            if error.status != NO_COMMANDS:
                raise
            found = []
        self.commands, self.taken = found, 0
        self.dry = not found

    def command(self) -> Row | None:
        """Take the next command of this worker's share; None when there are no more. Raises what `fetch` raises."""
        with self.fetching:
            if self.taken >= len(self.commands) and not self.dry:
                self.fetch()
        if self.dry:
            return None
        found = self.commands[self.taken]
        self.taken += 1
        self.sent += 1
        return {**found, "number": self.sent}
