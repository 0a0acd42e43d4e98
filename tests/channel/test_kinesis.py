"""Kinesis as a live channel, against an emulator: the contract of channels, refusals, shards that are split."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("boto3", reason="pip install 'polyglot-lab[aws]'")

from botocore.exceptions import ClientError
from reachable import emulated_aws

from lab.base import CannotTake, Unavailable
from lab.channel import kinesis as module
from lab.channel.kinesis import KinesisChannel, _heads
from lab.channel.kinesis_leases import ENDED, MARK
from lab.ports import Delivery, Message
from lab.servers import server_of
from lab.servers.aws import SERVER
from lab.testing.channels import channel_contract
from lab.testing.taking import messages, positions, taken

PATIENCE = 60.0


@pytest.fixture(scope="module", autouse=True)
def emulator() -> Iterator[Any]:
    """An emulator of this module's own."""
    with emulated_aws() as one:
        yield one


def _kinesis(capacity: int, name: str) -> KinesisChannel:
    """A channel whose silent members are given up within seconds."""
    return KinesisChannel(capacity, name, ack_wait=3.0)


test_kinesis = channel_contract(_kinesis)


@pytest.fixture
def channel() -> Iterator[KinesisChannel]:
    made = _kinesis(100, "")
    yield made
    made.drop()


class Refusing:
    """A client that lets `refuse` look at each call of one verb before it is made."""

    def __init__(self, below: Any, verb: str, refuse: Callable[[Any, dict[str, Any]], Any]) -> None:
        self._below, self._verb, self._refuse = below, verb, refuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._below, name)
        if name != self._verb:
            return found
        return lambda **asked: self._refuse(found, asked)


def refusing(patch: pytest.MonkeyPatch, verb: str, refuse: Callable[[Any, dict[str, Any]], Any]) -> None:
    client = SERVER.client

    def made(service: str) -> Any:
        return Refusing(client(service), verb, refuse) if service == "kinesis" else client(service)

    patch.setattr(SERVER, "client", made)


def throttled(verb: str) -> ClientError:
    error = {"Code": "ProvisionedThroughputExceededException", "Message": "Rate exceeded for shard"}
    return ClientError({"Error": error}, verb)  # type: ignore[arg-type]


def of_records(found: list[Delivery]) -> dict[Any, list[int]]:
    """The positions of each record, in the order in which they came first."""
    orders: dict[Any, list[int]] = {}
    for item in found:
        orders.setdefault(item.message.record, []).append(item.message.position)
    return orders


# -- publishing --------------------------------------------------------------------------------------------------------


def test_what_is_refused_in_part_is_stored_in_the_order_of_each_record(
    channel: KinesisChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, refused = random.Random(5), [0]

    def partly(put: Any, asked: dict[str, Any]) -> Any:
        """Keep a third of the records back, as a shard does that is full at that moment."""
        kept = [rng.random() < 0.67 for _ in asked["Records"]]
        refused[0] += kept.count(False)
        chosen = [one for one, stays in zip(asked["Records"], kept, strict=True) if stays]
        stored = iter(put(**asked | {"Records": chosen})["Records"] if chosen else ())
        no = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard"}
        return {"FailedRecordCount": kept.count(False), "Records": [next(stored) if one else no for one in kept]}

    subscription = channel.subscribe("group", "one")
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    with monkeypatch.context() as patch:
        refusing(patch, "put_records", partly)
        channel.publish(messages(range(1, 31)))
    assert refused[0] > 5
    found = taken(subscription, 30)
    # Each once, too: what was stored is not sent again.
    assert of_records(found) == {("item", key): [at for at in range(1, 31) if at % 3 == key] for key in range(3)}


def test_two_messages_of_a_record_are_never_in_one_request() -> None:
    waiting = {key: [{"Data": b"x"}] * count for key, count in (("a", 3), ("b", 0), ("c", 1))}
    assert {key: len(queue) for key, queue in _heads(waiting).items()} == {"a": 3, "c": 1}
    assert "b" not in waiting
    many = {f"{number}": [{"Data": b"x"}] for number in range(1_200)}
    assert len(_heads(many)) == 500
    large = {f"{number}": [{"Data": b"x" * 2**20}] for number in range(20)}
    assert len(_heads(large)) == 4


def test_a_stream_that_stays_throttled_is_unavailable_with_the_reason(
    channel: KinesisChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel.declare("group")
    no = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard"}
    monkeypatch.setattr(module, "_GIVEN_UP", 0.3)
    refusing(monkeypatch, "put_records", lambda put, asked: {"Records": [no for _ in asked["Records"]]})
    with pytest.raises(Unavailable, match="3 messages were not stored: Provisioned"):
        channel.publish(messages([1, 2, 3]))


def test_a_message_that_no_record_can_hold_is_never_to_be_repeated(channel: KinesisChannel) -> None:
    subscription = channel.subscribe("group", "one")
    with pytest.raises(CannotTake, match="a record has at most 1,048,576"):
        channel.publish([*messages([1]), Message(2, ("item", 2), 0.0, "x" * 2_000_000)])
    channel.publish(messages([3]))
    assert positions(taken(subscription, 1)) == [3]


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_shard_that_refuses_a_read_is_read_later_and_an_iterator_that_expired_made_anew(
    channel: KinesisChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription, refused = channel.subscribe("group", "one"), list[str]()
    channel.publish(messages(range(1, 10)))
    codes = iter(["ProvisionedThroughputExceededException", "ExpiredIteratorException", *[""] * 1_000])

    def refuse(get: Any, asked: dict[str, Any]) -> Any:
        if code := next(codes):
            refused.append(code)
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetRecords")  # type: ignore[arg-type]
        return get(**asked)

    refusing(monkeypatch, "get_records", refuse)
    found, until = list[Delivery](), time.monotonic() + PATIENCE
    while len(found) < 9 and time.monotonic() < until:
        found += subscription.take(9, 0.1)
    assert sorted(positions(found)) == list(range(1, 10))
    assert len(refused) == 2


def test_another_error_of_a_read_is_unavailable(channel: KinesisChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription = channel.subscribe("group", "one")

    def refuse(get: Any, asked: dict[str, Any]) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetRecords")  # type: ignore[arg-type]

    refusing(monkeypatch, "get_records", refuse)
    with pytest.raises(Unavailable, match="AccessDenied"):
        subscription.take(1, 1.0)


def test_what_a_silent_member_had_comes_to_another_and_its_acknowledgements_count_no_more(
    channel: KinesisChannel,
) -> None:
    silent = channel.subscribe("group", "one")
    channel.publish(messages(range(1, 7)))
    had = taken(silent, 6)
    other = channel.subscribe("group", "other")
    found, until = set[int](), time.monotonic() + PATIENCE
    while len(found) < 6 and time.monotonic() < until:
        more = other.take(6, 0.2)
        found |= {*positions(more)}
        other.acknowledge(more)
    assert found == set(range(1, 7))
    silent.acknowledge(had)
    assert channel.backlog("group") == 0
    # It finds out, and takes what comes only if a shard is free for it.
    channel.publish(messages([7]))
    until = time.monotonic() + PATIENCE
    seen = set[int]()
    while 7 not in seen and time.monotonic() < until:
        seen |= {*positions(other.take(6, 0.2)), *positions(silent.take(6, 0.2))}
    assert seen == {7}


def test_a_member_that_comes_later_gets_a_shard_of_one_that_has_two(channel: KinesisChannel) -> None:
    one = channel.subscribe("group", "one")
    one.take(1, 0.0)
    other = channel.subscribe("group", "other")
    other.take(1, 0.0)
    owners = [lease.owner for lease in channel.leases("group").all().values()]
    assert sorted(owners) == sorted([one._me, other._me])


def test_a_shard_that_another_was_split_into_waits_until_that_one_is_read_to_its_end(
    channel: KinesisChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator forgets a shard that is split, with its messages. Here it says that one shard was the other's."""
    subscription = channel.subscribe("group", "one")
    (former, child), ended = channel.shards(), list[bool]()
    split = [former, child | {"ParentShardId": former["ShardId"]}]
    keys, numbers = {key: _shard_of(channel, key) for key in range(8)}, iter(range(1, 1_000))
    published = [Message(next(numbers), ("item", key), 0.0, "") for _ in range(4) for key in keys]
    monkeypatch.setattr(channel, "shards", lambda: split)

    def read(get: Any, asked: dict[str, Any]) -> Any:
        found = get(**asked)
        # A shard that was closed has no further iterator.
        return found | {"NextShardIterator": None} if ended and found["Records"] else found

    refusing(monkeypatch, "get_records", read)
    channel.publish(published)
    mine = {one.position for one in published if keys[one.record[1]] == former["ShardId"]}
    assert 0 < len(mine) < len(published)
    assert {*positions(subscription.take(100, 1.0))} <= mine
    assert set(subscription._shards) == {former["ShardId"]}
    subscription.close()
    ended.append(True)
    again, found, until = channel.subscribe("group", "two"), list[Delivery](), time.monotonic() + PATIENCE
    while len({*positions(found)}) < len(published) and time.monotonic() < until:
        more = again.take(100, 0.2)
        again.acknowledge(more)
        found += more
    order = positions(found)
    assert sorted(order) == sorted(one.position for one in published)
    assert {*order[: len(mine)]} == mine
    assert channel.leases("group").all()[former["ShardId"]].checkpoint == ENDED


def _shard_of(channel: KinesisChannel, key: int) -> str:
    """The shard of a record's messages."""
    name = json.dumps(("item", key))
    put = SERVER.client("kinesis").put_record(StreamName=channel.name, Data=MARK, PartitionKey=name)
    return str(put["ShardId"])


def test_its_server_is_that_of_amazon() -> None:
    assert [server_of(broker) for broker in ("kinesis", "nats", "of-another-package")] == ["aws", "nats", ""]
