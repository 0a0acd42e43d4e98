"""The live channels by name, one file and one line each; other packages add theirs as entry points `lab.channels`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.ports import Channel
from lab.registry import Registry

SHIPPED = {
    "memory": "lab.channel.memory:MemoryChannel",
    "redis": "lab.channel.redis:RedisChannel",
    "nats": "lab.channel.nats:NatsChannel",
    "rabbitmq": "lab.channel.rabbit:RabbitChannel",
    "kafka": "lab.channel.kafka:KafkaChannel",
    "kinesis": "lab.channel.kinesis:KinesisChannel",
}


def _problem(name: str, found: Any) -> str:
    missing = [member for member in vars(Channel) if not member.startswith("_") and not hasattr(found, member)]
    return f"is no channel: it has no {', '.join(missing)}" if missing else ""


# Each opens the channel of this name, whose queues hold at most so many messages; or makes a new one, if it is "".
CHANNELS: Registry[Callable[[int, str], Channel]] = Registry("lab.channels", SHIPPED, _problem)
# Brokers whose link can't be one that fails, and why.
NO_LINK = {
    "kafka": "clients of Kafka ask it for the addresses of its brokers, and go past the link that fails",
    "kinesis": "its client repeats by itself what fails, and has not been tried on a link that does",
}
