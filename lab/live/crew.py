"""The writers' processes of a live run: started, told when to begin, waited for, stopped."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.live.tickets import Tickets
from lab.live.writer import READY, WriterOrders, tickets_file
from lab.place import read_file
from lab.service.supervisor import POLITE, ProgramFailed, inherited

# Bytes of a page of a disk.
_ROOM = 4_096


class Crew:
    """The writers' processes."""

    def __init__(self) -> None:
        self._processes: list[tuple[WriterOrders, asyncio.subprocess.Process, Path]] = []

    async def start(self, orders: Sequence[WriterOrders]) -> None:
        """Start a process for each, and wait until all are ready. Raises ProgramFailed when one isn't to be had."""
        Tickets(tickets_file(Path(orders[0].folder))).close()
        for each in orders:
            log = each.journal.with_suffix(".log")
            with log.open("w", encoding="utf-8") as file:
                # On a disk that is full there still is room for its last words.
                file.write("\n" * _ROOM)
                file.seek(0)
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "lab.live.writer", each.json(), stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE, stderr=file, start_new_session=True, env=inherited(),
                )  # fmt: skip
            self._processes.append((each, process, log))
        for each, process, log in self._processes:
            assert process.stdout is not None
            if (await process.stdout.readline()).decode().strip() != READY:
                await process.wait()
                raise _failed(each, process, log)

    async def begin(self, at: float) -> None:
        """Tell all of them when the scenario begins, in seconds since 1970."""
        for _, process, _ in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{at!r}\n".encode())
            await process.stdin.drain()

    async def finished(self) -> None:
        """Wait until all have ended. Raises ProgramFailed for the first one that fails."""
        waits = {asyncio.create_task(process.wait()): number for number, (_, process, _) in enumerate(self._processes)}
        pending = set(waits)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.result():
                    for other in pending:
                        other.cancel()
                    raise _failed(*self._processes[waits[task]])

    def unpublished(self) -> dict[str, int]:
        """Count the messages that the writers, which have ended, could never publish to a broker, by reason."""
        found = Counter[str]()
        for told in self._told():
            found.update(told["dropped"])
        return dict(found)

    def published(self) -> int:
        """Count the messages that the writers, which have ended, have published to a broker."""
        return sum(told["stored"] for told in self._told())

    def _told(self) -> list[dict[str, Any]]:
        return [json.loads(text) for each, _, _ in self._processes if (text := read_file(each.tally))]

    async def stop(self) -> None:
        """Close their standard input, by which they end; kill those that don't."""
        for _, process, _ in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for _, process, _ in self._processes:
            try:
                await asyncio.wait_for(process.wait(), POLITE)
            except TimeoutError:
                process.kill()
                await process.wait()


def _failed(orders: WriterOrders, process: asyncio.subprocess.Process, log: Path) -> ProgramFailed:
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    said = lines[-1] if lines else f"it ended with {process.returncode} and said nothing"
    return ProgramFailed(f"writer {orders.number} ended before its time: {said}")
