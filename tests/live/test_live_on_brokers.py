"""Live runs whose messages go through a real broker: the same ones are lost through each, and a kill loses nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafkas import kafka_brokers
from test_live_run import _kill_the_projections, planned

from lab.base import BadInput, Unavailable
from lab.channel.arriving import arriving
from lab.channel.faulty import MonotonicClock
from lab.channel.memory import MemoryChannel
from lab.channel.patient import PAUSE, Patient
from lab.live.broker import BrokerPublisher
from lab.live.run import run_live
from lab.ports import Delivery
from lab.running.live import Heard
from lab.runs import Run
from lab.scenario import Source
from lab.servers import server
from lab.service.listening import ChannelFiles
from lab.service.serve import Address, serve
from lab.testing.taking import messages
from lab.wiring import Plan, plan

TEXT = """
schema = 1
name = "small-broker"
seed = 5
[domain]
name = "employees"
records = 60
[workload]
commands = 400
rate = 200.0
deletes = 0.02
[truth]
model = "history"
[catch_up]
every = 0.2
[channel]
broker = "redis"
delay = { kind = "exponential", mean = 0.01 }
duplicate = 0.2
lose = 0.05
reorder = { share = 0.3, extra = { kind = "exponential", mean = 0.05 } }
[measure]
trials = false
samples = 2
blocks = 0
budget = 0.05
[[projection]]
name = "board"
store = "sqlite.table"
[[projection]]
name = "ordered"
store = "sqlite.table"
guard = "ordered"
[[projection]]
name = "gossip"
store = "sqlite.table"
subscribe = "channel"
expect = "fail"
"""


@pytest.fixture(scope="module", autouse=True)
def kafka() -> Iterator[None]:
    """A broker within this process."""
    with kafka_brokers():
        yield


def verdicts(run: Run) -> dict[str, str]:
    return {entry["name"]: entry["verdict"] for entry in run.manifest["projections"]}


def foretold(made: Plan, name: str, changes: int) -> dict[str, int]:
    """What becomes of the messages, by seed and position alone."""
    table = made.scenario.channel
    assert table is not None
    below = MemoryChannel().subscribe(name, "one")
    fates = arriving(table, made.scenario.seed, name, below, MonotonicClock(), 0.0).fates
    copies = [fates.of(position) for position in range(1, changes + 1)]
    lost = sum(fate.lost for each in copies for fate in each)
    sent = sum(len(each) for each in copies)
    return {
        "sent": changes, "duplicated": sent - changes, "lost": lost, "delivered": sent - lost, "overflowed": 0,
        "repeated": 0,
    }  # fmt: skip


def left_on(name: str) -> list[Any]:
    found: Any = server(name)
    if name == "redis":
        from lab.servers.redis import LEDGER

        with LEDGER.session() as session:
            return [line for line in LEDGER.lines(session) if line.name.startswith("lab_channel")]
    return list(found.book.lines(None))


BROKERS = [pytest.param(name, marks=pytest.mark.server(name)) for name in ("redis", "nats", "rabbitmq")]


@pytest.mark.parametrize("name", [*BROKERS, "kafka"])
def test_each_broker_loses_what_the_seed_says_and_catch_up_finds_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = planned(tmp_path, TEXT, f"channel.broker={name}")
    done = run_live(made, tmp_path / "runs", report=False)
    assert verdicts(done) == {"board": "pass", "ordered": "pass", "gossip": "fail"}
    assert done.manifest["verdict"] == "pass"
    told = done.manifest["live"]
    assert told["caught_up"]
    for item in verdicts(done):
        assert told["channel"][item] == foretold(made, item, done.manifest["changes"])
    if name != "redis":
        assert left_on(name) == []


@pytest.mark.server("redis")
def test_a_killed_projection_gets_again_what_it_had_not_acknowledged(tmp_path: Path) -> None:
    # Nothing is lost on the way, and nothing else brings what the kill took: each has messages alone.
    text = TEXT.replace("lose = 0.05", "lose = 0.0").replace('expect = "fail"\n', "")
    text = text.replace('name = "board"\nstore = "sqlite.table"', 'name = "board"\nstore = "lmdb.keyvalue"')
    # Messages wait in the process for a while, so that a kill finds some there.
    text = text.replace('subscribe = "channel"\n', "")
    text = text.replace('store = "', 'subscribe = "channel"\nlinger = 0.3\nstore = "')
    made = planned(tmp_path, text, "workload.rate=150.0")
    killing = threading.Thread(target=_kill_the_projections, args=(tmp_path,))
    killing.start()
    done = run_live(made, tmp_path / "runs", report=False)
    killing.join()
    assert all(restarts >= 1 for restarts in done.manifest["live"]["restarts"].values())
    assert verdicts(done) == {"board": "pass", "ordered": "pass", "gossip": "pass"}
    assert done.table("lag")["lag_seconds"].null_count() == 0


def test_a_broker_has_no_time_on_the_simulated_clock_and_a_name(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    with pytest.raises(BadInput, match=r"channel\.broker: a broker delivers when it does.*--live"):
        plan(Source(path))
    for name, said in (("reddis", "no channel is called `reddis`"), ("memory", "leave `broker` out")):
        with pytest.raises(BadInput, match=said):
            plan(Source(path, (f"channel.broker={name}", "time.mode=live")))


def test_a_service_sends_its_messages_itself_and_refuses_a_broker(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"channel\.broker: a service sends its messages itself"):
        serve(planned(tmp_path, TEXT), None, Address("127.0.0.1", 0), print)


def test_a_run_whose_broker_is_away_says_so_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_NATS", "nats://someone:secret@127.0.0.1:1")
    with pytest.raises(BadInput, match=r"channel\.broker: no NATS server is reached") as refused:
        run_live(planned(tmp_path, TEXT, "channel.broker=nats"), tmp_path / "runs", report=False)
    assert "secret" not in str(refused.value)


class Away(MemoryChannel):
    """Away while `away` is set."""

    away = False

    def publish(self, found: Any) -> None:
        """Fail while it is away."""
        if self.away:
            raise Unavailable("the broker is away")
        super().publish(found)

    def subscribe(self, group: str, member: str, generation: int = 0) -> Any:
        """A member that fails as well."""
        channel, below = self, super().subscribe(group, member, generation)

        class Member:
            refuse, close = below.refuse, below.close

            def take(self, most: int, seconds: float) -> list[Delivery]:
                """Fail while it is away."""
                if channel.away:
                    raise Unavailable("the broker is away")
                return below.take(most, seconds)

            def acknowledge(self, done: Any) -> None:
                """Fail while it is away."""
                if channel.away:
                    raise Unavailable("the broker is away")
                below.acknowledge(done)

        return Member()


def waited(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + 20
    while not (found := what()) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def test_a_member_whose_broker_goes_away_waits_and_goes_on_with_one_line_for_each() -> None:
    channel, said = Away(), list[str]()
    patient = Patient(lambda: channel.subscribe("group", "one"), said.append)
    assert patient.take(10, 0.0) == []
    channel.publish(messages([1, 2, 3]))
    one, two, three = patient.take(10, 0.0)
    patient.acknowledge([one])
    channel.away = True
    assert patient.take(10, 0.0) == []
    # While it waits it asks nothing.
    channel.away = False
    assert patient.take(10, 0.0) == []
    patient.acknowledge([two])
    channel.away = True
    time.sleep(PAUSE)
    assert patient.take(10, 0.0) == []
    channel.away = False
    # What was acknowledged to the member of before comes again, as what was not.
    again = waited(lambda: patient.take(10, 0.05))
    assert {item.message.position for item in again} >= {three.message.position}
    patient.acknowledge(again)
    patient.close()
    assert channel.backlog("group") == 0
    assert said == ["the broker is away; it is tried again until it answers", "the broker answers again"]


def test_a_publisher_whose_broker_goes_away_keeps_the_order_and_loses_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    channel = Away()
    subscription = channel.subscribe("group", "one")
    publisher = BrokerPublisher(channel, 1_000, 1)
    publisher.publish([Heard("item", [1, "a", 1], [False])])
    assert waited(lambda: channel.backlog("group")) == 1
    channel.away = True
    publisher.publish([Heard("item", [position, "a", position], [False]) for position in range(2, 40)])
    time.sleep(0.2)
    channel.away = False
    publisher.close()
    found = subscription.take(100, 0.0)
    assert [item.message.position for item in found] == [*range(1, 40)]
    assert found[0].message.body == ["item", [1, "a", 1], [False]]
    assert capsys.readouterr().err.count("it is tried again until it answers") == 1


def test_counts_that_were_cut_off_are_none(tmp_path: Path) -> None:
    files = ChannelFiles(tmp_path)
    assert set(files.counted("board").values()) == {0}
    files.counts("board").write_text('{"sent": 3, "open": 1')
    assert files.counted("board")["sent"] == 0
    files.counts("board").write_text('{"sent": 3, "open": 1}')
    assert files.counted("board") == {
        "sent": 3, "delivered": 0, "duplicated": 0, "lost": 0, "overflowed": 0, "repeated": 0, "open": 1
    }  # fmt: skip


@pytest.mark.parametrize("name", BROKERS[:2])
def test_a_killed_broker_that_is_started_again_loses_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.servers import instance

    # Not bound: it would end with the thread that started it last.
    own = instance(name, tmp_path / "broker")
    own.start()
    monkeypatch.setenv(f"LAB_{name.upper()}", own.url)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # Nothing else brings what the broker would lose.
    text = TEXT.replace("lose = 0.05", "lose = 0.0").replace('expect = "fail"\n', "")
    made = planned(tmp_path, text, f"channel.broker={name}", "workload.rate=100.0")

    def kill() -> None:
        waited(lambda: any(one.stat().st_size for one in tmp_path.glob("runs/*/.*/work/served/writer-1.journal")))
        for _ in range(2):
            time.sleep(0.6)
            os.kill(own.process, signal.SIGKILL)
            time.sleep(0.3)
            own.start()

    try:
        killing = threading.Thread(target=kill)
        killing.start()
        done = run_live(made, tmp_path / "runs", report=False)
        killing.join()
        assert verdicts(done) == {"board": "pass", "ordered": "pass", "gossip": "pass"}
        assert done.manifest["live"]["caught_up"]
        assert done.table("lag")["lag_seconds"].null_count() == 0
    finally:
        if own.process:
            own.stop("kill")
