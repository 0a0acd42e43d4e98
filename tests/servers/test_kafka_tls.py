"""Kafka by TLS: who a broker must be. The driver's own speaks none, so something that does stands before it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from kafkas import kafka_brokers
from secured import Certificates

from lab.channel.kafka import KafkaChannel
from lab.ports import Endpoint, Missing
from lab.servers.kafka import SERVER
from lab.testing.taking import messages, taken


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def _pass_on(source: socket.socket, sink: socket.socket, before: bytes = b"-", after: bytes = b"-") -> None:
    """Pass on what comes, and one address in place of another: clients go where a broker says that it is."""
    with suppress(OSError, ssl.SSLError):
        while found := source.recv(65_536):
            sink.sendall(found.replace(before, after))
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def with_tls(certificates: Certificates, broker: int, host: str = "127.0.0.1") -> Iterator[int]:
    """A port that speaks TLS alone, before a broker at another port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.key)
    opened: list[socket.socket] = []

    def serve(front: socket.socket) -> None:
        with suppress(OSError):
            while True:
                plain, _ = front.accept()
                threading.Thread(target=talk, args=(plain,), daemon=True).start()

    def talk(plain: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            client = context.wrap_socket(plain, server_side=True)
            behind = socket.create_connection(("127.0.0.1", broker))
            opened.extend((client, behind))
            threading.Thread(target=_pass_on, args=(client, behind), daemon=True).start()
            _pass_on(behind, client, *(b"127.0.0.1" + each.to_bytes(4, "big") for each in (broker, port)))

    with socket.create_server((host, 0)) as front:
        port = front.getsockname()[1]
        threading.Thread(target=serve, args=(front,), daemon=True).start()
        try:
            yield port
        finally:
            with suppress(OSError):
                front.shutdown(socket.SHUT_RDWR)
            for one in opened:
                one.close()


def test_messages_go_by_tls_to_a_broker_whose_authority_is_named(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with kafka_brokers(), with_tls(certificates, SERVER.url().port) as port:
        monkeypatch.setenv("LAB_KAFKA", f"kafkas://127.0.0.1:{port}?ssl.ca.location={certificates.authority}")
        found = SERVER.find()
        assert isinstance(found, Endpoint)
        assert found.url == f"kafkas://127.0.0.1:{port}"
        (one,) = KafkaChannel(100).split(1)
        try:
            one.declare("group")
            one.publish(messages([1, 2, 3]))
            done = taken(one.subscribe("group", "one", 1), 3)
            assert [each.message.position for each in done] == [1, 2, 3]
        finally:
            one.drop()


@pytest.mark.parametrize(("host", "authority"), [("127.0.0.1", "other"), ("127.0.0.1", ""), ("127.0.0.2", "authority")])
def test_a_broker_that_is_not_who_it_must_be_is_one_line_with_the_way_out(
    host: str, authority: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = f"?ssl.ca.location={getattr(certificates, authority)}" if authority else ""
    with kafka_brokers(), with_tls(certificates, SERVER.url().port, host) as port:
        monkeypatch.setenv("LAB_KAFKA", f"kafkas://{host}:{port}{named}")
        found = SERVER.find()
    assert isinstance(found, Missing)
    assert "certificate" in found.reason
    assert "\n" not in found.reason
    assert found.way_out.startswith("it answers, and TLS fails: LAB_KAFKA or LAB_KAFKA_FILE must name the authority")


def test_a_broker_without_tls_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with kafka_brokers():
        monkeypatch.setenv("LAB_KAFKA", f"kafkas://127.0.0.1:{SERVER.url().port}")
        found = SERVER.find()
    assert isinstance(found, Missing)
    assert found.way_out.startswith("it answers, and without TLS: LAB_KAFKA or LAB_KAFKA_FILE must name")
