"""NATS with JetStream: found by the URL in LAB_NATS, in the file that LAB_NATS_FILE names, or at port 4222."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from lab.engines import tls
from lab.engines.urls import ServerUrl
from lab.servers.broker import CONNECTS, SILENCE, Broker
from lab.servers.disk_ledger import DiskLedger

T = TypeVar("T")
PORT = 4222
# Parameters of a URL, as the options of NATS's own program are called: authorities, and a client's own certificate.
FILES = ("tlsca", "tlscert", "tlskey")
_PLAIN = "the server speaks no TLS, so it is told nothing (a URL that begins with nats:// asks for none)"
# Seconds until a connection that failed is left to the system.
_ENDS = 0.5
# Said by asyncio whenever a server ends a connection that this driver has raised to TLS.
logging.getLogger("asyncio").addFilter(lambda record: "eof_received() has no effect" not in record.getMessage())
ERRORS: tuple[type[Exception], ...] = (NatsError, OSError, TimeoutError)


class NatsLedger(DiskLedger):
    """The ledger of NATS."""

    variable = "LAB_NATS_OWNER"


class NatsUrl(ServerUrl):
    """A URL of NATS: a user without a password is a token, and the files of TLS are parameters."""

    __slots__ = ()
    tokens = True


class NatsClient(Client):
    """A connection that tells a server nothing where TLS was asked for and the server doesn't begin it.

    The driver doesn't insist, neither at first nor when it connects again.
    """

    def __init__(self, secure: bool) -> None:
        super().__init__()
        self.secure = secure

    def _connect_command(self) -> bytes:
        # The first that is sent on each connection, once it is known whether it has TLS.
        if self.secure and not self._server_info.get("tls_required"):
            # The driver leaves it open, and makes another one when it tries again.
            if self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call]
            raise NatsError(_PLAIN)
        return super()._connect_command()


class NatsServer(Broker):
    """The NATS server that the environment names, or the one on this machine."""

    name, title, variable = "nats", "NATS", "LAB_NATS"
    schemes, usual = ("nats", "tls"), "nats://127.0.0.1:4222"
    ledger_class = NatsLedger
    start = (
        "apt-get install nats-server && lab servers start nats, or nats-server --addr 127.0.0.1 --jetstream, "
        "or docker run --rm -p 127.0.0.1:4222:4222 nats:2 --jetstream"
    )

    def parsed(self, text: str, where: str) -> NatsUrl:
        """A URL whose parameters are known."""
        url = NatsUrl(text, where, self.schemes, self.usual)
        url.only(*FILES)
        tls.only_with("tls", url, *FILES)
        return url

    async def connect(self, url: ServerUrl | None = None, reconnects: bool = False) -> Client:
        """Connect; with `reconnects`, for as long as it takes whenever the connection is lost."""
        url, connected = url or self.url(), False
        client = NatsClient(url.scheme == "tls")

        async def hear(error: Exception) -> None:
            # The driver tries a server that refuses for ever, also where it is told not to connect again.
            if not connected:
                raise error

        # The driver takes parts of seconds, and declares whole ones.
        limits: dict[str, Any] = {
            "connect_timeout": CONNECTS, "allow_reconnect": reconnects, "reconnect_time_wait": 0.25,
            "max_reconnect_attempts": -1 if reconnects else 0, "ping_interval": SILENCE, "max_outstanding_pings": 1,
        }  # fmt: skip
        names = {"user": url.user, "password": url.password, "token": url.token}
        limits |= {name: one for name, one in names.items() if one}
        if client.secure:
            limits["tls"] = tls.context(url, *FILES)
        host = f"[{url.host}]" if ":" in url.host else url.host
        try:
            await client.connect(f"{url.scheme}://{host}:{url.port or PORT}", error_cb=hear, **limits)
            connected = True
        except BaseException:
            # What was opened so far is nobody's else. The driver waits for ever for the end of a TLS that never began.
            with suppress(*ERRORS):
                await asyncio.wait_for(client.close(), _ENDS)
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
            raise self.failed(error, url) from None


SERVER = NatsServer()
