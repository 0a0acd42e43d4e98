"""`lab serve`: start the processes, answer requests until SIGTERM or SIGINT, and stop everything in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.base import TRUTH, BadInput, LabError, Problem
from lab.ending import stopping
from lab.feed.source import TruthReader
from lab.identity import Identity, read
from lab.place import FolderPlace
from lab.scenario import refuse
from lab.servers import forget, require
from lab.service.backend import Backend, PartHandle
from lab.service.changes import Changes
from lab.service.feeding import feed_socket, finder
from lab.service.folder import confirm, enrol, erase
from lab.service.front import Front
from lab.service.gate import Access
from lab.service.liveonly import of_live_runs
from lab.service.locking import owned
from lab.service.part import Orders
from lab.service.protocol import Patrol, enough_files, server_of
from lab.service.supervisor import Child
from lab.service.temporary import temporary_folder
from lab.service.wire import ENDS_WITH_STDIN, run, watch_stdin
from lab.truth import truth_class
from lab.wiring import Plan
from lab.wiring.needed import servers


@dataclass(frozen=True)
class Address:
    """The address on which the front listens, and the token that it requires."""

    host: str
    port: int
    token: str | None = None


def serve(
    plan: Plan,
    folder: Path | None,
    address: Address,
    tell: Callable[[dict[str, Any]], None],
    journal: bool = False,
    fresh: bool = False,
) -> None:
    """Serve a scenario until SIGTERM, SIGINT or SIGHUP. `tell` gets address and parts once, when the service answers.

    Without a folder the files are temporary. With `journal` each part writes down what became of every change. With
    `fresh` what the lab made in the folder is removed first. Raises BadInput for a folder that is taken or was made by
    other settings, and for an address that can't be had.
    """
    access = Access.of(address.host, address.token)
    refuse(of_live_runs(plan))
    require(servers(plan))
    if folder is None:
        with temporary_folder("lab-serve-") as made:
            try:
                _serve(plan, made, access, address, tell, journal)
            finally:
                # What the folder names is nobody's from now on.
                forget(servers(plan), made)
        return
    _serve(plan, folder, access, address, tell, journal, fresh)
    stopping.keeps(folder)


def _serve(
    plan: Plan,
    folder: Path,
    access: Access,
    address: Address,
    tell: Callable[[dict[str, Any]], None],
    journal: bool,
    fresh: bool = False,
) -> None:
    enough_files()
    folder.mkdir(parents=True, exist_ok=True)
    with owned(folder, "service"), _bound(address) as listening, temporary_folder("lab-") as sockets:
        if fresh:
            erase(plan, folder)
            require(servers(plan))
        known = _known(plan, FolderPlace(folder).within(TRUTH))
        confirm(plan, folder, journal)
        source = plan.source
        named = str(source.path.absolute()), source.overrides, source.seed, str(folder.absolute()), str(sockets)
        names = [TRUTH, *(item.name for item in plan.projections)]
        children = {name: Child(Orders(name, *named, time.time(), journal)) for name in names}
        executor = children[TRUTH]
        executor.orders = replace(executor.orders, epoch=known.epoch if known else None)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        told = {"url": f"http://{shown}:{port}", "folder": str(folder), "pid": os.getpid()}
        told["projections"] = names[1:]

        def answers() -> None:
            # From now on the executor is started again on this source of truth alone.
            found = read(FolderPlace(folder).within(TRUTH))
            executor.orders = replace(executor.orders, epoch=found.epoch if found else None)
            tell(told)

        find = finder(plan, folder, feed_socket(sockets))
        # The event loop takes the signals, and gives them up at its end: clean-up must not be torn apart either.
        with stopping.handled_elsewhere():
            run(_run(plan, folder, find, access, listening, children, answers))


def _known(plan: Plan, place: FolderPlace) -> Identity | None:
    """Return whose source of truth a place holds: what is wrong is told once, and not by each part that can't start.

    Raises BadInput and SourceLost.
    """
    known, table = plan.confirm_truth(place), plan.scenario.truth
    # A file that can't be read at all, or has one process at a time, is the executor's to tell of.
    if known is not None and truth_class(table.engine, table.model).shared:
        with suppress(OSError, sqlite3.Error):
            truth = plan.truth_beside(place)
            if truth is not None:
                truth.close()
    return known


@contextmanager
def _bound(address: Address) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listening = socket.create_server((address.host, address.port), family=family, backlog=2048)
    except (OSError, OverflowError, UnicodeError) as error:
        what = f"can't listen at {address.host}, port {address.port}: {error}"
        raise BadInput([Problem("--host, --port", what, "another --port; 0 takes one that is free")]) from None
    with listening:
        yield listening


async def _run(
    plan: Plan,
    folder: Path,
    find: Callable[[], TruthReader | None],
    access: Access,
    listening: socket.socket,
    children: dict[str, Child],
    ready: Callable[[], None],
) -> None:
    told_to_stop = asyncio.Event()

    def stop(number: int) -> None:
        # The command's exit status says which signal it was.
        stopping.winds_down(number)
        told_to_stop.set()

    for number in stopping.HANDLED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    # The program that started this service may be killed before it can stop it.
    parent = await watch_stdin(told_to_stop.set) if os.environ.get(ENDS_WITH_STDIN) else None
    changes = Changes(find)
    # Not before the next process listens: until then the files of the former one may be there.
    children[TRUTH].listens = changes.reopen
    try:
        starting = asyncio.gather(*(child.start() for child in children.values()))
        stopped = asyncio.create_task(told_to_stop.wait())
        either: set[asyncio.Future[Any]] = {starting, stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if told_to_stop.is_set():
            starting.cancel()
            # What is never looked at is told by asyncio, with a traceback.
            with suppress(asyncio.CancelledError, LabError):
                await starting
            return
        await starting
        parts = {name: PartHandle(child, child.told) for name, child in children.items()}
        enrol(plan, folder, children[TRUTH].orders.journal)
        backend = Backend(plan, parts, changes, folder)
        await backend.newest()
        front = Front(backend, access)
        server = server_of(front.app())
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        patrol = Patrol(server.server_state.connections)
        walking = asyncio.create_task(patrol.walk())
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        ready()
        await asyncio.wait([stopped, serving], return_when=asyncio.FIRST_COMPLETED)
        # A stream has no end of its own. What else is being answered is answered to the end; then the processes end,
        # and what they committed is there.
        await front.close()
        server.should_exit = patrol.stopping = True
        await serving
        walking.cancel()
    finally:
        await asyncio.gather(*(child.stop() for child in children.values()))
        changes.close()
        if parent is not None:
            parent.close()
