"""How a Redis server is found, what is written down there, and that only what a dead process left is dropped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from lab.base import BadInput, CannotTake, Damaged, Unavailable
from lab.cli import lab
from lab.engines import redis as engine
from lab.place import FolderPlace
from lab.ports import Endpoint, Missing
from lab.servers import require
from lab.servers.redis import LEDGER, SERVER
from lab.servers.redis_ledger import keys_of
from lab.servers.redis_place import RedisPlace

NEEDED = pytest.mark.server("redis")
SECRET = "hunter2-é"
OTHER = """
import sys, time
from pathlib import Path
from lab.place import FolderPlace
from lab.servers.redis_place import RedisPlace
print(RedisPlace.of(FolderPlace(Path(sys.argv[1]))).claim(), flush=True)
if sys.argv[2] == "waits":
    time.sleep(120)
"""


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    found = SERVER.connect()
    yield found
    found.close()


def there(client: redis.Redis, name: str) -> int:
    return sum(len(some) for some in keys_of(client, name))


def written(client: redis.Redis, name: str) -> bool:
    return any(line.name == name for line in LEDGER.lines(client))


def other(folder: Path, how: str) -> tuple[subprocess.Popen[str], str]:
    """Start another owner; its process and its prefix."""
    environment = {name: value for name, value in os.environ.items() if name != LEDGER.variable}
    command = [sys.executable, "-c", OTHER, str(folder), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ended(process: subprocess.Popen[str], how: int | None = None) -> None:
    if how is not None:
        process.send_signal(how)
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://me:{SECRET}@cache.example:6380/2", "redis://me@cache.example:6380/2"),
        (f"rediss://:{SECRET}@cache.example", "rediss://cache.example"),
        (f"unix:///run/redis.sock?password={SECRET}&db=1", "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    found = engine.url(url, "LAB_REDIS")
    assert str(found) == repr(found) == shown
    assert found.secret == url
    assert SECRET not in found.without_secrets(f"wrong password {SECRET}")


@pytest.mark.parametrize("more", ["/0?db=abc", "/0?nothing=1", "/zero", "/0?socket_timeout=soon"])
def test_an_option_that_the_driver_doesnt_take_is_told(more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_REDIS", f"redis://:{SECRET}@127.0.0.1{more}")
    match SERVER.find():
        case Missing(reason, _):
            assert "LAB_REDIS: redis://127.0.0.1" in reason
            assert "is none that its driver takes" in reason
            assert SECRET not in reason
        case found:
            raise AssertionError(found)


@pytest.mark.parametrize("text", [f"password {SECRET}", "http://here", "redis://", "redis://host:port:7"])
def test_what_is_no_url_is_not_quoted(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_REDIS", text)
    with pytest.raises(BadInput, match=r"^LAB_REDIS: it is no URL that begins with redis://") as caught:
        SERVER.url()
    assert SECRET not in str(caught.value)
    assert isinstance(SERVER.find(), Missing)


def test_no_password_is_printed_by_any_way_of_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_REDIS", f"redis://somebody:{SECRET}@127.0.0.1:1/0")
    said = [str(SERVER.find())]
    with pytest.raises(BadInput) as refused:
        require([("projection.mine.store", "redis")])
    said.append(str(refused.value))
    for arguments in (["servers"], ["servers", "--json"], ["servers", "--clean"]):
        found = CliRunner().invoke(lab, arguments)
        assert found.exit_code == 0, found.output
        said.append(found.output)
    assert not any("hunter2" in one for one in said)
    assert all("127.0.0.1:1" in one for one in said)
    assert "projection.mine.store: no Redis server is reached" in said[1]


@pytest.mark.parametrize(
    ("most", "policy", "refused"),
    [
        ("0", "allkeys-lru", False),
        ("100", "noeviction", False),
        ("100", "volatile-lru", False),
        ("1", "allkeys-lfu", True),
    ],
)
def test_a_server_that_removes_keys_is_none_for_the_lab(
    most: str, policy: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"server_version": "7", "maxmemory": most, "maxmemory_policy": policy}
    monkeypatch.setattr(engine, "settings", lambda client: settings)
    match SERVER.find():
        case Missing(reason, way_out):
            assert refused
            assert policy in reason
            assert "noeviction" in way_out
        case _:
            assert not refused


@NEEDED
def test_lab_servers_tells_version_and_settings() -> None:
    rows = json.loads(CliRunner().invoke(lab, ["servers", "--json"]).output)
    (row,) = [row for row in rows if row["server"] == "redis"]
    assert row["reachable"]
    assert row["settings"]["durability"] in ("memory", "normal", "full")
    assert isinstance(SERVER.find(), Endpoint)


@NEEDED
def test_what_the_driver_raises_is_told_apart(client: redis.Redis, tmp_path: Path) -> None:
    name = RedisPlace.of(FolderPlace(tmp_path / "store")).claim()
    client.set(f"{name}:text", "x")
    with pytest.raises(Damaged, match="WRONGTYPE"), engine.mapped("here"):
        client.hget(f"{name}:text", "x")
    with pytest.raises(CannotTake), engine.mapped("here"):
        client.execute_command("SET", f"{name}:text", object())
    with pytest.raises(Unavailable), engine.mapped("here"):
        engine.connect(engine.url("redis://127.0.0.1:1/0", "x")).ping()
    line = engine.RedisLine(client)
    found = line.ask([("SET", f"{name}:a", "1"), ("HGET", f"{name}:a", "b"), ("GET", f"{name}:a")])
    assert (found[0], found[2]) == (b"OK", b"1")
    assert "WRONGTYPE" in str(found[1])
    line.close()
    RedisPlace.of(FolderPlace(tmp_path / "store")).drop()


@NEEDED
def test_a_place_is_a_prefix_that_is_written_down(client: redis.Redis, tmp_path: Path) -> None:
    place, beside = (RedisPlace.of(FolderPlace(tmp_path / name)) for name in ("My store", "other"))
    assert (place.named, place.size_bytes()) == ("", 0)
    name, kept = place.claim(), beside.claim()
    assert place.claim() == name == place.named
    assert name.startswith("lab_my_store_0_")
    assert written(client, name)
    client.mset({f"{name}:{number}": "x" * 1_000 for number in range(3_000)})
    client.set(f"{name}x:not", "mine")
    assert 3_000_000 < place.size_bytes() < 6_000_000
    assert place.within_reach()
    assert name in place.shown()
    place.drop()
    place.drop()
    assert (there(client, name), written(client, name), there(client, kept)) == (0, False, 1)
    assert client.delete(f"{name}x:not") == 1
    assert not (tmp_path / "My store").exists()
    beside.drop()


@NEEDED
def test_a_prefix_that_is_gone_is_made_anew(client: redis.Redis, tmp_path: Path) -> None:
    place = RedisPlace.of(FolderPlace(tmp_path / "store"))
    former = place.claim()
    client.delete(*[key for some in keys_of(client, former) for key in some])
    assert place.claim() != former
    place.drop()


@NEEDED
def test_what_a_killed_process_left_is_dropped_and_what_a_living_one_has_is_not(
    client: redis.Redis, tmp_path: Path
) -> None:
    living, mine = other(tmp_path / "living", "waits")
    killed, left = other(tmp_path / "killed", "waits")
    try:
        ended(killed, signal.SIGKILL)
        for _ in range(100):
            SERVER.clean()
            if not there(client, left):
                break
        assert (there(client, left), written(client, left)) == (0, False)
        assert there(client, mine)
        assert written(client, mine)
    finally:
        ended(living, signal.SIGKILL)


@NEEDED
def test_a_process_that_ends_by_itself_leaves_nothing(client: redis.Redis, tmp_path: Path) -> None:
    process, name = other(tmp_path / "store", "ends")
    ended(process)
    assert (there(client, name), written(client, name)) == (0, False)


@NEEDED
def test_an_owner_whose_subscription_was_lost_takes_it_again(client: redis.Redis, tmp_path: Path) -> None:
    place = RedisPlace.of(FolderPlace(tmp_path / "store"))
    name, number = place.claim(), LEDGER.owner()
    assert LEDGER._owner is not None
    held: Any = LEDGER._owner.held
    # As a server that restarts, or a network, does: the connection alone is lost.
    port = held._topic.connection._sock.getsockname()[1]
    (lost,) = [one for one in client.client_list() if one["addr"].endswith(f":{port}")]
    client.client_kill_filter(_id=lost["id"])
    for _ in range(5):
        assert name not in SERVER.clean()
    assert written(client, name)
    held.close()
    assert LEDGER.owner() == number
    assert name not in SERVER.clean()
    place.drop()
