"""Topics of Kafka, made with as many partitions as are wanted, and what the driver's errors are for the lab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from lab.base import CannotTake, LabError, Unavailable
from lab.servers.broker import SILENCE
from lab.servers.kafka import SERVER, pretended

# What a broker says while members come and go.
REARRANGED = {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID}
_UNKNOWN = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}


class KafkaTopic:
    """A topic, or one of its partitions by itself: the name `topic#2/4` is that of the third of four."""

    def __init__(self, name: str, partitions: int) -> None:
        """`partitions` is how many a topic is made with whose name doesn't say so."""
        self.title, _, part = name.partition("#")
        number, _, count = part.partition("/")
        self._only = int(number) if part else None
        self._wanted = int(count) if part else partitions
        self._found: list[int] = []

    def partition_names(self, count: int) -> list[str]:
        """The names of its partitions, if it has so many."""
        return [f"{self.title}#{number}/{count}" for number in range(count)]

    @property
    def only(self) -> int | None:
        """The partition that is meant; None for all of them."""
        return self._only

    def places(self) -> list[TopicPartition]:
        """Its partitions; it is made if there is none. Raises KafkaException, and Unavailable where it has fewer."""
        if not self._found:
            self._found = self._made()
        return [TopicPartition(self.title, one) for one in (self._found if self._only is None else [self._only])]

    def _made(self) -> list[int]:
        # A broker that makes topics by itself gives them a number of partitions of its own.
        client = AdminClient(SERVER.options() | {"allow.auto.create.topics": False})
        told = client.list_topics(self.title, timeout=SILENCE)
        if (error := told.topics[self.title].error) is not None and error.code() in _UNKNOWN:
            if pretended(told):
                AdminClient(SERVER.options()).list_topics(self.title, timeout=SILENCE)
            else:
                _create(client, self.title, self._wanted)
            told = client.list_topics(self.title, timeout=SILENCE)
        if (error := told.topics[self.title].error) is not None:
            raise KafkaException(error)
        found = sorted(told.topics[self.title].partitions)
        if len(found) < self._wanted:
            raise SERVER.failed(f"the topic {self.title} has {len(found)} partitions, and {self._wanted} are needed")
        return found


def _create(client: AdminClient, name: str, partitions: int) -> None:
    try:
        client.create_topics([NewTopic(name, partitions)], request_timeout=SILENCE)[name].result(2 * SILENCE)
    except KafkaException as error:
        # Another process may have made it meanwhile.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def reason(error: KafkaError | KafkaException) -> LabError:
    """Return CannotTake for a message that is larger than the broker or its driver takes, else Unavailable."""
    found, within = SERVER.failed(error), error.args[0] if isinstance(error, KafkaException) else error
    too_large = isinstance(within, KafkaError) and within.code() == KafkaError.MSG_SIZE_TOO_LARGE
    return CannotTake(str(found)) if too_large else found


@contextmanager
def mapped() -> Iterator[None]:
    """Raise Unavailable in place of the driver's errors."""
    try:
        yield
    except KafkaException as error:
        raise reason(error) from None
    except RuntimeError as error:
        # A consumer that was closed.
        raise Unavailable(str(error)) from None
