"""A MariaDB server of the tests' own: killed while commands flow, and set so that it can't keep what is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from reachable import own_instance

from lab.base import BadInput, Unavailable
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command, Outcome
from lab.place import FolderPlace
from lab.servers.instances import Instance
from lab.truth import open_truth
from lab.truth.server_truth import ServerTruth

pytestmark = pytest.mark.server("mariadb")
KILLS = 2


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Instance]:
    """It runs, and is what the environment names."""
    with own_instance("mariadb", getattr(request, "param", None)) as one:
        monkeypatch.setenv("LAB_MARIADB", one.url)
        yield one


def hire(key: int) -> Command:
    fields = {"name": f"Number {key}", "manager": None if key == 1 else 1, "department": "Sales", "salary": 3_000}
    return Command("employee", "hire", key, fields)


def test_nothing_acknowledged_is_lost_or_doubled_by_a_server_that_is_killed(
    own: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command has the id of a request, so a writer asks again where it doesn't know."""
    truth = open_truth("mariadb", "history", FolderPlace(tmp_path / "truth"), EMPLOYEES, "full")
    assert isinstance(truth, ServerTruth)
    acknowledged, stopped, failed = dict[int, Outcome](), threading.Event(), list[BaseException]()
    some = threading.Semaphore(0)

    def write() -> None:
        key = 0
        while not stopped.is_set() and key < 100_000:
            key += 1
            try:
                for _ in range(20):
                    try:
                        acknowledged[key] = truth.execute(hire(key), f"request {key}")
                        break
                    except Unavailable:
                        # The server was away for longer than a writer waits.
                        continue
                some.release()
            except BaseException as error:
                failed.append(error)
                return

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(KILLS):
        for _ in range(5):
            assert some.acquire(timeout=60), failed
        own.stop("kill")
        own.start()
        # Where connections to its port have not ended yet, it gets another one.
        monkeypatch.setenv("LAB_MARIADB", own.url)
    for _ in range(5):
        assert some.acquire(timeout=60), failed
    stopped.set()
    thread.join(60)
    assert not failed
    with truth._home.book.session() as other:
        chosen = f'SELECT "key", position, revision FROM {truth.on.named}.employee ORDER BY position'
        found = other.execute(chosen).fetchall()
    assert {one.status for one in acknowledged.values()} == {"accepted"}
    assert [(key, one.position, one.revision) for key, one in acknowledged.items()] == found
    assert truth.tried_again >= 1
    truth.close()


@pytest.mark.parametrize("own", [{"innodb_flush_log_at_trx_commit": "2"}], indirect=True)
def test_a_server_that_does_not_wait_for_the_disk_is_refused_for_full(own: Instance, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"truth\.durability: the server doesn't wait for the disk"):
        open_truth("mariadb", "history", FolderPlace(tmp_path / "full"), EMPLOYEES, "full")
    truth = open_truth("mariadb", "history", FolderPlace(tmp_path / "normal"), EMPLOYEES, "normal")
    assert truth.execute(hire(1)).position == 1
    assert truth.settings()["durability"] == "normal"
    truth.close()
