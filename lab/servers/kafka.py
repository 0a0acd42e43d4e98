"""Kafka, or another broker of its protocol: found by LAB_KAFKA, LAB_KAFKA_FILE, or at port 9092 of this machine."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from lab.base import Unavailable
from lab.engines import tls
from lab.engines.urls import ServerUrl
from lab.servers.broker import CONNECTS, SILENCE, Broker
from lab.servers.disk_ledger import DiskLedger

# Parameters of a URL for TLS, as the driver calls them: files in PEM format, and the password of the key.
FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.key.password")


class KafkaLedger(DiskLedger):
    """The ledger of Kafka."""

    variable = "LAB_KAFKA_OWNER"


class KafkaServer(Broker):
    """The brokers of which the environment names one, as `kafka://user:password@host:port`, or this machine's."""

    name, title, variable = "kafka", "Kafka", "LAB_KAFKA"
    schemes, usual = ("kafka", "kafkas"), "kafka://127.0.0.1:9092"
    ledger_class = KafkaLedger
    start = "docker run --rm -p 127.0.0.1:9092:9092 apache/kafka:4.0.0"

    def parsed(self, text: str, where: str) -> ServerUrl:
        """A URL whose parameters are known. Raises BadInput."""
        url = super().parsed(text, where)
        url.only(*FILES)
        tls.only_with("kafkas", url, *FILES)
        return url

    def options(self, url: ServerUrl | None = None) -> dict[str, Any]:
        """What every client of the driver is made with; none has the driver write to standard error."""
        url = url or self.url()
        protocol = "SSL" if url.scheme == "kafkas" else "PLAINTEXT"
        found: dict[str, Any] = {
            "bootstrap.servers": f"{url.host}:{url.port or 9092}", "log_level": 0,
            "socket.timeout.ms": round(SILENCE * 1e3), "error_cb": _quiet,
            "socket.connection.setup.timeout.ms": round(CONNECTS * 1e3),
            "security.protocol": protocol,
        }  # fmt: skip
        found |= {name: url.parameters[name] for name in FILES if name in url.parameters}
        if url.user:
            found |= {
                "sasl.mechanism": "PLAIN", "sasl.username": url.user, "sasl.password": url.password,
                "security.protocol": f"SASL_{protocol}",
            }  # fmt: skip
        return found

    def ask(self, url: ServerUrl) -> dict[str, Any]:
        """How many brokers there are; their version the protocol doesn't tell. Raises Unavailable."""
        client, heard = None, list[KafkaError]()
        try:
            client = AdminClient(self.options(url) | {"error_cb": heard.append})
            told = client.list_topics(timeout=CONNECTS)
        except KafkaException as error:
            if client is not None:
                client.poll(0)
            # Why a broker isn't reached is said beside: what fails is that nobody answers.
            codes = KafkaError._SSL, KafkaError._AUTHENTICATION
            why = [one for one in heard if one.code() in codes or "handshake" in one.str()]
            raise self.failed(why[0] if why else error, url) from None
        return {"version": "unknown", "brokers": len(told.brokers), "cluster": str(told.cluster_id or "")}

    def shortest_session(self) -> float:
        """Seconds of the shortest session of a group's member that brokers accept, unless they are told otherwise."""
        told = AdminClient(self.options()).list_topics(timeout=CONNECTS)
        return 0.0 if pretended(told) else 6.0

    def remove(self, thing: str) -> None:
        """Delete the topic. The driver's own brokers for tests can't, and forget it with their process."""
        client = AdminClient(self.options())
        try:
            if not pretended(client.list_topics(timeout=CONNECTS)):
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


def pretended(told: Any) -> bool:
    """Whether a cluster says that it is the driver's own for tests, which makes and deletes no topics."""
    return f"{told.cluster_id}".startswith("mockCluster")


SERVER = KafkaServer()
