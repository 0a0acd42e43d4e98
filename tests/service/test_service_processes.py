"""The service as processes: what a kill takes, what a stop leaves, and what is said to whoever starts it wrongly."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import call
from serving import SMALL, TEXT, Process, hire, unsaid, waited, written

from lab.base import BadInput, LabError
from lab.feed.reader import ChangeReader
from lab.place import FolderPlace
from lab.service.local import LocalService
from lab.service.locking import owned
from lab.service.part import Orders
from lab.service.supervisor import Child


def command(client: httpx.Client, body: dict[str, Any], once: str) -> httpx.Response:
    return client.post("/commands/employee", json=body, headers={"idempotency-key": once})


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    written(tmp_path, text=SMALL)
    return str(tmp_path / "served.toml")


def test_a_projection_that_is_killed_comes_back_and_nothing_is_lost(tmp_path: Path) -> None:
    written(tmp_path)
    with Process(str(tmp_path / "served.toml"), "--folder", str(tmp_path / "shop")) as service:
        client = service.client
        for key in range(1, 11):
            assert command(client, hire(key), f"first {key}").status_code == 201
        victim = service.parts()["sums"]["pid"]
        os.kill(victim, signal.SIGKILL)
        for key in range(11, 31):
            # The rest go on.
            position = command(client, hire(key), f"then {key}").json()["position"]
            found = client.get("/projections/directory/employee", params={"key": key, "at_least": position})
            assert len(found.json()["rows"]) == 1
        waited(lambda: service.parts()["sums"]["position"] == 30)
        told = service.parts()["sums"]
        assert (told["state"], told["restarts"], told["last_exit"]) == ("running", 1, -signal.SIGKILL)
        assert told["pid"] != victim
        rows = client.get("/projections/sums/payroll", params={"at_least": 30}).json()["rows"]
        assert rows == [{"department": "Legal", "records": 30, "sum_salary": 30 * 5_000}]
        assert 'lab_projection_restarts_total{projection="sums"} 1' in client.get("/metrics").text
        # The executor's turn: what it had acknowledged is there, and what it is told next.
        os.kill(service.parts()["truth"]["pid"], signal.SIGKILL)
        waited(
            lambda: client.get("/health").json()["status"] == "degraded" or service.parts()["truth"]["restarts"] == 1
        )
        waited(lambda: command(client, hire(31), "last").status_code == 201)
        assert service.parts()["truth"]["restarts"] == 1
        # What it had answered before it was killed it answers again, and does not do again.
        again = command(client, hire(5), "first 5")
        assert (again.status_code, again.json()["position"]) == (201, 5)
        waited(lambda: service.parts()["gossip"]["highest"] == 31 or service.parts()["directory"]["position"] == 31)
        assert service.stop() == (143, "")


def test_whatever_was_acknowledged_is_there_after_the_whole_service_was_killed(scenario: str, tmp_path: Path) -> None:
    shop = ["--folder", str(tmp_path / "shop")]
    acknowledged: dict[str, dict[str, Any]] = {}
    killed = threading.Event()

    def work(client: httpx.Client, worker: int) -> None:
        for number in range(10_000):
            key = worker * 100_000 + number
            try:
                found = command(client, hire(key), str(key))
            except httpx.TransportError:
                return
            if found.status_code == 201:
                acknowledged[str(key)] = found.json()
            if killed.is_set():
                return

    with Process(scenario, *shop) as service, ThreadPoolExecutor(4) as pool:
        pids = [part["pid"] for part in service.parts().values()]
        working = [pool.submit(work, service.client, worker) for worker in range(4)]
        waited(lambda: len(acknowledged) > 100)
        # The executor too, in the middle of its work.
        os.kill(pids[0], signal.SIGKILL)
        service.kill()
        killed.set()
        for future in working:
            future.result()
    with Process(scenario, *shop) as service:
        for once, former in list(acknowledged.items())[::7]:
            again = command(service.client, hire(int(once)), once)
            assert (again.status_code, again.json()) == (201, former)
        head = service.parts()["truth"]["position"]
        waited(lambda: service.parts()["directory"]["position"] == head)
        assert service.stop() == (143, "")
    # Nobody was left behind by either end.
    waited(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 10)
    truth = written(tmp_path, text=SMALL).truth(FolderPlace(tmp_path / "shop" / "truth"))
    changes = ChangeReader(truth).changes_since("employee", 0, 1_000_000)
    truth.close()
    there = dict(changes.select("key", "position").iter_rows())
    assert {int(once): former["position"] for once, former in acknowledged.items()}.items() <= there.items()
    assert changes.height == changes["key"].n_unique()


def test_a_source_of_truth_that_one_process_has_open_is_served_like_any_other(tmp_path: Path) -> None:
    written(tmp_path, text=SMALL)
    words = [str(tmp_path / "served.toml"), "--set", "truth.engine=duckdb", "--set", "truth.model=events"]
    words += ["--folder", str(tmp_path / "shop")]
    with Process(*words) as service:
        client = service.client
        for key in range(1, 11):
            assert command(client, hire(key), f"first {key}").status_code == 201
        found = client.get("/projections/directory/employee", params={"key": 10, "at_least": 10, "timeout": 20})
        assert len(found.json()["rows"]) == 1
        page = client.get("/changes", params={"entity": "employee", "since": 4}).json()
        assert [row["position"] for row in page["changes"]] == [5, 6, 7, 8, 9, 10]
        assert client.post("/projections/directory/rebuild").status_code == 202
        waited(lambda: service.parts()["directory"]["rebuild"]["state"] == "done")
        assert service.parts()["directory"]["rebuild"]["read"] == 10
        os.kill(service.parts()["truth"]["pid"], signal.SIGKILL)
        # Projections and readers of changes find the next executor by themselves.
        waited(lambda: command(client, hire(11), "last").status_code == 201)
        again = command(client, hire(3), "first 3")
        assert (again.status_code, again.json()["position"]) == (201, 3)
        found = client.get("/projections/directory/employee", params={"key": 11, "at_least": 11, "timeout": 20})
        assert len(found.json()["rows"]) == 1
        assert client.get("/changes", params={"entity": "employee"}).json()["position"] == 11
        assert service.stop() == (143, "")
    with Process(*words) as service:
        assert service.parts()["truth"]["position"] == 11
        assert service.stop() == (143, "")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_nothing_that_was_acknowledged(
    how: signal.Signals, scenario: str, tmp_path: Path
) -> None:
    acknowledged: list[int] = []

    def work(client: httpx.Client, worker: int) -> None:
        for number in range(10_000):
            try:
                found = command(client, hire(worker * 100_000 + number), f"{worker} {number}")
            except httpx.TransportError:
                return
            if found.status_code == 503:
                # Its body was still to come when the service stopped.
                assert "the service stops" in found.json()["detail"], found.text
                return
            assert found.status_code == 201, found.text
            acknowledged.append(found.json()["position"])

    with Process(scenario, "--folder", str(tmp_path / "shop")) as service, ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, service.client, worker) for worker in range(4)]
        waited(lambda: len(acknowledged) > 50)
        service.process.send_signal(how)
        _, said = service.process.communicate(timeout=60)
        assert service.process.returncode == 128 + how
        assert unsaid(said) == ""
        for future in working:
            future.result()
    truth = written(tmp_path, text=SMALL).truth(FolderPlace(tmp_path / "shop" / "truth"))
    found = set(ChangeReader(truth).changes_since("employee", 0, 1_000_000)["position"])
    truth.close()
    assert set(acknowledged) <= found


def sent_until_refused(url: httpx.URL, head: bytes, piece: bytes, most: int) -> int:
    """Bytes that somebody takes who is sent more and more, until they hang up; `most` if they never do."""
    sent = 0
    with socket.create_connection((url.host, url.port), timeout=20) as line, contextlib.suppress(OSError):
        line.sendall(head)
        while sent < most:
            line.sendall(piece)
            sent += len(piece)
    return sent


def memory_peak(pid: int) -> int:
    """The most bytes of memory that a process has had, on Linux; elsewhere 0: there is nothing to compare."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def test_a_head_and_a_body_without_end_are_cut_off(scenario: str) -> None:
    with Process(scenario) as service:
        url, most = httpx.URL(service.told["url"]), 1_000_000_000
        assert service.client.get("/projections").status_code == 200
        before = memory_peak(service.told["pid"])
        first = b"GET / HTTP/1.1\r\nhost: localhost\r\n"
        assert sent_until_refused(url, first, b"x-more: " + b"y" * 8_000 + b"\r\n", most) < 20_000_000
        assert sent_until_refused(url, b"GET /", b"z" * 8_000, most) < 20_000_000
        head = b"POST /commands/employee HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        chunked = head + b"transfer-encoding: chunked\r\n\r\n"
        assert sent_until_refused(url, chunked, b"10000\r\n" + b" " * 65_536 + b"\r\n", most) < 20_000_000
        # A gigabyte that is announced is refused before it is sent.
        announced = head + b"content-length: 1000000000\r\n\r\n"
        assert sent_until_refused(url, announced, b" " * 65_536, most) < 20_000_000
        assert memory_peak(service.told["pid"]) - before < 20_000_000
        assert service.client.get("/health").json()["status"] == "ok"


def test_a_token_by_the_environment(scenario: str) -> None:
    with Process(scenario, "--host", "0.0.0.0", env={"LAB_TOKEN": "secret"}) as service:
        port = httpx.URL(service.told["url"]).port
        url = f"http://127.0.0.1:{port}/health"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": "Bearer secret"}).status_code == 200
        evil = {"authorization": "Bearer secret", "host": "evil.example"}
        assert httpx.get(url, headers=evil).status_code == 421


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "0.0.0.0"), "give a --token"),
        (("--token", ""), "not a token"),
        (("--host", "no.such.host.invalid", "--token", "t"), "can't listen"),
        (("--set", "projection.directory.batch=0"), "projection.directory.batch"),
        (("--folder", "FOLDER"), "another process is at work on `service`"),
        (("--port", "PORT"), "can't listen"),
    ],
)
def test_mistakes_are_told_in_one_line(words: tuple[str, ...], said: str, scenario: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken, owned(tmp_path / "taken", "service"):
        place = {"FOLDER": str(tmp_path / "taken"), "PORT": str(taken.getsockname()[1])}
        found = call("serve", scenario, *(place.get(word, word) for word in words))
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stderr.count("error:") == 1


def test_a_damaged_source_of_truth_ends_the_service_and_is_left_as_it_is(tmp_path: Path, scenario: str) -> None:
    shop = tmp_path / "shop"
    written(tmp_path, text=SMALL).truth(FolderPlace(shop / "truth")).close()
    file = shop / "truth" / "truth.sqlite"
    file.write_bytes(os.urandom(20_000))
    garbage = file.read_bytes()
    with pytest.raises(AssertionError, match="ended with 4: ") as told:
        Process(scenario, "--folder", str(shop))
    assert "the source of truth can't be opened" in str(told.value)
    assert str(told.value).count("source of truth") == 1
    assert "Traceback" not in str(told.value)
    assert file.read_bytes() == garbage
    assert not [path.name for path in shop.iterdir() if "aside" in path.name]


def test_a_part_whose_input_is_wrong_is_not_started_again(tmp_path: Path) -> None:
    orders = Orders("directory", str(tmp_path / "gone.toml"), (), None, str(tmp_path), str(tmp_path), time.time())
    child = Child(orders)
    with pytest.raises(LabError, match=r"`directory` could not start: .*gone\.toml: no such file") as told:
        asyncio.run(asyncio.wait_for(child.start(), 60))
    assert type(told.value) is LabError
    assert (child.state, child.restarts, child.last_exit) == ("stopped", 0, BadInput.exit_status)


def test_a_projection_mends_itself_while_the_others_go_on_and_a_folder_is_begun_anew(
    scenario: str, tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    (shop / "directory.2024").mkdir(parents=True)
    (shop / "directory.2024" / "mine.txt").write_text("mine")
    with Process(scenario, "--folder", str(shop)) as service:
        client = service.client
        for key in range(1, 6):
            position = command(client, hire(key), str(key)).json()["position"]

        def right() -> bool:
            found = client.get("/projections/directory/employee", params={"key": 5})
            return found.status_code == 200 and len(found.json()["rows"]) == 1

        waited(lambda: service.parts()["directory"]["position"] == position)
        for file in (shop / "directory").glob("projection.sqlite*"):
            with file.open("r+b") as opened:
                opened.write(os.urandom(file.stat().st_size))
        # It is a reader or the next batch that meets it; nothing that is wrong is answered.
        more = itertools.count(100)

        def mended() -> bool:
            key = next(more)
            command(client, hire(key), f"more {key}")
            return right() and "directory" in client.get("/health").json()["set_aside"]

        waited(mended, 60)
        told = service.parts()["directory"]
        assert (told["state"], told["last_exit"]) == ("running", 75)
        # An engine that dies of its files, again and again.
        for death in range(1, 4):
            waited(lambda: service.parts()["directory"]["pid"] is not None, 60)
            os.kill(service.parts()["directory"]["pid"], signal.SIGSEGV)
            waited(lambda death=death: service.parts()["directory"]["restarts"] == 1 + death, 60)  # type: ignore[misc]
            waited(lambda: service.parts()["directory"]["state"] == "running", 60)
        assert "SIGSEGV" in client.get("/health").json()["set_aside"]["directory"]["directory.aside-2"]
        waited(right, 60)
        assert service.parts()["gossip"]["restarts"] == service.parts()["truth"]["restarts"] == 0
        found = call("serve", scenario, "--folder", str(shop), "--port", "0", "--fresh")
        assert (found.exit_code, "another process is at work" in found.stderr) == (2, True)
        service.stop()
    with Process(scenario, "--folder", str(shop), "--fresh") as service:
        assert service.parts()["truth"]["position"] == 0
        assert service.parts()["directory"]["set_aside"] == {}
        service.stop()
    assert sorted(path.name for path in shop.iterdir() if path.name.startswith("d")) == ["directory", "directory.2024"]
    assert (shop / "directory.2024" / "mine.txt").read_text() == "mine"


def test_without_a_folder_nothing_is_begun_anew(scenario: str) -> None:
    found = call("serve", scenario, "--fresh")
    assert found.exit_code == 2
    assert "--folder" in found.stderr


def test_without_the_extra_the_way_to_get_it_is_told(tmp_path: Path) -> None:
    written(tmp_path, text=TEXT)
    code = (
        "import sys; sys.modules['uvicorn'] = None; from lab.cli import main; "
        f"sys.argv = ['lab', 'serve', {str(tmp_path / 'served.toml')!r}]; main()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "pip install 'polyglot-lab[service]'" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_folder_of_another_write_model_is_refused_in_one_line_before_anything_starts(
    scenario: str, tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    written(tmp_path, text=SMALL).truth(FolderPlace(shop / "truth")).close()
    found = call("serve", scenario, "--folder", str(shop), "--port", "0", "--set", "truth.model=events")
    assert found.exit_code == 2
    (said,) = found.stderr.strip().splitlines()
    assert "was made with truth.model = history, and events was asked for" in said
    assert "set it back" in said
    assert sorted(path.name for path in shop.iterdir()) == [".service.lock", "truth"]


def test_a_service_is_gone_only_when_its_parts_have_closed_their_files(scenario: str, tmp_path: Path) -> None:
    service = LocalService([scenario], tmp_path / "files")
    with service:
        part = service.get("/health")["pids"]["directory"]
        os.kill(part, signal.SIGSTOP)
        service.kill()
        assert service.let_go(0.5) == ["directory"]
        resumed = threading.Timer(2.0, os.kill, (part, signal.SIGCONT))
        resumed.start()
        assert not resumed.finished.is_set()
    assert resumed.finished.is_set()
    assert service.let_go(0.0) == []


@pytest.mark.parametrize("part", ["truth", "directory"])
@pytest.mark.parametrize("removed", [False, True])
def test_a_part_that_starts_after_its_service_has_gone_makes_nothing(
    part: str, removed: bool, scenario: str, tmp_path: Path
) -> None:
    folder, sockets = tmp_path / "files", tmp_path / "sockets"
    for one in (sockets,) if removed else (folder, sockets):
        one.mkdir()
    orders = Orders(part, scenario, (), None, str(folder), str(sockets), time.time(), journal=True)
    words = [sys.executable, "-m", "lab.service.part", orders.json()]
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in ended.stderr
    assert folder.exists() != removed
    assert [path.name for path in tmp_path.glob("files/*")] == [*([] if removed else [f".{part}.lock"])]
