"""NATS with JetStream: found by the URL in LAB_NATS, in the file that LAB_NATS_FILE names, or at port 4222."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from lab.engines.urls import ServerUrl
from lab.servers.broker import CONNECTS, SILENCE, Broker
from lab.servers.disk_ledger import DiskLedger

T = TypeVar("T")
ERRORS: tuple[type[Exception], ...] = (NatsError, OSError, TimeoutError)


class NatsLedger(DiskLedger):
    """The ledger of NATS."""

    variable = "LAB_NATS_OWNER"


class NatsServer(Broker):
    """The NATS server that the environment names, or the one on this machine."""

    name, title, variable = "nats", "NATS", "LAB_NATS"
    schemes, usual = ("nats", "tls"), "nats://127.0.0.1:4222"
    ledger_class = NatsLedger
    start = (
        "apt-get install nats-server && nats-server --addr 127.0.0.1 --jetstream, "
        "or docker run --rm -p 127.0.0.1:4222:4222 nats:2 --jetstream"
    )

    async def connect(self, url: ServerUrl | None = None, reconnects: bool = False) -> Client:
        """Connect; with `reconnects`, for as long as it takes whenever the connection is lost."""
        client = Client()
        # The driver takes parts of seconds, and declares whole ones.
        limits: dict[str, Any] = {
            "connect_timeout": CONNECTS, "allow_reconnect": reconnects, "reconnect_time_wait": 0.25,
            "max_reconnect_attempts": -1 if reconnects else 0, "ping_interval": SILENCE, "max_outstanding_pings": 1,
        }  # fmt: skip
        try:
            await client.connect((url or self.url()).secret, error_cb=_quiet, **limits)
        except BaseException:
            # What was opened so far is nobody's else.
            with suppress(*ERRORS):
                await client.close()
            raise
        return client

    def ask(self, url: ServerUrl) -> dict[str, Any]:
        """Its version, the largest message, and what JetStream may use; it must be on. Raises Unavailable."""

        async def asked(client: Client) -> dict[str, Any]:
            account = await client.jetstream(timeout=SILENCE).account_info()
            limits = account.limits
            # Of its version the driver has numbers and its own way of printing them.
            version = repr(client.connected_server_version).removeprefix("<nats server v").rstrip(">")
            return {
                "version": version, "max_payload": client.max_payload,
                "jetstream": "on", "streams": account.streams, "max_memory": limits.max_memory,
                "max_storage": limits.max_storage,
            }  # fmt: skip

        return self._once(asked, url)

    def remove(self, thing: str) -> None:
        """Delete the stream, with its consumers."""

        async def removed(client: Client) -> None:
            try:
                await client.jetstream(timeout=SILENCE).delete_stream(thing)
            except NotFoundError:
                return

        self._once(removed)

    def _once(self, work: Callable[[Client], Coroutine[Any, Any, T]], url: ServerUrl | None = None) -> T:
        async def done() -> T:
            client = await self.connect(url)
            try:
                return await work(client)
            finally:
                await client.close()

        async def limited() -> T:
            return await asyncio.wait_for(done(), CONNECTS + SILENCE)

        try:
            # In a thread: the caller may be in an event loop itself.
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(lambda: asyncio.run(limited())).result()
        except ERRORS as error:
            raise self.failed(error) from None


async def _quiet(_: Exception) -> None:
    """Say nothing: who waits for an answer gets the error."""


SERVER = NatsServer()
