"""What all that is on NATS has: one connection, in a loop of its own, which is made again when it is lost."""

from __future__ import annotations

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext

from lab.channel.looping import LoopThread
from lab.servers.broker import SILENCE
from lab.servers.nats import ERRORS, SERVER


class NatsConnection:
    """Base of what has a stream of this name."""

    def __init__(self, title: str, name: str) -> None:
        """`title` is what its thread is called."""
        self.name = name
        self.thread = LoopThread(title, SERVER.failed, ERRORS)
        self._client: Client | None = None

    def close(self) -> None:
        """Close the connection."""
        if not self.thread.loop.is_closed():
            if self._client is not None:
                self.thread.run(self._client.close())
            self.thread.close()

    def drop(self) -> None:
        """Delete the stream, and close."""
        SERVER.drop("stream", self.name)
        self.close()

    # -- in the loop --------------------------------------------------------------------------------------------------

    async def connected(self) -> Client:
        """The client, which connects again by itself once it has been connected."""
        if self._client is None or self._client.is_closed:
            self._client = await SERVER.connect(reconnects=True)
        if not self._client.is_connected:
            raise NatsError("the connection is lost")
        return self._client

    async def stream(self) -> JetStreamContext:
        """The server's streams."""
        return (await self.connected()).jetstream(timeout=SILENCE)
