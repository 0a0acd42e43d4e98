"""Kafka, or another broker of its protocol: found by LAB_KAFKA, LAB_KAFKA_FILE, or at port 9092 of this machine."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from lab.base import Unavailable
from lab.engines.urls import ServerUrl
from lab.servers.broker import CONNECTS, SILENCE, Broker
from lab.servers.disk_ledger import DiskLedger


class KafkaLedger(DiskLedger):
    """The ledger of Kafka."""

    variable = "LAB_KAFKA_OWNER"


class KafkaServer(Broker):
    """The brokers of which the environment names one, as `kafka://user:password@host:port`, or this machine's."""

    name, title, variable = "kafka", "Kafka", "LAB_KAFKA"
    schemes, usual = ("kafka", "kafkas"), "kafka://127.0.0.1:9092"
    ledger_class = KafkaLedger
    start = "docker run --rm -p 127.0.0.1:9092:9092 apache/kafka:4.0.0"

    def options(self, url: ServerUrl | None = None) -> dict[str, Any]:
        """What every client of the driver is made with; none has the driver write to standard error."""
        url = url or self.url()
        tls = "SSL" if str(url).startswith("kafkas") else "PLAINTEXT"
        found: dict[str, Any] = {
            "bootstrap.servers": f"{url.host}:{url.port or 9092}", "log_level": 0,
            "socket.timeout.ms": round(SILENCE * 1e3), "error_cb": _quiet,
            "socket.connection.setup.timeout.ms": round(CONNECTS * 1e3),
            "security.protocol": tls,
        }  # fmt: skip
        if url.user:
            found |= {
                "sasl.mechanism": "PLAIN", "sasl.username": url.user, "sasl.password": url.password,
                "security.protocol": f"SASL_{tls}",
            }  # fmt: skip
        return found

    def ask(self, url: ServerUrl) -> dict[str, Any]:
        """How many brokers there are; their version the protocol doesn't tell. Raises Unavailable."""
        try:
            told = AdminClient(self.options(url)).list_topics(timeout=CONNECTS)
        except KafkaException as error:
            raise self.failed(error, url) from None
        return {"version": "unknown", "brokers": len(told.brokers), "cluster": str(told.cluster_id or "")}

    def remove(self, thing: str) -> None:
        """Delete the topic. The driver's own brokers for tests can't, and forget it with their process."""
        client = AdminClient(self.options())
        try:
            if not f"{client.list_topics(timeout=CONNECTS).cluster_id}".startswith(_PRETENDED):
                client.delete_topics([thing], request_timeout=SILENCE)[thing].result(2 * SILENCE)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise self.failed(error) from None
        except TimeoutError as error:
            raise self.failed(error) from None

    def failed(self, error: object, asked: ServerUrl | None = None) -> Unavailable:
        """Take the words alone of the driver's error."""
        if isinstance(error, KafkaException):
            error = error.args[0]
        return super().failed(error.str() if isinstance(error, KafkaError) else error, asked)


def _quiet(_: KafkaError) -> None:
    """Say nothing: who waits for an answer gets the error."""


# What the driver calls its own brokers.
_PRETENDED = "mockCluster"

SERVER = KafkaServer()
