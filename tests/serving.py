"""The service for tests: all of its parts in this process and one loop, or as processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lab.place import FolderPlace
from lab.scenario import Source
from lab.service.backend import Backend, PartHandle
from lab.service.changes import Changes
from lab.service.executor import Executor
from lab.service.feeding import finder
from lab.service.front import Front
from lab.service.gate import Access
from lab.service.mending import ProjectionHome
from lab.service.messages import Message, decoded_message, encoded_message
from lab.service.projection import Projection
from lab.service.wire import Handle, Reply
from lab.wiring import Plan, plan

ROOT = Path(__file__).parent.parent

TEXT = """
schema = 1
name = "served"
seed = 11
[domain]
name = "employees"
records = 40
[workload]
commands = 400
deletes = 0.05
invalid = 0.05
[truth]
model = "history"
[catch_up]
every = 0.05
page = 50
[channel]
[[projection]]
name = "directory"
store = "sqlite.table"
batch = 20
[[projection]]
name = "sums"
store = "duckdb.columnar"
keeps = "totals"
guard = "dedupe"
batch = 50
linger = 0.05
[[projection]]
name = "archive"
store = "sqlite.table"
keeps = "revisions"
subscribe = "catch-up"
every = 3600.0
[[projection]]
name = "gossip"
store = "memory"
subscribe = "channel"
"""

# Without what takes long to open.
SMALL = TEXT.partition('[[projection]]\nname = "sums"')[0] + TEXT[TEXT.index('[[projection]]\nname = "gossip"') :]


def written(folder: Path, *overrides: str, text: str = TEXT) -> Plan:
    """A plan of the text above, or another one, with keys set."""
    path = folder / "served.toml"
    path.write_text(text)
    return plan(Source(path, overrides))


def hire(key: int, **more: Any) -> dict[str, Any]:
    """A command that can be carried out."""
    fields = {"name": "Ada Byron", "manager": None, "department": "Legal", "salary": 5_000}
    return {"command": "hire", "key": key, "fields": fields | more}


@dataclass
class Direct:
    """A part in this process; what it is asked goes through JSON all the same, as on a socket."""

    handle: Handle

    async def ask(self, message: Message) -> Reply:
        return await self.handle(decoded_message(encoded_message(message)))


@dataclass
class Served:
    """A service in this process, and a client of it."""

    plan: Plan
    executor: Executor
    projections: dict[str, Projection]
    front: Front
    client: httpx.AsyncClient

    async def command(self, body: Any, entity: str = "employee", once: str | None = None) -> httpx.Response:
        headers = {} if once is None else {"idempotency-key": once}
        return await self.client.post(f"/commands/{entity}", json=body, headers=headers)

    async def query(self, path: str, **parameters: Any) -> httpx.Response:
        return await self.client.get(f"/projections/{path}", params=parameters)

    async def settled(self, *names: str) -> None:
        """Until these projections have come to the newest position."""
        for name in names:
            await until(lambda name=name: self.projections[name].position >= self.executor.head)


@contextlib.asynccontextmanager
async def served(made: Plan, folder: Path, token: str | None = None) -> AsyncIterator[Served]:
    """The parts at work, until the block ends."""
    truth = made.truth(FolderPlace(folder / "truth"))
    executor = Executor(made, truth)
    # Over a socket a reader would wait for an executor that can't answer: they share one loop here.
    find = finder(made, folder, folder / "feed") if truth.shared else truth.beside
    homes = [ProjectionHome(made, item, folder, print) for item in made.projections]
    projections = {home.item.name: Projection(made, home, find, time.time()) for home in homes}
    executor.listeners += [projection.hear for projection in projections.values()]
    tasks = [asyncio.create_task(_working(projection)) for projection in projections.values()]
    told = {"state": "running", "restarts": 0, "last_exit": None, "pid": None}
    handles = {"truth": executor.handle} | {name: projection.handle for name, projection in projections.items()}
    parts = {name: PartHandle(Direct(handle), lambda: told) for name, handle in handles.items()}
    changes = Changes(find)
    backend = Backend(made, parts, changes, folder)
    backend.head = executor.head
    front = Front(backend, Access.of("127.0.0.1", token))
    try:
        transport = httpx.ASGITransport(front.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8087") as client:
            yield Served(made, executor, projections, front, client)
    finally:
        await front.close()
        for projection in projections.values():
            await projection.stop()
        await asyncio.gather(*tasks)
        changes.close()
        executor.close()


async def _working(projection: Projection) -> None:
    """What a projection's process does; here it is there to answer, too, once its work has failed."""
    try:
        await projection.work()
    except Exception as error:
        projection.suspect(error)
        raise


def lived(made: Plan, folder: Path, story: Callable[[Served], Awaitable[None]], token: str | None = None) -> None:
    """Tell a story of a service from its start to its end."""

    async def whole() -> None:
        async with served(made, folder, token) as service:
            await story(service)

    asyncio.run(asyncio.wait_for(whole(), 60))


async def until(met: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition; AssertionError when it isn't met in time."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "not met in time"
        await asyncio.sleep(0.01)


def waited(met: Callable[[], Any], seconds: float = 30.0, what: Callable[[], str] = lambda: "not met in time") -> Any:
    """Wait for a condition without an event loop, and return what it gave; AssertionError when it isn't met in time."""
    end = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < end, what()
        time.sleep(0.02)
    return found


class Process:
    """`lab serve` as a process, in a group of its own."""

    def __init__(self, *words: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lab", "serve", *words, "--port", "0", "--json"],
            cwd=ROOT, env=os.environ | (env or {}), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        lines = []
        while (line := self.process.stdout.readline()) and line.rstrip() != "}":
            lines.append(line)
        self.told: dict[str, Any] = json.loads("".join([*lines, "}"])) if line else {}
        # With --json a mistake is a document too, on the same output.
        if "url" not in self.told:
            _, said = self.process.communicate(timeout=60)
            raise AssertionError(f"it ended with {self.process.returncode}: {said}")
        self.client = httpx.Client(base_url=self.told["url"], timeout=30)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.kill()
        self.process.communicate()

    def parts(self) -> dict[str, dict[str, Any]]:
        """What is told of each projection, and of the source of truth."""
        found = self.client.get("/projections").json()
        return {"truth": found["truth"], **{row["name"]: row for row in found["projections"]}}

    def kill(self) -> None:
        """SIGKILL for the front; the others end by themselves."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> tuple[int, str]:
        """SIGTERM; its exit status, and what it had to say besides that it stopped."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, unsaid(said)


def unsaid(said: str) -> str:
    """What was said on standard error, without the line with which each stopped command ends."""
    *before, last = said.splitlines(keepends=True)
    assert last.startswith("stopped; "), said
    return "".join(before)
