"""RabbitMQ: found by the URL in LAB_RABBITMQ, in the file that LAB_RABBITMQ_FILE names, or at port 5672.

The protocol has no list of queues, so each queue is written down by itself; it expires too, a day after its last use.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.channel import Channel
from pika.exceptions import AMQPError

from lab.base import BadInput, Problem, Unavailable
from lab.engines import tls
from lab.engines.urls import ServerUrl
from lab.servers.broker import CONNECTS, SILENCE, Broker
from lab.servers.disk_ledger import DiskLedger

# It writes what it raises to standard error, too.
logging.getLogger("pika").addHandler(logging.NullHandler())

# Parameters of a URL, as RabbitMQ's own clients call them: authorities, and a client's own certificate.
FILES = ("cacertfile", "certfile", "keyfile")
ERRORS: tuple[type[Exception], ...] = (AMQPError, AMQPConnectorException, OSError, TimeoutError)


class RabbitLedger(DiskLedger):
    """The ledger of RabbitMQ."""

    variable = "LAB_RABBITMQ_OWNER"


class RabbitServer(Broker):
    """The RabbitMQ server that the environment names, or the one on this machine."""

    name, title, variable = "rabbitmq", "RabbitMQ", "LAB_RABBITMQ"
    schemes, usual = ("amqp", "amqps"), "amqp://127.0.0.1:5672"
    ledger_class = RabbitLedger
    start = (
        "apt-get install rabbitmq-server && lab servers start rabbitmq, or service rabbitmq-server start, "
        "or docker run --rm -p 127.0.0.1:5672:5672 rabbitmq:3"
    )

    def ask(self, url: ServerUrl) -> dict[str, Any]:
        """Its version, and the limits that it and this client have agreed on. Raises Unavailable."""

        async def asked(connection: AsyncioConnection) -> dict[str, Any]:
            told, limits = connection.server_properties, connection.params
            return {
                "version": str(told["version"]), "platform": str(told.get("platform", "")),
                "virtual_host": limits.virtual_host, "heartbeat": limits.heartbeat, "frame_max": limits.frame_max,
            }  # fmt: skip

        return dict(self._once(asked, url))

    def remove(self, thing: str) -> None:
        """Delete the exchange and the queue of this name."""

        async def removed(connection: AsyncioConnection) -> None:
            line = await opened(connection)
            await answered(line, lambda done: line.queue_delete(thing, callback=done))
            await answered(line, lambda done: line.exchange_delete(thing, callback=done))

        self._once(removed)

    async def connect(self, url: ServerUrl | None = None) -> AsyncioConnection:
        """Connect, in the running loop; one that is silent is given up."""
        loop, found = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        parameters = self._parameters(url or self.url())
        parameters.connection_attempts, parameters.heartbeat = 1, int(SILENCE)
        parameters.socket_timeout = parameters.stack_timeout = CONNECTS
        parameters.blocked_connection_timeout = SILENCE
        AsyncioConnection(
            parameters, custom_ioloop=loop, on_open_callback=lambda one: _settle(found, one),
            on_open_error_callback=lambda _, error: _settle(found, error),
        )  # fmt: skip
        made: AsyncioConnection = await asyncio.wait_for(found, CONNECTS + SILENCE)
        return made

    def failed(self, error: object, asked: ServerUrl | None = None) -> Unavailable:
        """Name the reason: the driver's error for a closed port has no text, and one within it has."""
        while (within := _within(error)) is not None:
            error = within
        return super().failed(error, asked)

    def _parameters(self, url: ServerUrl) -> pika.URLParameters:
        tls.only_with("amqps", url, *FILES)
        if url.user and not url.password:
            raise BadInput([Problem(url.where, f"{url}: it names a user without a password", "put both into it")])
        try:
            found = pika.URLParameters(url.without(*FILES))
        except (ValueError, TypeError, LookupError, AttributeError, SyntaxError, MemoryError, RecursionError):
            # The driver quotes what it can't read, which may be a password.
            what = "its options, after the `?`, can't be read"
            raise BadInput([Problem(url.where, what, f"for example {self.usual}?heartbeat=5")]) from None
        if url.scheme == "amqps" and "ssl_options" not in url.parameters:
            found.ssl_options = pika.SSLOptions(tls.context(url, *FILES), found.host)
        return found

    def _once(self, work: Callable[[AsyncioConnection], Any], url: ServerUrl | None = None) -> Any:
        async def done() -> Any:
            connection = await self.connect(url)
            try:
                return await asyncio.wait_for(work(connection), SILENCE)
            finally:
                connection.close()
                while not connection.is_closed:
                    await asyncio.sleep(0.001)

        async def limited() -> Any:
            return await asyncio.wait_for(done(), CONNECTS + 2 * SILENCE)

        try:
            # In a thread: the caller may be in an event loop itself.
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(lambda: asyncio.run(limited())).result()
        except ERRORS as error:
            raise self.failed(error, url) from None


async def opened(connection: AsyncioConnection) -> Channel:
    """Open a channel of the protocol on a connection."""
    found = asyncio.get_running_loop().create_future()
    line = connection.channel(on_open_callback=lambda one: _settle(found, one))
    line.add_on_close_callback(lambda _, error: _settle(found, error))
    made: Channel = await asyncio.wait_for(found, SILENCE)
    return made


async def answered(line: Channel, ask: Callable[[Callable[[Any], None]], object]) -> Any:
    """Ask something on a channel, and wait for the server's answer. Raises what closes the channel instead."""
    found = asyncio.get_running_loop().create_future()
    line.add_on_close_callback(lambda _, error: _settle(found, error))
    ask(lambda frame: _settle(found, frame))
    return await asyncio.wait_for(found, SILENCE)


def _within(error: object) -> BaseException | None:
    """The error within one of the driver's, if there is one: the last of several."""
    found = [*getattr(error, "exceptions", ()), getattr(error, "exception", None), *getattr(error, "args", ())]
    return next((one for one in found if isinstance(one, BaseException)), None)


def _settle(found: asyncio.Future[Any], value: Any) -> None:
    if found.done():
        return
    if isinstance(value, BaseException):
        found.set_exception(value)
        # Whoever waits for it may have gone.
        found.exception()
    else:
        found.set_result(value)


SERVER = RabbitServer()
