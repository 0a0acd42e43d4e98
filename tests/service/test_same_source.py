"""The service goes on with the source of truth that it had, and answers each request with its own outcome."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import call
from serving import SMALL, Process, Served, hire, lived, until, written

from lab.base import TRUTH
from lab.place import FolderPlace
from lab.service.backend import PartHandle
from lab.service.changes import Changes
from lab.service.executor import Executor
from lab.service.local import LocalService
from lab.service.messages import LOAD, ExecuteCommand, Message, ReadStatus
from lab.service.wire import Gone, Peer, Reply

EMPTY = SMALL.partition("[[projection]]")[0] + '[[projection]]\nname = "gossip"\nstore = "memory"\n'
KEYS = [("sqlite", model) for model in ("snapshot", "history", "events")]


def test_another_command_under_the_same_key_is_told_so(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        first = await service.command(hire(1), once="one")
        assert first.status_code == 201
        for other in (hire(2), hire(1, salary=9), hire(1) | {"expected": 0}):
            found = await service.command(other, once="one")
            said = found.json()
            assert (found.status_code, said["type"]) == (422, "urn:lab:problem:idempotency-key-reused")
            assert "was sent before, with another command" in said["detail"]
            assert not {"outcome", "state", "position", "key"} & set(said)
        again = await service.command(dict(reversed(hire(1).items())), once="one")
        assert (again.status_code, again.json()) == (201, first.json())
        assert (await service.command(hire(2), once="two")).status_code == 201
        assert service.executor.head == 2
        assert service.executor.counts["reused"] == 3

    lived(written(tmp_path, text=EMPTY), tmp_path / "shop", story)


def test_of_a_hundred_at_once_under_one_key_one_is_decided(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        found = await asyncio.gather(*(service.command(hire(key), once="one") for key in range(1, 101)))
        assert sorted(one.status_code for one in found) == [201, *[422] * 99]
        (winner,) = (one.json() for one in found if one.status_code == 201)
        assert service.executor.head == 1
        # Repeated, each gets what it got: the winner its outcome, and no other one that of the winner.
        again = await asyncio.gather(*(service.command(hire(key), once="one") for key in range(1, 101)))
        assert [one.json() for one in again if one.status_code == 201] == [winner]
        assert [one.status_code for one in again] == [one.status_code for one in found]

    lived(written(tmp_path, text=EMPTY), tmp_path / "shop", story)


def test_no_key_of_a_client_is_one_of_the_labs_own(tmp_path: Path) -> None:
    made = written(tmp_path, text=EMPTY)

    async def story(service: Served) -> None:
        keys = ["load 0", "load:0", "0", "LOAD", "client:0"]
        keys += [f"{LOAD}{made.workload_digest}:0", f"load {made.workload_digest} 0"]
        for number, one in enumerate(keys, 1_000_000):
            assert (await service.command(hire(number), once=one)).status_code == 201
        await service.client.put("/load", json={"rate": 500})
        await until(lambda: service.front.load.sent >= 5)
        await service.client.put("/load", json={"rate": 0})
        assert service.front.load.failed == 0

    lived(made, tmp_path / "shop", story)


def test_a_load_that_finds_its_ids_taken_by_other_commands_counts_them_as_failed(tmp_path: Path) -> None:
    made = written(tmp_path, text=EMPTY)
    truth = made.truth(FolderPlace(tmp_path / "shop" / "truth"))

    async def planted() -> None:
        executor = Executor(made, truth)
        for number in range(3):
            request, fields = f"{LOAD}{made.workload_digest}:{number}", hire(0)["fields"]
            order = ExecuteCommand("employee", "hire", 1_000_000 + number, fields, None, request)
            assert (await executor.handle(order)).status == 201
        executor.close()

    asyncio.run(planted())

    async def story(service: Served) -> None:
        await service.client.put("/load", json={"rate": 500})
        await until(lambda: service.front.load.failed >= 3)

    lived(made, tmp_path / "shop", story)


@pytest.mark.parametrize(("engine", "model"), [*KEYS, ("duckdb", "history")])
def test_commit_times_do_not_fall_when_the_clock_is_set_back(
    engine: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made = written(tmp_path, f"truth.model={model}", f"truth.engine={engine}", text=EMPTY)
    clock = [1_700_000_000.0]
    monkeypatch.setattr("lab.service.executor.time.time", lambda: clock[0])

    async def work(*keys: int) -> None:
        executor = Executor(made, made.truth(FolderPlace(tmp_path / "shop" / "truth")))
        orders = [ExecuteCommand("employee", "hire", key, hire(key)["fields"]) for key in keys]
        found = await asyncio.gather(*map(executor.handle, orders))
        assert [one.status for one in found] == [201] * len(keys)
        executor.close()

    asyncio.run(work(1, 2))
    # Between two processes, and by more than a day.
    clock[0] -= 100_000.0
    asyncio.run(work(3, 4, 5))
    assert "the clock is 100,000 s behind the newest commit" in capfd.readouterr().err
    clock[0] += 200_000.0
    asyncio.run(work(6))
    truth = made.truth(FolderPlace(tmp_path / "shop" / "truth"))
    times = truth.changes_since("employee", 0, 100)["committed_at"].to_list()
    truth.close()
    assert times == [1_700_000_000.0] * 5 + [1_700_100_000.0]


def deleted(folder: Path) -> None:
    (folder / "truth.sqlite").unlink()


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def replaced(folder: Path) -> None:
    copy = folder / "copy"
    shutil.copy(folder / "truth.sqlite", copy)
    copy.replace(folder / "truth.sqlite")


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def log_deleted(folder: Path) -> None:
    (folder / "truth.sqlite-wal").unlink()


@pytest.mark.parametrize("how", [deleted, removed, replaced, moved, log_deleted])
def test_nothing_is_acknowledged_once_the_source_of_truth_is_gone(how: Callable[[Path], None], tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        assert (await service.command(hire(1), once="one")).status_code == 201
        how(tmp_path / "shop" / "truth")
        # A new command, one that was done before, and one that is rejected: nothing of it is known any more.
        for body, once in ((hire(2), None), (hire(1), "one"), (hire(1), "three")):
            found = await service.command(body, once=once)
            assert found.status_code == 503
            assert "the source of truth was lost under the running service" in found.json()["detail"]
        assert json.loads((await service.executor.handle(ReadStatus())).body)["lost"] == service.executor.lost

    lived(written(tmp_path, text=EMPTY), tmp_path / "shop", story)


def test_what_is_committed_to_a_file_that_goes_meanwhile_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes after the look before the commit."""

    async def story(service: Served) -> None:
        execute = service.executor.truth.execute_together

        def late(orders: Any) -> Any:
            found = execute(orders)
            deleted(tmp_path / "shop" / "truth")
            return found

        monkeypatch.setattr(service.executor.truth, "execute_together", late)
        assert (await service.command(hire(1))).status_code == 503

    lived(written(tmp_path, text=EMPTY), tmp_path / "shop", story)


def test_an_engine_that_can_not_tell_of_its_file_acknowledges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising() -> None:
        raise RuntimeError("the database has been invalidated")

    async def story(service: Served) -> None:
        assert (await service.command(hire(1))).status_code == 201
        monkeypatch.setattr(service.executor.truth, "lost", raising)
        found = await asyncio.wait_for(service.command(hire(2)), 5.0)
        assert found.status_code == 503
        assert "it can't be looked at: RuntimeError: the database has been invalidated" in found.json()["lost"]
        # The process ends by it.
        await asyncio.wait_for(service.executor.watch(), 5.0)

    lived(written(tmp_path, text=EMPTY), tmp_path / "shop", story)


@dataclass
class Restarted:
    """An executor that was started again: it is down, and then there with an older state, or with the same one."""

    peer: Peer
    restarts: int = 1
    position: int | None = None
    down: bool = False

    async def ask(self, message: Message) -> Reply:
        if self.down:
            raise Gone
        reply = await self.peer.ask(message)
        if self.position is None or not isinstance(message, ReadStatus):
            return reply
        body = json.dumps(json.loads(reply.body) | {"position": self.position}).encode()
        return Reply(reply.status, body, self.position)

    def told(self) -> dict[str, Any]:
        state = "starting" if self.down else "running"
        return {"state": state, "restarts": self.restarts, "last_exit": -9, "pid": None}


def test_the_newest_position_holds_until_the_next_executor_has_reported_its_own(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        backend = service.front.backend
        parts = backend.parts = dict(backend.parts)
        for key in (1, 2, 3):
            await service.command(hire(key), once=str(key))
        await until(lambda: service.projections["gossip"].worker.newest == 3)
        part = Restarted(parts[TRUTH].peer, down=True)
        parts[TRUTH] = PartHandle(part, part.told)
        for _ in range(2):
            found = (await service.client.get("/projections")).json()
            assert (found["truth"]["state"], found["truth"]["position"]) == ("starting", 3)
            assert "commands" not in found["truth"]
            assert [row["behind"] for row in found["projections"]] == [
                3 - row["position"] for row in found["projections"]
            ]
        part.down = False
        # What was executed earlier is answered with its position, which isn't the newest one.
        assert (await service.command(hire(1), once="1")).json()["position"] == 1
        assert backend.head == 3
        part.restarts, part.position = 2, 2
        assert (await service.client.get("/projections")).json()["truth"]["position"] == 2
        assert backend.head == 2

    lived(written(tmp_path, text=EMPTY), tmp_path / "shop", story)


@pytest.mark.parametrize(
    ("truth", "caught_up"),
    [
        ({"state": "starting", "position": 3}, False),
        ({"state": "running", "position": 3}, False),
        ({"state": "running", "position": 4, "commands": {}}, False),
        ({"state": "running", "position": 3, "commands": {}}, True),
    ],
)
def test_nothing_has_caught_up_with_an_executor_that_does_not_answer(
    truth: dict[str, Any], caught_up: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = LocalService([], tmp_path / "files")
    rows = [{"position": 3, "subscribe": "both"}, {"position": None, "subscribe": "channel"}]
    monkeypatch.setattr(service, "get", lambda _: {"truth": truth, "projections": rows})
    assert service.caught_up(0.15) is caught_up


def test_a_source_of_truth_that_can_not_be_opened_for_a_page_is_told_as_such(tmp_path: Path) -> None:
    def raising() -> None:
        raise sqlite3.DatabaseError("file is not a database")

    async def story(service: Served) -> None:
        former, service.front.backend.changes = service.front.backend.changes, Changes(raising)
        found = await service.client.get("/changes", params={"entity": "employee"})
        service.front.backend.changes.close()
        service.front.backend.changes = former
        assert found.status_code == 503
        assert "can't be read: DatabaseError: file is not a database" in found.json()["detail"]

    lived(written(tmp_path, text=EMPTY), tmp_path / "shop", story)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "99"], "was made with seed = 11, and 99 was asked for"),
        (["--set", "truth.model=snapshot"], "was made with truth.model = history, and snapshot was asked for"),
        (["--set", "workload.skew=0.5"], "was made with workload.skew = 0.0, and 0.5 was asked for"),
        (["--set", "domain.records=50"], "was made with domain.records = 40, and 50 was asked for"),
    ],
)
def test_another_source_of_truth_is_refused_before_anything_starts(words: list[str], said: str, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    written(tmp_path, text=EMPTY).truth(FolderPlace(shop / "truth")).close()
    found = call("serve", str(tmp_path / "served.toml"), "--folder", str(shop), "--port", "0", *words)
    assert found.exit_code == 2
    (line,) = found.stderr.strip().splitlines()
    assert said in line
    assert sorted(path.name for path in shop.iterdir()) == [".service.lock", "truth"]


def another(folder: Path) -> None:
    other = written(folder.parent.parent, text=EMPTY).truth(FolderPlace(folder.parent.parent / "other"))
    other.close()
    shutil.copy(folder.parent.parent / "other" / "truth.sqlite", folder / "truth.sqlite")


def no_file_but_its_log(folder: Path) -> None:
    (folder / "truth.sqlite").rename(folder / "truth.sqlite-wal")


@pytest.mark.parametrize("how", [another, no_file_but_its_log])
def test_files_that_do_not_belong_together_are_told_once(how: Callable[[Path], None], tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    written(tmp_path, text=EMPTY).truth(FolderPlace(shop / "truth")).close()
    how(shop / "truth")
    found = call("serve", str(tmp_path / "served.toml"), "--folder", str(shop), "--port", "0")
    assert found.exit_code == 4
    assert len(found.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in shop.iterdir()) == [".service.lock", "truth"]


@pytest.mark.parametrize(
    "override",
    ["truth.durability=full", "workload.rate=7.0", "channel.lose=0.5", "catch_up.every=2.0", "name=renamed",
     "projection.gossip.batch=7"],
)  # fmt: skip
def test_what_a_user_may_change_goes_on(override: str, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "shop" / "truth")
    written(tmp_path, text=SMALL).truth(place).close()
    assert written(tmp_path, override, text=SMALL).confirm_truth(place) is not None


def test_a_service_whose_source_of_truth_is_deleted_begins_no_new_one(tmp_path: Path) -> None:
    written(tmp_path, text=SMALL)
    shop = tmp_path / "shop"
    with Process(str(tmp_path / "served.toml"), "--folder", str(shop)) as service:
        assert service.client.post("/commands/employee", json=hire(1)).status_code == 201
        shutil.rmtree(shop / "truth")
        acknowledged, end = 0, time.monotonic() + 60.0
        # Until the executor was lost, and a second one was refused too.
        while time.monotonic() < end and service.parts()["truth"]["restarts"] < 2:
            found = service.client.post("/commands/employee", json=hire(2 + acknowledged))
            acknowledged += found.status_code < 400
            time.sleep(0.05)
        assert service.parts()["truth"]["last_exit"] == 4
        assert acknowledged == 0
        assert not (shop / "truth").exists()
        service.process.terminate()
        _, said = service.process.communicate(timeout=60)
    assert "under the running service" in said
    assert "none is begun in its place" in said
