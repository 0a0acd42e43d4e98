"""TLS and passwords: each kind of server is reached with both, and no password is left or printed anywhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from secured import MARK, PASSWORD, SECURED, Certificates, Secured, nats, until

from lab.channel import CHANNELS
from lab.cli import lab
from lab.engines.urls import ServerUrl
from lab.live.run import run_live
from lab.ports import Endpoint, Missing
from lab.runs import load_run
from lab.scenario import Source
from lab.servers import catalogue, instance, server
from lab.servers.environment import way_out
from lab.servers.nats import SERVER as NATS
from lab.servers.rabbit import SERVER as RABBITMQ
from lab.testing.taking import messages, taken
from lab.wiring import plan

# All of them at once: the source of truth and its log, stores, and the channel.
TEXT = """
schema = 1
name = "secured"
seed = 5
[domain]
name = "employees"
records = 30
[workload]
commands = 120
rate = 200.0
[truth]
engine = "postgres"
model = "history"
[catch_up]
every = 0.2
feed = "log"
[channel]
broker = "nats"
lose = 0.05
[measure]
trials = false
samples = 2
blocks = 0
budget = 0.05
[[projection]]
name = "table"
store = "postgres.table"
[[projection]]
name = "rows"
store = "mariadb.table"
[[projection]]
name = "values"
store = "redis.keyvalue"
"""
ONE = """
schema = 1
name = "alone"
seed = 1
[domain]
name = "employees"
[workload]
commands = 10
[[projection]]
name = "mine"
"""
# What makes a scenario need one kind of server alone.
ALONE = {
    "postgres": 'store = "postgres.table"', "mariadb": 'store = "mariadb.table"', "redis": 'store = "redis.keyvalue"',
    "nats": 'store = "sqlite.table"\n[channel]\nbroker = "nats"',
    "rabbitmq": 'store = "sqlite.table"\n[channel]\nbroker = "rabbitmq"',
}  # fmt: skip
TOGETHER = ("postgres", "mariadb", "redis", "nats")
KINDS = [pytest.param(name, marks=pytest.mark.server(name)) for name in SECURED]
Of = Callable[[str], Secured]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def of(certificates: Certificates) -> Iterator[Of]:
    """The server of each kind, started when it is first asked for."""
    found: dict[str, Secured] = {}
    with ExitStack() as stack:

        def one(name: str) -> Secured:
            if name not in found:
                found[name] = stack.enter_context(SECURED[name](certificates))
            return found[name]

        yield one


def said(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(lab, words)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.output


@pytest.mark.parametrize("name", KINDS)
def test_a_server_is_reached_with_tls_and_a_password_by_variable_or_file(
    name: str, of: Of, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = of(name)
    monkeypatch.setenv(one.variable, one.url(PASSWORD, certificates.authority))
    assert isinstance(server(name).find(), Endpoint)
    monkeypatch.delenv(one.variable)
    (tmp_path / "url").write_text(one.url(PASSWORD, certificates.authority))
    monkeypatch.setenv(f"{one.variable}_FILE", str(tmp_path / "url"))
    (row,) = catalogue([name])
    assert row["reachable"]
    assert MARK not in json.dumps(row)


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_password_and_an_authority_that_signed_nothing_are_one_line_each(
    name: str, of: Of, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = of(name)
    scenario = tmp_path / "alone.toml"
    scenario.write_text(f"{ONE}{ALONE[name]}\n")
    wrong = one.url(f"{PASSWORD}-not", certificates.authority)
    monkeypatch.setenv(one.variable, wrong)
    for url, why, what_to_do in (
        (wrong, one.refuses, "put user and password into"),
        (one.url(PASSWORD, certificates.other), one.distrusted, "must name the authority of its certificate"),
        (re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", wrong), "efused", "start one: "),
    ):
        monkeypatch.setenv(one.variable, url)
        found = server(name).find()
        assert isinstance(found, Missing)
        status, output = said("run", str(scenario), "--live", "--runs", str(tmp_path / "runs"))
        assert status == 2
        (line,) = [line for line in output.splitlines() if line.strip()]
        assert why in line
        assert f"{one.variable}" in line
        assert what_to_do in line
        assert MARK not in f"{output}{found}{catalogue([name])}"
    assert not list(tmp_path.glob("runs/*/2*"))


def watched(process: subprocess.Popen[str], seen: set[str]) -> None:
    """Note each argument of any process of this machine that has the password, for as long as a process runs."""
    while process.poll() is None:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = entry.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if MARK in arguments:
                seen.add(arguments)
            if "lab.service.part" in arguments:
                seen.add("a projection's process")
        threading.Event().wait(0.05)


def test_a_run_on_all_of_them_leaves_and_prints_no_password(of: Of, certificates: Certificates, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
    environment["XDG_STATE_HOME"] = str(tmp_path / "state")
    for name in TOGETHER:
        one = of(name)
        url = one.url(PASSWORD, certificates.authority)
        if name in ("mariadb", "nats"):
            file = certificates.folder / f"{name}.url"
            file.write_text(url)
            environment[f"{one.variable}_FILE"] = str(file)
        else:
            environment[one.variable] = url
    (tmp_path / "secured.toml").write_text(TEXT)
    command = [sys.executable, "-m", "lab", "run", "secured.toml", "--live", "--runs", "runs"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    seen = set[str]()
    watching = threading.Thread(target=watched, args=(process, seen))
    watching.start()
    printed, errors = process.communicate(timeout=300)
    watching.join()
    assert process.returncode == 0, printed + errors
    assert MARK not in printed + errors
    assert seen == {"a projection's process"}
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file for file in kept if MARK.encode() in file.read_bytes()] == []
    (folder,) = tmp_path.glob("runs/secured/2*")
    told = load_run(str(folder)).manifest["servers"]
    assert set(told) == set(TOGETHER)
    assert all(one["url"] for one in told.values())


@pytest.mark.server("mariadb")
def test_the_name_of_a_mariadb_server_is_checked_with_and_without_a_file_of_authorities(
    of: Of, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its socket the server is reached under any name."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    own = of("mariadb").own
    assert own is not None
    good = of("mariadb").url(PASSWORD, certificates.authority) + f"&unix_socket={own.folder / 'data' / 'lab.sock'}"
    other = good.replace("@127.0.0.1:", "@elsewhere.example:")
    file = f"ssl_ca={certificates.authority}&"
    for url, said in (
        # The user may come from 127.0.0.1 alone, which is said once TLS holds.
        (good, "Access denied"), (good.replace(file, ""), "Access denied"),
        (other, "Hostname mismatch"), (other.replace(file, ""), "Hostname mismatch"),
        (other.replace("_identity=", "_cert="), "Access denied"),
    ):  # fmt: skip
        monkeypatch.setenv("LAB_MARIADB", url)
        found = server("mariadb").find()
        assert isinstance(found, Missing)
        assert said in found.reason


MESSAGES = """
schema = 1
name = "by-messages"
seed = 5
[domain]
name = "employees"
records = 60
[workload]
commands = 300
# A minute after the last command, what could not be published is given up: the broker has as long to start again.
rate = 20.0
[truth]
model = "history"
[channel]
broker = "rabbitmq"
duplicate = 0.2
[measure]
trials = false
samples = 2
blocks = 0
budget = 0.05
[[projection]]
name = "board"
store = "sqlite.table"
subscribe = "channel"
"""


@pytest.mark.server("rabbitmq")
def test_a_broker_that_is_killed_in_mid_run_has_lost_nothing_that_it_confirmed(
    of: Of,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Nothing else would bring it: the projection has messages alone."""
    one = of("rabbitmq")
    own = one.own
    assert own is not None
    monkeypatch.setenv(one.variable, one.url(PASSWORD, certificates.authority))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    scenario = tmp_path / "by-messages.toml"
    scenario.write_text(MESSAGES)
    # Nobody takes these before the end.
    waiting = CHANNELS["rabbitmq"](1_000, "")
    waiting.declare("later")
    waiting.publish(messages(range(1, 201)))
    journals = "runs/*/.*/work/served/writer-1.journal"
    killed = []

    def kill() -> None:
        until(lambda: any(journal.stat().st_size for journal in tmp_path.glob(journals)))
        threading.Event().wait(0.7)
        killed.append(own.process)
        own.stop("kill")
        # Not bound: it would end with this thread.
        instance("rabbitmq", own.folder).start()

    with ThreadPoolExecutor(1) as other:
        killing = other.submit(kill)
        done = run_live(plan(Source(scenario, ("time.mode=live",))), tmp_path / "runs", report=False)
        killing.result()
    assert killed
    assert killed != [own.process]
    failed = done.table("verdicts").filter(verdict="fail").rows()
    assert done.manifest["verdict"] == "pass", (failed, done.manifest["live"])
    assert done.manifest["live"]["caught_up"]
    assert done.manifest["live"]["unpublished"] == 0
    assert done.table("lag")["lag_seconds"].null_count() == 0
    assert {item.message.position for item in taken(waiting.subscribe("later", "one"), 200)} == set(range(1, 201))
    waiting.drop()
    said = capfd.readouterr()
    assert "it is tried again until it answers" in said.err
    assert MARK not in said.out + said.err
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and MARK.encode() in file.read_bytes()]


@pytest.mark.server("nats")
def test_a_token_of_nats_is_as_secret_as_a_password(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with nats(certificates, f'token: "{PASSWORD}"') as one:
        url = one.url(PASSWORD, certificates.authority)
        monkeypatch.setenv(one.variable, url.replace(f"//{url.split('//')[1].split(':')[0]}:", "//"))
        shown = str(NATS.url())
        assert "@" not in shown
        assert isinstance(server("nats").find(), Endpoint)
        channel = CHANNELS["nats"](100, "")
        subscription = channel.subscribe("group", "one")
        channel.publish(messages([1, 2]))
        assert [item.message.position for item in taken(subscription, 2)] == [1, 2]
        channel.drop()
    found = server("nats").find()
    assert MARK not in f"{shown}{found}"


@pytest.mark.server("nats")
def test_a_server_without_tls_is_not_told_who_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver would send the password in the clear."""
    usual = ServerUrl(NATS.usual, "here", NATS.schemes, NATS.usual)
    url = os.environ.get("LAB_NATS", str(usual)).rpartition("@")[2].rpartition("//")[2]
    for login in (f"someone:{MARK}@", f"{MARK}@", f"{MARK}:@", ""):
        monkeypatch.setenv("LAB_NATS", f"tls://{login}{url}")
        found = server("nats").find()
        assert isinstance(found, Missing)
        assert "the server speaks no TLS" in found.reason
        assert found.way_out.startswith("it answers, and without TLS: LAB_NATS or LAB_NATS_FILE must name")
        assert MARK not in f"{found}"


@pytest.mark.server("rabbitmq")
def test_of_a_port_without_tls_the_way_out_is_no_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    address = RABBITMQ.url()
    monkeypatch.setenv("LAB_RABBITMQ", f"amqps://guest:guest@{address.host}:{address.port or 5672}")
    found = RABBITMQ.find()
    assert isinstance(found, Missing)
    assert found.way_out.startswith("it answers, and without TLS: LAB_RABBITMQ or LAB_RABBITMQ_FILE must name")


@pytest.mark.parametrize(
    "words",
    [
        # Of libpq, and of PyMySQL.
        "server does not support SSL, but SSL was required",
        '(2026, "SSL is required but the server doesn\'t support it")',
    ],
)
def test_what_other_drivers_say_of_it_has_the_same_way_out(words: str) -> None:
    assert way_out(words, "LAB_X", "start one").startswith("it answers, and without TLS: LAB_X or LAB_X_FILE must name")


@pytest.mark.server("nats")
def test_a_server_without_tls_that_takes_another_ones_place_is_told_nothing(certificates: Certificates) -> None:
    """Not even that a client is there, nor what it has published meanwhile: also where no user is named."""
    told, asked = [], 0

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        writer.write(b'INFO {"server_id":"x","version":"2.9.0","max_payload":1048576,"tls_required":false}\r\n')
        asked += 1
        told.append(await reader.read())
        writer.close()

    async def tried(one: Secured) -> None:
        url = NATS.parsed(re.sub("//.*@", "//", one.url(PASSWORD, certificates.authority)), "HERE")
        client = await NATS.connect(url, reconnects=True)
        try:
            assert one.own is not None
            await asyncio.to_thread(one.own.stop)
            await client.publish("lab.secret", MARK.encode())
            async with await asyncio.start_server(plain, "127.0.0.1", url.port):
                async with asyncio.timeout(60):
                    while asked < 3:
                        await asyncio.sleep(0.02)
                    assert not client.is_connected
                    with suppress(OSError):
                        # What was published can't be sent.
                        await client.close()
                    while len(told) < asked:
                        await asyncio.sleep(0.02)
        finally:
            with suppress(OSError):
                await client.close()

    with nats(certificates, "") as one:
        asyncio.run(tried(one))
    assert set(told) == {b""}


@pytest.mark.parametrize(
    ("variable", "url", "said"),
    [
        ("LAB_NATS", "tls://127.0.0.1:1?tlsca=/nowhere/ca.pem", "the file of `tlsca`, /nowhere/ca.pem, can't be used"),
        ("LAB_NATS", "tls://127.0.0.1:1?tlscert=/nowhere/me.pem", "the file of `tlscert`, /nowhere/me.pem, can't be"),
        (
            "LAB_NATS",
            "tls://127.0.0.1:1?tlskey=/nowhere/me.key",
            "`tlskey` is of no use without `tlscert` (name the file of the certificate too)",
        ),
        (
            "LAB_RABBITMQ",
            f"amqps://127.0.0.1:1?certfile={__file__}&keyfile=/nowhere/me.key",
            f"the files of `certfile` and `keyfile`, {__file__} and /nowhere/me.key, can't be used",
        ),
        ("LAB_NATS", "nats://127.0.0.1:1?tlsca=x", "`tlsca` is of TLS (begin it with tls://)"),
        ("LAB_NATS", "tls://127.0.0.1:1?ca=x", "its parameter `ca` isn't known (known are tlsca, tlscert, tlskey)"),
        (
            "LAB_KAFKA",
            "kafkas://127.0.0.1:1?ssl.cafile=x",
            "its parameter `ssl.cafile` isn't known (known are ssl.ca.location, ssl.certificate.location, ",
        ),
        ("LAB_KAFKA", "kafka://127.0.0.1:1?acks=0", "its parameter `acks` isn't known (known are "),
        ("LAB_KAFKA", "kafka://127.0.0.1:1?ssl.ca.location=x", "is of TLS (begin it with kafkas://)"),
        ("LAB_KAFKA", "kafkas://127.0.0.1:1?ssl.ca.location=/nowhere", "ssl.ca.location failed"),
        (
            "LAB_MEMCACHED",
            "memcached://127.0.0.1:1?timeout=5",
            "its parameter `timeout` isn't known (a URL of this kind has none: leave it out)",
        ),
        ("LAB_RABBITMQ", "amqps://127.0.0.1:1?cacertfile=/nowhere", "the file of `cacertfile`, /nowhere, can't be"),
        ("LAB_RABBITMQ", "amqp://127.0.0.1:1?cacertfile=/nowhere", "`cacertfile` is of TLS (begin it with amqps://)"),
        ("LAB_RABBITMQ", "amqp://me@127.0.0.1:1", "it names a user without a password (put both into it)"),
    ],
)
def test_files_and_words_that_cant_be_used_are_told(
    variable: str, url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)
    found = server(variable.removeprefix("LAB_").lower()).find()
    assert isinstance(found, Missing)
    assert said in found.reason
