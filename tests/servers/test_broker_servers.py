"""How brokers are found, that no password is shown, and that only what a dead process left is dropped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from lab.base import BadInput, Unavailable
from lab.channel import CHANNELS
from lab.ports import Endpoint, Missing
from lab.servers import instance, server
from lab.servers.broker import Broker
from lab.servers.disk_ledger import DiskLedger
from lab.servers.rabbit import SERVER as RABBIT

SECRET = "hunter2-é"
BROKERS = ("nats", "rabbitmq", "kafka")
# Another owner, whose process then waits for its end.
OTHER = """
import sys, time
from lab.channel import CHANNELS
channel = CHANNELS[sys.argv[1]](100, "")
channel.declare("group")
print(channel.name, flush=True)
time.sleep(120)
"""


def broker(name: str) -> Broker:
    found = server(name)
    assert isinstance(found, Broker)
    return found


def other(name: str, state: Path) -> tuple[subprocess.Popen[str], str]:
    """Start another owner; its process and its channel."""
    mine = broker(name).book.variable
    environment = {key: value for key, value in os.environ.items() if key != mine}
    environment["XDG_STATE_HOME"] = str(state)
    command = [sys.executable, "-c", OTHER, name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("name", BROKERS)
def test_no_password_is_shown_of_a_broker_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = broker(name).schemes[0]
    monkeypatch.setenv(broker(name).variable, f"{scheme}://someone:{SECRET}@127.0.0.1:1/x")
    found = broker(name).find()
    assert isinstance(found, Missing)
    assert f"{scheme}://someone@127.0.0.1:1/x" in found.reason
    assert f"export {broker(name).variable}=" in found.way_out
    assert "hunter2" not in f"{found}"
    monkeypatch.setenv(broker(name).variable, f"http://{SECRET}")
    found = broker(name).find()
    assert isinstance(found, Missing)
    assert "hunter2" not in f"{found}"


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.server(name)) for name in BROKERS[:2]])
def test_what_a_killed_process_left_is_dropped_and_what_a_living_one_has_is_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    living, mine = other(name, tmp_path)
    killed, left = other(name, tmp_path)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait(30)
        names = {line.name for line in broker(name).book.lines(None)}
        assert {mine, left} <= names
        dropped = broker(name).clean()
        assert left in dropped
        assert not [one for one in dropped if one.startswith(mine)]
        assert mine in {line.name for line in broker(name).book.lines(None)}
        assert broker(name).clean() == []
        # A message to what was dropped reaches nobody, and one to the other waits for its group.
        channel = CHANNELS[name](100, mine)
        assert channel.backlog("group") == 0
        channel.close()
    finally:
        for process in (living, killed):
            process.kill()
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()
    assert mine in broker(name).clean()
    assert not [*tmp_path.rglob("*.ledger")]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.server(name)) for name in ("redis", "nats")])
def test_an_instance_of_the_lab_s_own_keeps_messages_over_a_kill(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.testing.taking import messages, taken

    one = instance(name, tmp_path / "server", bound=True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    try:
        assert isinstance(one.start(), Endpoint)
        monkeypatch.setenv(f"LAB_{name.upper()}", one.url)
        # The owner of before is another server's.
        channel = CHANNELS[name](100, "lab_channel_of_a_test")
        channel.declare("group")
        channel.publish(messages([1, 2]))
        one.stop("kill")
        one.start()
        # A driver connects again by itself, and until then says that the server is away.
        for _ in range(100):
            with suppress(Unavailable):
                channel.backlog("group")
                break
            time.sleep(0.1)
        subscription = channel.subscribe("group", "one")
        assert [item.message.position for item in taken(subscription, 2)] == [1, 2]
        channel.close()
    finally:
        one.stop("kill")


UNREADABLE = [
    "heartbeat=hunter2", "hello=hunter2", "frame_max=hunter2", "ssl_options=hunter2",
    *(f"ssl_options={quote(value)}" for value in ("{'password': 'hunter2'", "'hunter2'", "7", "[" * 300)),
    f"ssl_options={'-' * 9_000}7", "ssl_options={'ca_certs': 'hunter2%5Cx00'}",
]  # fmt: skip


@pytest.mark.parametrize("options", UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_url_of_rabbitmq_whose_options_cant_be_read_is_refused_without_being_quoted(
    options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = broker("rabbitmq").parsed(f"amqp://127.0.0.1:1/?{options}", "LAB_RABBITMQ")
    with pytest.raises(BadInput) as refused:
        broker("rabbitmq").ask(url)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))
    monkeypatch.setenv("LAB_RABBITMQ", url.secret)
    found = broker("rabbitmq").find()
    assert isinstance(found, Missing)
    assert found.reason == "LAB_RABBITMQ: its options, after the `?`, can't be read (" + (
        "for example amqp://127.0.0.1:5672?heartbeat=5)"
    )


def test_a_url_of_rabbitmq_without_a_host_checks_the_certificate_of_the_host_that_it_means() -> None:
    found = RABBIT._parameters(RABBIT.parsed("amqps://u:p@/vhost", "HERE"))
    assert found.host == "localhost"
    assert found.ssl_options.server_hostname == "localhost"
    assert found.ssl_options.context.check_hostname


@pytest.mark.parametrize("name", BROKERS)
def test_what_failed_is_told_of_the_url_that_was_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = broker(name)
    monkeypatch.setenv(one.variable, f"{one.schemes[0]}://other:{SECRET}@elsewhere.example:4")
    with pytest.raises(Unavailable) as failed:
        one.ask(one.parsed(f"{one.schemes[0]}://me:x@127.0.0.1:1", "HERE"))
    assert f"{one.schemes[0]}://me@127.0.0.1:1: " in str(failed.value)
    assert "elsewhere" not in str(failed.value)
    said = str(one.failed("x1y2 is wrong", one.parsed(f"{one.schemes[0]}://me:x1y2@127.0.0.1:1", "HERE")))
    assert "x1y2" not in said


def test_a_ledger_that_is_no_text_is_read_as_far_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("LAB_NATS", "nats://127.0.0.1:1")
    line = json.dumps(["nats://127.0.0.1:1", "stream", "lab_channel_1", 7, "host", "/", False]).encode()
    (tmp_path / "polyglot-lab").mkdir()
    (tmp_path / "polyglot-lab" / "nats-7.ledger").write_bytes(b"\xff\xfe\n" + line + b"\n")
    assert [found.name for found in broker("nats").book.lines(None)] == ["lab_channel_1"]


def test_a_ledger_whose_file_is_gone_is_begun_anew_and_keeps_none_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ledger = DiskLedger("broker", lambda: "broker://here", lambda name: None)
    ledger.variable = "LAB_OWNER_OF_A_TEST"  # type: ignore[misc]
    number = ledger.owner()
    assert ledger._owner is not None
    first = ledger._owner.held
    ledger._file(number).unlink()
    assert ledger.owner() == number
    assert first._file.closed  # type: ignore[union-attr]
    assert ledger._owner.held is not first
    ledger.leave()
    assert not [*tmp_path.rglob("*.ledger")]
