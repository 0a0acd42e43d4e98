"""The service goes on with the source of truth that it had, and answers each request with its own outcome."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import call
from serving import SMALL, Process, Served, hire, lived, until, written

from lab.place import FolderPlace
from lab.service.executor import Executor
from lab.service.messages import CLIENT, LOAD, ExecuteCommand, ReadStatus

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


@pytest.mark.parametrize("key", ["load 0", "load:0", "0", "LOAD", "client:0"])
def test_no_key_of_a_client_is_one_of_the_labs_own(key: str, tmp_path: Path) -> None:
    made = written(tmp_path, text=EMPTY)

    async def story(service: Served) -> None:
        keys = [key, f"{LOAD}{made.workload_digest}:0", f"load {made.workload_digest} 0"]
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


def test_ids_of_clients_have_a_namespace() -> None:
    assert not CLIENT.startswith(LOAD)
    assert not LOAD.startswith(CLIENT)
