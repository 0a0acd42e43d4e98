"""Brokers as live channels: the contract, members and brokers that are killed, links that are silent."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from kafkas import kafka_brokers
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as Inbox
from pika.exceptions import ChannelClosedByBroker

from lab.base import CannotTake, Unavailable
from lab.channel import CHANNELS, rabbit
from lab.channel.fates import SampledFates
from lab.channel.faulty import Faulty, MonotonicClock
from lab.channel.kafka import KafkaChannel
from lab.channel.nats import NatsChannel
from lab.channel.patient import Patient
from lab.channel.rabbit import RabbitChannel
from lab.channel.redis import RedisChannel
from lab.ports import Channel, Delivery, Message
from lab.scenario import ChannelFaults
from lab.testing.channels import channel_contract
from lab.testing.taking import messages, taken

test_redis = pytest.mark.server("redis")(channel_contract(RedisChannel))
test_nats = pytest.mark.server("nats")(channel_contract(NatsChannel))
test_rabbitmq = pytest.mark.server("rabbitmq")(channel_contract(RabbitChannel))


# Takes messages, says so, and waits for its end.
MEMBER = """
import sys, time
from lab.channel import CHANNELS
from lab.testing.taking import taken
channel = CHANNELS[sys.argv[1]](100, sys.argv[2])
subscription = channel.subscribe("group", "one")
found = taken(subscription, 3)
subscription.acknowledge([found[1]])
print(found[1].message.position, flush=True)
time.sleep(120)
"""


@pytest.mark.parametrize(
    ("name", "make"),
    [
        pytest.param("redis", RedisChannel, marks=pytest.mark.server("redis")),
        pytest.param("nats", lambda capacity: NatsChannel(capacity, ack_wait=2.0), marks=pytest.mark.server("nats")),
        pytest.param("rabbitmq", RabbitChannel, marks=pytest.mark.server("rabbitmq")),
    ],
)
def test_what_a_killed_member_had_not_acknowledged_comes_again(name: str, make: Callable[[int], Channel]) -> None:
    channel = make(100)
    try:
        channel.declare("group")
        channel.publish(messages(range(1, 6)))
        command = [sys.executable, "-c", MEMBER, name, channel.name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            done = int(process.stdout.readline())
            process.kill()
        subscription = channel.subscribe("group", "one")
        found = taken(subscription, 4)
        assert {item.message.position for item in found} == set(range(1, 6)) - {done}
        assert {item.attempt for item in found if item.message.position <= 3} == {2}
        subscription.acknowledge(found)
    finally:
        channel.drop()


@pytest.mark.parametrize("name", ["redis", "nats", "rabbitmq", "kafka"])
def test_a_silent_server_is_given_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip({"rabbitmq": "pika", "kafka": "confluent_kafka"}.get(name, name))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        scheme = "amqp" if name == "rabbitmq" else name
        monkeypatch.setenv(f"LAB_{name.upper()}", f"{scheme}://someone:hunter2@127.0.0.1:{silent.getsockname()[1]}")
        channel = CHANNELS[name](100, "lab_channel_of_nobody")
        with pytest.raises(Unavailable) as lost:
            channel.publish(messages([1]))
        assert "hunter2" not in str(lost.value)
        channel.close()


@pytest.fixture(scope="module", autouse=True)
def kafka() -> Iterator[None]:
    """A broker within this process."""
    with kafka_brokers():
        yield


def _kafka(capacity: int, name: str) -> KafkaChannel:
    """A channel whose members hear of each other, and of the end of one, within seconds."""
    return KafkaChannel(capacity, name, ack_wait=3.0)


test_kafka = channel_contract(_kafka)


@pytest.mark.parametrize(
    "name",
    [
        "memory",
        *(pytest.param(name, marks=pytest.mark.server(name)) for name in ("redis", "nats", "rabbitmq")),
        "kafka",
    ],
)
def test_what_was_published_twice_is_acknowledged_twice_through_the_faults(name: str) -> None:
    channel = CHANNELS[name](100, "")
    try:
        faulty = Faulty(
            channel.subscribe("group", "one"), SampledFates(ChannelFaults(), 1), MonotonicClock(), real=True
        )
        # Its positions are still open when they come a second time.
        channel.publish(messages([1, 2, 3]))
        channel.publish(messages([1, 2, 3]))
        found = list[Delivery]()
        until = time.monotonic() + 20
        while faulty.repeated < 3 and time.monotonic() < until:
            found += faulty.take(10, 0.05)
        assert sorted(item.message.position for item in found) == [1, 2, 3]
        faulty.acknowledge(found)
        assert faulty.open == 0
        faulty.close()
        while channel.backlog("group") and time.monotonic() < until:
            time.sleep(0.02)
        assert channel.backlog("group") == 0
        assert channel.subscribe("group", "one").take(10, 0.3) == []
    finally:
        channel.drop()


@pytest.mark.parametrize("name", [pytest.param("nats", marks=pytest.mark.server("nats")), "kafka"])
def test_a_message_larger_than_the_broker_takes_is_never_to_be_repeated(name: str) -> None:
    channel = CHANNELS[name](100, "")
    try:
        subscription = channel.subscribe("group", "one")
        large = Message(2, ("item", 2), 0.0, "x" * 5_000_000)
        with pytest.raises(CannotTake):
            channel.publish([large])
        channel.publish(messages([3]))
        assert [item.message.position for item in taken(subscription, 1)] == [3]
    finally:
        channel.drop()


def test_rabbitmq_says_so_when_it_closes_the_line() -> None:
    closed = ChannelClosedByBroker(406, "PRECONDITION_FAILED - message size 9 is larger than configured max size 8")
    assert isinstance(rabbit._reason(closed), CannotTake)
    other = ChannelClosedByBroker(404, "NOT_FOUND")
    assert rabbit._reason(other) is other


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("redis", "the stream is full, 4 more have no room", marks=pytest.mark.server("redis")),
        pytest.param("nats", "maximum messages exceeded", marks=pytest.mark.server("nats")),
        pytest.param("rabbitmq", "a queue is full", marks=pytest.mark.server("rabbitmq")),
    ],
)
def test_a_full_queue_is_named_as_the_reason(name: str, why: str) -> None:
    channel = CHANNELS[name](3, "")
    try:
        channel.declare("group")
        with pytest.raises(Unavailable, match=why):
            channel.publish(messages([1, 2, 3, 4]))
    finally:
        channel.drop()


@pytest.mark.server("redis")
def test_a_member_that_redis_has_forgotten_says_so_and_joins_again() -> None:
    channel, said = RedisChannel(100), list[str]()
    try:
        patient = Patient(lambda: channel.subscribe("group", "one"), said.append)
        assert patient.take(10, 0.0) == []
        channel.publish(messages([1, 2]))
        assert [item.message.position for item in patient.take(10, 0.0)] == [1, 2]
        # What eviction does to it, or its time.
        channel._client.delete(channel.keys[1])
        found = list[Delivery]()
        until = time.monotonic() + 20
        while not found and time.monotonic() < until:
            found = patient.take(10, 0.05)
        assert [item.message.position for item in found] == [1, 2]
        assert "has forgotten the members" in said[0]
        # The key lives as long as messages come and are taken.
        channel._client.expire(channel.keys[1], 100)
        patient.take(1, 0.0)
        assert channel._client.ttl(channel.keys[1]) > 100
        channel._client.expire(channel.keys[1], 100)
        channel.publish(messages([3]))
        assert channel._client.ttl(channel.keys[1]) > 100
    finally:
        channel.drop()


@pytest.mark.server("redis")
def test_a_member_that_was_replaced_does_not_ask_without_pause() -> None:
    channel = RedisChannel(100)
    try:
        former = channel.subscribe("group", "one")
        channel.subscribe("group", "one")
        # It waits for as long as it is told, with each take.
        began = time.monotonic()
        assert [former.take(10, 0.2) for _ in range(3)] == [[], [], []]
        assert time.monotonic() - began >= 0.6
    finally:
        channel.drop()


@pytest.mark.server("nats")
def test_what_nats_has_sent_is_taken_though_it_does_not_say_that_there_is_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    next_of = Inbox.next_msg

    async def without_an_end(inbox: Inbox, timeout: float | None = 1.0) -> Msg:
        while True:
            found = await next_of(inbox, timeout)
            if not (found.headers or {}).get("Status"):
                return found

    monkeypatch.setattr("lab.channel.nats.SILENCE", 1.0)
    monkeypatch.setattr(Inbox, "next_msg", without_an_end)
    channel = NatsChannel(100)
    try:
        subscription = channel.subscribe("group", "one")
        channel.publish(messages([1, 2, 3]))
        found = subscription.take(10, 0.05)
        assert [item.message.position for item in found] == [1, 2, 3]
        subscription.acknowledge(found)
        # A server that says nothing at all is away.
        with pytest.raises(Unavailable, match="no answer"):
            subscription.take(10, 0.05)
    finally:
        channel.drop()
