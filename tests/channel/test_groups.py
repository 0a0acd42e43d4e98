"""Groups on brokers keep the contract of a group: assignments, take-over, generations that rise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from kafkas import kafka_brokers

from lab.base import Unavailable
from lab.channel import kafka_group
from lab.channel.groups import GROUPS
from lab.channel.kafka_group import KafkaGroup, KafkaMember
from lab.channel.nats_group import NatsGroup
from lab.channel.redis_group import RedisGroup, RedisMember
from lab.ports import ConsumerGroup, GroupMember
from lab.servers.kafka import SERVER
from lab.testing.groups import (
    PARTITIONS,
    come_and_go,
    group_contract,
    members_share_evenly_and_what_is_given_on_has_a_higher_generation,
    no_partition_has_two_owners_whoever_comes_and_goes,
    seen_at_last,
    settled,
    what_a_member_still_works_on_is_given_back_once_it_does_not,
    what_a_silent_member_had_is_given_on_and_it_comes_to_hear_so,
)

# Seconds after which Kafka's brokers give up a member; the driver's own take a second less to arrange a group anew.
SESSION = 1.8


@pytest.fixture(scope="module", autouse=True)
def kafka() -> Iterator[None]:
    """A broker within this process."""
    with kafka_brokers():
        yield


class QuickGroup(KafkaGroup):
    """A group that is arranged anew within tenths of a second when members come and go."""

    def __init__(self, partitions: int, lease_seconds: float, name: str = "") -> None:
        super().__init__(partitions, lease_seconds, name, session_seconds=SESSION)


test_redis_group = pytest.mark.server("redis")(group_contract(RedisGroup))
test_nats_group = pytest.mark.server("nats")(group_contract(NatsGroup))
# The driver's brokers don't wait for a member that has been asked for a partition, and with so short a session a busy
# machine is enough for one to be given up: its partition has another owner before it hears so. What holds is below.
UNKEPT = (
    what_a_member_still_works_on_is_given_back_once_it_does_not,
    no_partition_has_two_owners_whoever_comes_and_goes,
)
test_kafka_group = group_contract(QuickGroup, UNKEPT)


def test_a_new_owner_has_a_higher_generation_whoever_comes_and_goes_on_kafka() -> None:
    with ExitStack() as made:

        def make(partitions: int, lease_seconds: float, _: str) -> QuickGroup:
            group = QuickGroup(partitions, lease_seconds)
            made.callback(group.drop)
            return group

        come_and_go(make, alone=False)


def test_groups_are_found_by_the_name_of_their_broker() -> None:
    assert {*GROUPS} >= {"redis", "nats", "kafka"}
    assert "rabbitmq" not in GROUPS


class Forgetful(RedisMember):
    """Believes for ever that it has what it once had."""

    def _renew(self, partition: int) -> bool:
        return True


class CountsAnew(RedisMember):
    """Gives every assignment the same generation."""

    def _take(self, partition: int, above: int) -> int | None:
        return 1 if super()._take(partition, above) else None


class KafkaCountsAnew(KafkaMember):
    """Gives every assignment the same generation."""

    def _claim(self, consumer: Consumer, above: object) -> None:
        self._held |= dict.fromkeys(self._fresh, 1)
        self._fresh.clear()


_redis = pytest.mark.server("redis")


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        pytest.param(Forgetful, what_a_silent_member_had_is_given_on_and_it_comes_to_hear_so, marks=_redis),
        pytest.param(CountsAnew, members_share_evenly_and_what_is_given_on_has_a_higher_generation, marks=_redis),
        (KafkaCountsAnew, members_share_evenly_and_what_is_given_on_has_a_higher_generation),
    ],
    ids=lambda one: one.__name__,
)
def test_a_group_that_breaks_a_promise_is_found_out(broken: type[GroupMember], promise: object) -> None:
    made: list[ConsumerGroup] = []
    base: type[ConsumerGroup] = RedisGroup if issubclass(broken, RedisMember) else QuickGroup

    def make(partitions: int, lease_seconds: float, name: str) -> ConsumerGroup:
        one = base(partitions, lease_seconds, name)  # type: ignore[call-arg]
        one.join = lambda member: broken(one, member)  # type: ignore[method-assign, call-arg]
        made.append(one)
        return one

    try:
        with pytest.raises(AssertionError):
            promise(make)  # type: ignore[operator]
    finally:
        for group in made:
            group.drop()


# --- Kafka: what a member is asked to give back -----------------------------------------------------------------------


def test_what_kafka_asks_back_is_given_once_a_member_has_heard_so_and_does_not_work_on_it() -> None:
    group = QuickGroup(PARTITIONS, 60.0)
    try:
        member = group.join("one")
        (had,) = settled([member], [PARTITIONS])
        asked = [TopicPartition(group.name, one) for one in (0, 2)]
        giving = threading.Thread(target=member._give_back, args=(None, asked))
        giving.start()
        seen_at_last(lambda: [each.partition for each in member.assigned(working=had)] == [1, 3])
        for _ in range(3):
            member.assigned(working=had[:1])
            giving.join(0.3)
            assert giving.is_alive()
        member.assigned(working=had[1:2])
        giving.join(20.0)
        assert not giving.is_alive()
    finally:
        group.drop()


# --- Kafka: a member that was frozen in the midst of its claim --------------------------------------------------------

# Says so before each commit, and goes on when it is told to.
SLOW = """
import sys, time
from confluent_kafka import KafkaException
from lab.channel.kafka_group import KafkaGroup, KafkaMember

class Slow(KafkaMember):
    def _commit(self, consumer, offsets):
        print("read", flush=True)
        if not sys.stdin.readline():
            sys.exit()
        try:
            super()._commit(consumer, offsets)
        except KafkaException as error:
            print(error.args[0].name(), flush=True)
            raise
        print("taken", flush=True)

member = Slow(KafkaGroup(4, 60.0, sys.argv[1], session_seconds=1.3), "frozen")
while True:
    member.assigned()
    time.sleep(0.1)
"""


def counted(group: KafkaGroup) -> dict[int, int]:
    """What the broker has of the group."""
    asking = Consumer(SERVER.options() | {"group.id": group.name})
    try:
        places = [TopicPartition(group.name, one) for one in range(PARTITIONS)]
        return {one.partition: one.offset for one in asking.committed(places, timeout=10)}
    finally:
        asking.close()


def answer_of_a_frozen_member(group: KafkaGroup, tells_late: bool) -> str:
    """What the broker says to a member that was frozen before its commit, and goes on once it has a successor."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SLOW, group.name], stdin=pipe, stdout=pipe) as frozen:
        assert frozen.stdin is not None
        assert frozen.stdout is not None
        try:
            assert frozen.stdout.readline() == b"read\n"
            os.kill(frozen.pid, signal.SIGSTOP)
            for name in ("next", "last"):
                settled([group.join(name)], [PARTITIONS])
                if name == "next":
                    group.close()
            if tells_late:
                # Its driver hears from the broker first.
                os.kill(frozen.pid, signal.SIGCONT)
                time.sleep(1.0)
            frozen.stdin.write(b"\n")
            frozen.stdin.flush()
            os.kill(frozen.pid, signal.SIGCONT)
            return frozen.stdout.readline().decode().strip()
        finally:
            frozen.kill()


@pytest.mark.parametrize("tells_late", [False, True])
def test_kafka_refuses_the_claim_of_a_member_that_was_replaced_meanwhile(tells_late: bool) -> None:
    group = QuickGroup(PARTITIONS, 60.0)
    try:
        assert answer_of_a_frozen_member(group, tells_late) in ("ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID")
        (successor,) = group._members
        assert counted(group) == {one.partition: one.generation for one in successor.assigned()}
    finally:
        group.drop()


# By its number in Kafka's protocol.
FIND_COORDINATOR = 10


def said(member: KafkaMember) -> list[str]:
    """What it raises, if it does."""
    try:
        member.assigned()
    except Unavailable as error:
        return [str(error)]
    return []


def stacks(member: KafkaMember) -> set[int]:
    """How many frames the errors of several calls have."""
    found = set()
    for _ in range(4):
        with pytest.raises(Unavailable) as caught:
            member.assigned()
        found.add(len(traceback.extract_tb(caught.tb)))
    return found


def test_a_member_says_so_when_kafka_is_away() -> None:
    with ExitStack() as broker:
        broker.enter_context(kafka_brokers())
        group = QuickGroup(PARTITIONS, 60.0)
        member = group.join("one")
        settled([member], [PARTITIONS])
        broker.pop_all().close()
    seen_at_last(lambda: "Kafka at kafka://" in "".join(said(member)))
    # However often: an error that is raised again would keep all of them.
    assert len(stacks(member)) == 1
    group.close()


def test_what_kafka_refuses_a_member_for_is_told_until_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver tells of it once, and goes on asking."""
    with kafka_brokers() as broker:
        group = QuickGroup(PARTITIONS, 60.0)
        broker.refuse(FIND_COORDINATOR, KafkaError.GROUP_AUTHORIZATION_FAILED, 2_000)
        member = group.join("one")
        with monkeypatch.context() as patch:
            # What is said of a member is old at once.
            patch.setattr(kafka_group, "SILENCE", 0.0)
            seen_at_last(lambda: "uthorization failed" in "".join(said(member)))
            assert len(stacks(member)) == 1
        broker.forgive(FIND_COORDINATOR)
        seen_at_last(lambda: not said(member) and len(member.assigned()) == PARTITIONS)
        group.close()
