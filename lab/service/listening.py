"""How a projection's process gets its messages: from the executor or the hub at a socket, or from a broker.

A broker's messages are taken by a thread of their own, behind the scenario's faults. They are acknowledged once they
are in the projection, and what a guard holds back in memory once that is: a process that is killed gets the rest again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.base import LabError
from lab.channel import CHANNELS
from lab.channel.arriving import arriving
from lab.channel.faulty import Faulty, MonotonicClock
from lab.channel.patient import Patient
from lab.ending import say
from lab.formatting import printable
from lab.place import read_file, replace_file
from lab.ports import Delivery
from lab.scenario import ChannelTable
from lab.service.messages import Subscribe, encoded_message
from lab.service.wire import MESSAGE, REQUEST, packed, read

# Seconds in which the thread waits for messages at once; between two looks at whether the scenario has begun; and
# between two notes of the counts.
_WAITS, _LOOKS, _NOTES = 0.05, 0.01, 0.1
# Seconds until the thread must have ended.
_ENDS = 15.0
_COUNTS = ("sent", "delivered", "duplicated", "lost", "overflowed")


async def follow(socket: Path, name: str, connected: Callable[[], object], hear: Callable[[bytes], object]) -> None:
    """Hear what is sent at a socket, for as long as this task runs; what is missed meanwhile is caught up with."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            connected()
            writer.write(packed(0, REQUEST, encoded_message(Subscribe(name))))
            try:
                while True:
                    _, status, _, body = await read(reader)
                    if status == MESSAGE:
                        hear(body)
            finally:
                writer.close()
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class ChannelFiles:
    """What a live run and its projections tell each other about a broker's channel, in files of its folder."""

    folder: Path

    @property
    def began(self) -> Path:
        """The scenario's first moment, on the monotonic clock; not there before."""
        return self.folder / "channel.began"

    def counts(self, name: str) -> Path:
        """What became of a projection's messages, over all of its processes; of a partition's, of one assignment."""
        return self.folder / f"{name}.messages"

    def counted(self, name: str) -> dict[str, int]:
        """Read the counts; all are 0 before the first ones are noted. `open` are messages that are not done with."""
        found = dict.fromkeys((*_COUNTS, "repeated", "open"), 0)
        with contextlib.suppress(OSError, ValueError):
            found |= json.loads(read_file(self.counts(name)) or "{}")
        return found


class BrokerListener:
    """A member of a projection's group. Its thread takes and acknowledges, and hands over in the event loop."""

    def __init__(
        self, table: ChannelTable, channel: str, seed: int, name: str, files: ChannelFiles,
        room: Callable[[], int], hear: Callable[[Sequence[Delivery]], None], part: str = "", generation: int = 0,
    ) -> None:  # fmt: skip
        """`channel` is the channel's name, `room` how many more the inbox takes, `hear` is called in the loop.

        `part` is what the counts are kept under, if not the projection's name; `generation` is that of its assignment.
        """
        self._table, self._channel, self._seed, self._name = table, channel, seed, name
        self._part, self._generation = part or name, generation
        self._files, self._room, self._hear = files, room, hear
        self._loop = asyncio.get_running_loop()
        # Gets the error that has ended the thread before its time: then nothing is delivered any more.
        self.failed: asyncio.Future[None] = self._loop.create_future()
        # In the projection's inbox, in its order; in it no more, and held back by its guard; to be acknowledged.
        self._inbox: deque[Delivery] = deque()
        self._held: list[Delivery] = []
        self._done: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._unsettled = 0
        # How many messages the thread has handed over so far, and how many of them the loop has put into the inbox.
        self._posted, self._heard = 0, 0
        self._base = files.counted(self._part)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run_or_fail, name=f"channel of {self._part}", daemon=True)

    def start(self) -> None:
        """Begin to take messages, as soon as the scenario begins."""
        self._thread.start()

    async def stop(self) -> None:
        """Acknowledge what is done, leave the group, and note the counts."""
        self._stopping.set()
        await self._loop.run_in_executor(None, self._thread.join, _ENDS)

    # -- in the loop --------------------------------------------------------------------------------------------------

    def taken(self, count: int, held: Callable[[], set[int]]) -> None:
        """The first messages of the inbox are in the projection, but for the positions that `held` returns."""
        for _ in range(count):
            self._held.append(self._inbox.popleft())
        still = held()
        for delivery in self._held:
            if delivery.message.position not in still:
                self._done.put(delivery)
        self._held = [delivery for delivery in self._held if delivery.message.position in still]

    def refused(self, deliveries: Sequence[Delivery]) -> None:
        """These are of no interest to the projection, or have no room in its inbox."""
        for delivery in deliveries:
            self._done.put(delivery)

    def arrived(self, deliveries: Sequence[Delivery]) -> None:
        """These are in the inbox now."""
        self._inbox.extend(deliveries)

    def _hear_posted(self, deliveries: Sequence[Delivery]) -> None:
        try:
            self._hear(deliveries)
        finally:
            self._heard += len(deliveries)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _run_or_fail(self) -> None:
        try:
            self._run()
        except Exception as error:
            # A loop that is closed has nothing to be told.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._fail, error)

    def _vacant(self) -> int:
        # What a busy loop has yet to hear takes room, too. It is read first: what is heard in between counts twice,
        # and never not at all.
        unheard = self._posted - self._heard
        return max(0, self._room() - unheard)

    def _run(self) -> None:
        while not self._files.began.exists():
            if self._stopping.wait(_LOOKS):
                return
        began = float(self._files.began.read_text(encoding="utf-8"))
        clock = MonotonicClock()
        assert self._table.broker is not None
        channel = CHANNELS[self._table.broker](self._table.capacity, self._channel)
        patient = Patient(lambda: channel.subscribe(self._name, self._name, self._generation), self._tell)
        faulty = arriving(self._table, self._seed, self._name, patient, clock, began, real=True)
        noted_at = 0.0
        while not self._stopping.is_set():
            room = self._vacant()
            if found := faulty.take(room, _WAITS) if room else []:
                self._unsettled += len(found)
                self._posted += len(found)
                self._loop.call_soon_threadsafe(self._hear_posted, found)
            elif not room:
                self._stopping.wait(_LOOKS)
            self._acknowledge(faulty)
            if clock.now() >= noted_at + _NOTES:
                noted_at = clock.now()
                self._note(faulty)
        self._acknowledge(faulty)
        self._note(faulty)
        faulty.close()
        with contextlib.suppress(LabError):
            channel.close()

    def _acknowledge(self, faulty: Faulty) -> None:
        done = list[Delivery]()
        with contextlib.suppress(queue.Empty):
            while True:
                done.append(self._done.get_nowait())
        if done:
            self._unsettled -= len(done)
            faulty.acknowledge(done)

    def _note(self, faulty: Faulty) -> None:
        found = {name: self._base[name] + faulty.counts[name] for name in _COUNTS}
        found |= {"repeated": self._base["repeated"] + faulty.repeated, "open": faulty.waiting + self._unsettled}
        # A folder that is gone needs no counts.
        with contextlib.suppress(OSError):
            replace_file(self._files.counts(self._part), json.dumps(found))

    def _tell(self, what: str) -> None:
        with contextlib.suppress(OSError):
            say(printable(f"{self._part}: {what}"), err=True)
