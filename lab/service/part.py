"""A process of the service: the executor, or one projection. It ends when its standard input does.

The front holds the other end of that pipe, so a part ends with the front even if that is killed.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.base import TRUTH, Damaged, LabError, SourceLost
from lab.channel.spread import names
from lab.ending import at_work_in, complain, output, say
from lab.ending.failures import status_of
from lab.formatting import printable
from lab.place import FolderPlace
from lab.scenario import Source
from lab.service.executor import Executor
from lab.service.feeding import ChangeServer, feed_socket, finder
from lab.service.locking import CLOSING_SECONDS, owned
from lab.service.member import PartitionMember
from lab.service.membership import member_of
from lab.service.mending import ProjectionHome, reason_of
from lab.service.projection import Projection
from lab.service.wire import MESSAGE, abandoned, listen, packed, run, watch_stdin
from lab.wiring import Plan, ProjectionPlan, plan

# Bytes that a listener may leave unread; beyond that, messages to it are lost.
PILE_MAX = 16 * 2**20
# The exit status of a projection that has set its files aside, and is to be started again at once.
RENEWED = 75


@dataclass(frozen=True)
class Orders:
    """The arguments of a process: which part it is, the scenario, the folders of its files and of the sockets.

    `journal`: whether each part writes down what it saw of every change, beside its files. `epoch`: that of the source
    of truth which was there before; the executor opens no other one and begins none. `renew`: why a projection's files
    are to be set aside first. `copy`: a file with the scenario's text, where it is no longer what the scenario's file
    holds, or there is none. `channel`: the name of the broker's channel that projections take their messages from; ""
    where a socket brings them. `group`: the name of the group of which a partitioned projection's process is a member;
    its part is called as the projection, with its number after a dot.
    """

    part: str
    scenario: str
    overrides: tuple[str, ...]
    seed: int | None
    folder: str
    sockets: str
    since: float
    journal: bool = False
    epoch: str | None = None
    renew: str = ""
    copy: str = ""
    channel: str = ""
    group: str = ""

    @property
    def projection(self) -> str:
        """Return the name of the projection that the part is of."""
        return self.part.partition(".")[0]

    @property
    def written_down(self) -> Path | None:
        """Return the part's journal; None if it keeps none."""
        return Path(self.folder) / f"{self.part}.journal" if self.journal else None

    @property
    def said(self) -> Path:
        """Return the file in which the part leaves why it ended, for its supervisor."""
        return Path(self.sockets) / f"{self.part}.said"

    def json(self) -> str:
        """Serialise to the JSON argument of `python -m lab.service.part`."""
        return json.dumps(asdict(self))

    def plan(self) -> Plan:
        """Read the scenario and plan it again, as the front did."""
        text = Path(self.copy).read_text(encoding="utf-8") if self.copy else None
        return plan(Source(Path(self.scenario), self.overrides, self.seed, text))

    def socket(self, part: str) -> Path:
        """Return the path of a part's socket."""
        return Path(self.sockets) / f"{part}.sock"

    @property
    def feed(self) -> Path:
        """Return the path of the socket at which the executor serves the change feed, where files can't be shared."""
        return feed_socket(Path(self.sockets))


async def _ended() -> None:
    """Wait until standard input ends or SIGTERM arrives. SIGINT is ignored, since the front handles it."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    transport = await watch_stdin(ended.set)
    await ended.wait()
    transport.close()


async def _execute(orders: Orders, made: Plan) -> None:
    place = FolderPlace(Path(orders.folder)).within(TRUTH)
    try:
        truth = made.truth(place, orders.epoch)
    except (LabError, OSError):
        raise
    except Exception as error:
        # Never set aside: it is what everything else is built from.
        what = f"{place.shown()}: the source of truth can't be opened: {reason_of(error)}"
        raise Damaged(f"{what}; restore it from a backup, begin anew with --fresh, or name another --folder") from None
    executor = Executor(made, truth, orders.written_down)

    def subscribed(writer: asyncio.StreamWriter, _: str) -> None:
        def send(message: bytes) -> None:
            if writer.is_closing():
                executor.listeners.remove(send)
            elif writer.transport.get_write_buffer_size() < PILE_MAX:
                writer.write(packed(0, MESSAGE, message))

        executor.listeners.append(send)

    feed = None if truth.shared else ChangeServer(truth)
    if feed is not None:
        await feed.listen(orders.feed)
    server = await listen(orders.socket(TRUTH), executor.handle, subscribed)
    ended, lost = asyncio.create_task(_ended()), asyncio.create_task(executor.watch())
    await asyncio.wait([ended, lost], return_when=asyncio.FIRST_COMPLETED)
    failed = lost.exception() if lost.done() else None
    # A file that is closed below would be looked at once more.
    lost.cancel()
    server.close()
    if feed is not None:
        await feed.close()
    # What was read by now is decided, committed and answered.
    await asyncio.sleep(0)
    executor.close()
    await asyncio.sleep(0.05)
    if failed is not None:
        raise failed
    if executor.lost is not None:
        raise SourceLost(f"{truth.place.shown()}: {executor.lost} under the running service")


async def _share(orders: Orders, made: Plan) -> None:
    """Work as one of several processes on the partitions of a projection."""
    item, folder = _item(orders, made), Path(orders.folder)
    find = finder(made, folder, orders.feed, item.gaps)
    rest = orders.part, orders.group, names(orders.channel)[1:], find, _teller(orders)
    member = PartitionMember(made, item, folder, orders.since, *rest)
    server = await listen(orders.socket(orders.part), member.handle)
    work, ended = asyncio.create_task(member.work()), asyncio.create_task(_ended())
    await asyncio.wait([work, ended], return_when=asyncio.FIRST_COMPLETED)
    server.close()
    try:
        await member.stop()
    finally:
        # What has ended it comes first.
        await work


def _item(orders: Orders, made: Plan) -> ProjectionPlan:
    return next(item for item in made.projections if item.name == orders.projection)


def _teller(orders: Orders) -> Callable[[str], None]:
    return lambda said: say(printable(f"{orders.part}: {said}"), err=True)


async def _project(orders: Orders, made: Plan) -> None:
    item, folder = _item(orders, made), Path(orders.folder)
    home = ProjectionHome(made, item, folder, _teller(orders), orders.written_down)
    find = finder(made, folder, orders.feed, item.gaps)
    projection = Projection(made, home, find, orders.since, orders.written_down, orders.renew)
    server = await listen(orders.socket(orders.part), projection.handle)
    # In a live run on a broker nobody else sends messages.
    listening = None if orders.channel else asyncio.create_task(projection.listen(orders.socket(TRUTH)))
    member = member_of(projection, names(orders.channel)[0], folder) if orders.channel and item.by_messages else None
    if member is not None:
        member.start()
    work = asyncio.create_task(projection.work())
    ended = asyncio.create_task(_ended())
    # Work that fails ends the process: it starts again at its checkpoint, and the front tells.
    waits = [work, ended, *([] if member is None else [member.failed])]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    server.close()
    if listening is not None:
        listening.cancel()
    if member is not None:
        await member.stop()
    if work.done() and (error := work.exception()) is not None:
        projection.suspect(error)
    await projection.stop()
    if projection.unfit:
        home.set_aside(projection.unfit)
        orders.said.write_text(projection.unfit, encoding="utf-8")
        sys.exit(RENEWED)
    await work
    if member is not None and member.failed.done():
        # Without its messages it would go on in silence: started again, it takes them again.
        member.failed.result()


def main(argument: str) -> None:
    """Start the part that the argument describes."""
    orders = Orders(**json.loads(argument))
    output.prepare()
    body = _execute if orders.part == TRUTH else _share if orders.group else _project
    try:
        made = orders.plan()
        with owned(Path(orders.folder), orders.part, CLOSING_SECONDS), at_work_in(Path(orders.folder)):
            # Whoever waits for this lock to be free, to remove the folder, must not see files made in it afterwards.
            if abandoned():
                return
            run(body(orders, made))
    except (LabError, OSError) as error:
        # A full disk and missing rights may pass. The supervisor says it.
        said = "; ".join(f"{error}".splitlines()) if isinstance(error, LabError) else reason_of(error)
        with suppress(FileNotFoundError):
            # The folder is gone with the service.
            orders.said.write_text(said, encoding="utf-8")
        sys.exit(status_of(error))
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code == RENEWED:
            raise
        with suppress(FileNotFoundError):
            orders.said.write_text(reason_of(error), encoding="utf-8")
        sys.exit(complain(error, who=orders.part))


if __name__ == "__main__":
    main(sys.argv[1])
