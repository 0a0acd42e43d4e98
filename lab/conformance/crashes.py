"""Tries what a store makes of a process that dies in the midst of its work, without warning (SIGKILL).

A crash of the process, not of the machine: what the operating system was handed is kept. One process counts the steps
in which the store hands over to its engine or to another library, and before which of them its files had changed;
others die before some of these. Whatever was confirmed must be there afterwards; the operation in flight as a whole,
with its checkpoint, or not at all; and a projector that goes on from the checkpoint must end with the right content.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from lab.base import stream
from lab.conformance.faithful import differences
from lab.conformance.listing import Listing
from lab.conformance.operations import Content, Script, content
from lab.conformance.values import told
from lab.projection.projector import Projector
from lab.stores.port import Store

# The number of the first apply that also writes over records, and how often a process dies in it at the most.
APPLY, DEATHS_OF_APPLY, DEATHS_OF_RESET = 1, 5, 2
# Objects whose methods change nothing but memory of the process.
_PLAIN = (str, bytes, bytearray, list, tuple, dict, set, frozenset, int, float)
# The lab's own rooms that count as a store's code.
_STORES = ("lab.stores", "lab.engines")


@dataclass(frozen=True)
class Death:
    """Where a process is to die: within an operation, by its number, before a step; or once it was confirmed (None)."""

    operation: int
    step: int | None = None


@dataclass(frozen=True)
class Counted:
    """The steps of an operation: how many, and before which of them the files had changed since the step before."""

    steps: int
    changed: tuple[int, ...] = ()

    def drawn(self, most: int, rng: np.random.Generator) -> list[int]:
        """Draw where to die, at most so often: where the files differ, at the end, and anywhere."""
        wanted = {int(rng.integers(self.steps)), *self.changed}
        if most > 1:
            wanted.add(self.steps - 1)
        spread = np.array(sorted(wanted))
        # One of each part, if there are too many.
        parts = np.array_split(spread, min(most, spread.size))
        return [int(rng.choice(part)) for part in parts]


def deaths(counted: Sequence[Counted], seed: int, thorough: bool = False) -> list[Death]:
    """Choose where to die, given the steps of each operation: another seed, other steps.

    Right after a confirmation; in an apply; in a reset; and in one of the other operations, or in each of them if it is
    to be `thorough`.
    """
    rng = stream(seed, "conformance", "deaths")
    reset = len(counted) - 1
    others = list(range(APPLY + 1, reset))
    found = [Death(APPLY), *(Death(APPLY, step) for step in counted[APPLY].drawn(DEATHS_OF_APPLY, rng))]
    for number in others if thorough else [int(rng.choice(others))]:
        found += [Death(number, step) for step in counted[number].drawn(DEATHS_OF_APPLY if thorough else 1, rng)]
    most = counted[reset].steps if thorough else DEATHS_OF_RESET
    return [*found, *(Death(reset, step) for step in counted[reset].drawn(most, rng))]


def on_disk(folder: Path) -> int:
    """A checksum of all files in a folder: what would be left if the process ended now."""
    total = 0
    for file in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            if file.is_file():
                total = zlib.crc32(file.read_bytes(), zlib.crc32(str(file).encode(), total))
    return total


class Steps:
    """Counts the steps of a store's own code, and calls `at` with its number before each.

    A step is a call of something that is not of the store: a function of its engine's driver, of another library, of
    the operating system. The return of the operation itself is one too, the last.
    """

    def __init__(self, store: type[Store], at: Callable[[int], None]) -> None:
        modules = {one.__module__ for one in store.__mro__ if issubclass(one, Store)}
        own = {name if name.startswith("lab.") else name.partition(".")[0] for name in modules}
        self._own = tuple(sorted({*own, *_STORES}))
        self.count, self._at = 0, at

    def _of_store(self, frame: FrameType | None) -> bool:
        name = str(frame.f_globals.get("__name__", "")) if frame else ""
        return any(name == own or name.startswith(f"{own}.") for own in self._own)

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            on = getattr(argument, "__self__", None)
            builtin = getattr(on, "__name__", None) == "builtins" or isinstance(on, _PLAIN)
            step = not builtin and self._of_store(frame)
        else:
            step = event == "call" and self._of_store(frame.f_back) and not self._of_store(frame)
        if step:
            self._step()
            sys.setprofile(self._look)

    def _step(self) -> None:
        sys.setprofile(None)
        self._at(self.count)
        self.count += 1

    def of(self, work: Callable[[], None]) -> None:
        """Do the work, counting."""
        sys.setprofile(self._look)
        try:
            work()
        finally:
            sys.setprofile(None)
        self._step()


def die() -> None:
    """End this process as a crash does: nothing is closed, flushed or reported."""
    os.kill(os.getpid(), signal.SIGKILL)


def run_and_die(store: Store, script: Script, death: Death, report: Path) -> None:
    """Do operation after operation on an empty store, and die where it is said.

    A byte is written to `report` for each operation that was confirmed.
    """
    out = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    store.open()
    for number, operation in enumerate(script.operations[: death.operation + 1]):
        work = partial(operation.on, store)
        if number == death.operation and death.step is not None:
            Steps(type(store), lambda step: die() if step == death.step else None).of(work)
        else:
            work()
        os.write(out, b".")
    die()


def count(store: Store, script: Script) -> list[Counted]:
    """Do every operation on an empty store, and count its steps. Leaves the store open."""
    store.open()
    found = []
    for operation in script.operations:
        seen: list[int] = []
        steps = Steps(type(store), lambda _, seen=seen: seen.append(on_disk(store.path)))  # type: ignore[misc]
        steps.of(partial(operation.on, store))
        changed = [number for number in range(1, len(seen)) if seen[number] != seen[number - 1]]
        if not changed and store.capabilities.durability != "memory":
            # What changes is not on this disk: then any step may be the one.
            changed = list(range(1, len(seen)))
        found.append(Counted(steps.count, tuple(changed)))
    return found


def look_after(store: Store, script: Script, death: Death, confirmed: int) -> list[str]:
    """What is wrong with a store, not yet open, whose process died: in one line, or none. Leaves it closed."""
    operation = script.operations[death.operation]
    when = f"killed in {operation.name}" if confirmed <= death.operation else f"killed right after {operation.name}"
    where = f"({store.name}, {when})"
    try:
        found = _found(store, script, death.operation, confirmed)
        if not found and operation.batch is not None:
            found = _going_on(store, script)
        return [f"{found} {where}"] if found else []
    except Exception as error:
        return [f"it can't be used any more: {told(error)} {where}"]
    finally:
        store.close()


def _found(store: Store, script: Script, number: int, confirmed: int) -> str:
    if isinstance(store, Listing):
        store.tell(script.entity, script.frame["key"])
    store.open()
    now, before, after = content(store), script.before(number), script.operations[number].after
    capabilities = store.capabilities
    if now == after or (confirmed <= number and now == before):
        return ""
    if capabilities.atomic != "batch" and confirmed <= number:
        # Only a part of a batch is said to land as a whole.
        return ""
    if capabilities.durability == "interval" and now in [script.empty, *(one.after for one in script.operations)]:
        return ""
    if confirmed > number:
        return f"what was confirmed is not there: {_told(now, after)}"
    if script.operations[number].batch is None:
        return f"half of it was done: {_told(now, after)}"
    if now["checkpoints"] == after["checkpoints"] != before["checkpoints"]:
        return f"the checkpoint is there and its data isn't: {_told(now, after)}"
    part = "data came without its checkpoint" if now["rows"] == after["rows"] else "a part of it is there"
    return f"{part}: {_told(now, before)}"


def _told(now: Content, must: Content) -> str:
    """The first thing that differs."""
    for name in ("checkpoints", "rows", "parked", "memory"):
        if now[name] != must[name]:
            if name == "checkpoints":
                one, other = next(pair for pair in zip(now[name], must[name], strict=True) if pair[0] != pair[1])
                return f"the checkpoint is {one} and must be {other}"
            counts = [sum(map(len, each[name])) for each in (now, must)]
            words = {"rows": "rows", "parked": "parked changes", "memory": "entries of the guard's memory"}[name]
            if counts[0] == counts[1]:
                return f"{words} of another content"
            return f"{counts[0]} {words}, and must be {counts[1]}"
    return "nothing"


def _going_on(store: Store, script: Script) -> str:
    """Go on from the checkpoint as a projector does after a restart."""
    projector = Projector(store, script.policy, script.hold)
    checkpoint = projector.checkpoint(script.entity)
    rest = script.frame.filter(script.frame["position"] > checkpoint)
    if rest.height:
        projector.apply(script.entity, rest, int(rest["position"][-1]))
    projector.retry(script.entity)
    wrong = differences(store, script.entity, script.final, script.layout)
    return f"going on from the checkpoint, {wrong[0]}" if wrong else ""
