"""Brokers of Kafka's protocol within the tests' own process: librdkafka's for tests, which know groups."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka
import pytest

# Milliseconds that a group's first member waits for others; by itself it is longer than the tests' sessions.
_FIRST_MS = 100


class KafkaBroker:
    """A broker that can be made to refuse requests."""

    def __init__(self, library: ctypes.CDLL, brokers: int) -> None:
        self._library, self._brokers = library, brokers

    def refuse(self, request: int, error: int, times: int) -> None:
        """Answer the next requests of a kind, by its number in the protocol, with an error."""
        errors = (ctypes.c_int * times)(*[error] * times)
        self._library.rd_kafka_mock_push_request_errors_array(self._brokers, request, times, errors)

    def forgive(self, request: int) -> None:
        """Answer these requests as they are meant."""
        self._library.rd_kafka_mock_clear_request_errors(self._brokers, request)


@contextmanager
def kafka_brokers() -> Iterator[KafkaBroker]:
    """One broker; it is the one that LAB_KAFKA names meanwhile."""
    library = _library()
    said, options = ctypes.create_string_buffer(512), library.rd_kafka_conf_new()
    # Not what it says of clients that speak TLS to it.
    library.rd_kafka_conf_set(options, b"log_level", b"0", said, len(said))
    client = library.rd_kafka_new(0, options, said, len(said))
    assert client, said.value.decode()
    brokers = library.rd_kafka_mock_cluster_new(client, 1)
    try:
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(brokers, _FIRST_MS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LAB_KAFKA", f"kafka://{library.rd_kafka_mock_cluster_bootstraps(brokers).decode()}")
            yield KafkaBroker(library, brokers)
    finally:
        library.rd_kafka_mock_cluster_destroy(brokers)
        library.rd_kafka_destroy(client)


def _library() -> ctypes.CDLL:
    """The driver's library: Python's own part of it has no word for the delay."""
    folder = Path(confluent_kafka.__file__).parent
    found = [one for beside in (".dylibs", "../confluent_kafka.libs") for one in (folder / beside).glob("librdkafka*")]
    if not found:
        pytest.skip("the library of confluent-kafka isn't beside it: take a wheel of it")
    library = ctypes.CDLL(str(found[0]))
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, takes in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_push_request_errors_array", None, [pointer, ctypes.c_int16, ctypes.c_size_t, pointer]),
        ("rd_kafka_mock_clear_request_errors", None, [pointer, ctypes.c_int16]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, takes
    return library
