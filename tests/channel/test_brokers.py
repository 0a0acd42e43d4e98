"""Brokers as live channels: the contract, members and brokers that are killed, links that are silent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from lab.channel.kafka import KafkaChannel
from lab.channel.nats import NatsChannel
from lab.channel.rabbit import RabbitChannel
from lab.channel.redis import RedisChannel
from lab.testing.channels import channel_contract

test_redis = pytest.mark.server("redis")(channel_contract(RedisChannel))
test_nats = pytest.mark.server("nats")(channel_contract(NatsChannel))
test_rabbitmq = pytest.mark.server("rabbitmq")(channel_contract(RabbitChannel))


@pytest.fixture(scope="module", autouse=True)
def kafka() -> Iterator[None]:
    """A broker within this process: the driver's own, which knows groups."""
    broker = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none", "log_level": 0})
    (found,) = broker.list_topics(timeout=10).brokers.values()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_KAFKA", f"kafka://{found.host}:{found.port}")
        yield


test_kafka = channel_contract(KafkaChannel)
