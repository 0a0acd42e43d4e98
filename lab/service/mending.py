"""A projection's folder in a service: claimed, opened, and set aside when it can't be gone on with.

A projection is disposable: what is damaged, or was read from another history than that of the source of truth, is kept
under another name and never opened again, and the projection is built anew from the source of truth.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lab import identity
from lab.base import BadInput, Damaged, Problem
from lab.feed.source import TruthReader
from lab.formatting import one_line, printable
from lab.identity import WAY_OUT
from lab.place import IDENTITY, NO_LINK, FolderPlace, read_file, replace_file
from lab.projection.projector import Projector
from lab.running.live import reading
from lab.running.notes import renewed
from lab.stores import Store, store_class
from lab.truth import follows
from lab.truth.timeline import Diverged
from lab.wiring import Plan, ProjectionPlan
from lab.wiring.traits import projection_identity

# The hidden file beside a projection's data that says of which history they are.
ORIGIN_FILE = ".lab-source.json"
# How the name of the file ends that has the highest position that was ever to be written.
REACHED = ".reached"
POSITION = struct.Struct("<q")


@dataclass(frozen=True)
class Origin:
    """Which history a projection's data are of, by the last opening of its source; whether a checkpoint was written."""

    history: str | None = None
    begun: bool = False


class Reached:
    """The highest position of all that was ever to be written into a projection: eight bytes in a map of memory.

    Messages run ahead of the checkpoint, so it alone doesn't tell. Noted before the write; it outlives the process.
    """

    def __init__(self, file: Path) -> None:
        opened = os.open(file, os.O_RDWR | os.O_CREAT | NO_LINK, 0o600)
        try:
            if (size := os.fstat(opened).st_size) not in (0, POSITION.size):
                raise OSError(f"{file.name} exists, and was not made by the lab")
            if not size:
                # Written: what a map has without room on its disk ends the process.
                os.pwrite(opened, POSITION.pack(0), 0)
            self._map = mmap.mmap(opened, POSITION.size)
        finally:
            os.close(opened)
        self.position = int(POSITION.unpack(self._map[:])[0]) if size else 0

    def note(self, position: int) -> None:
        """Remember a position, if it is the highest."""
        if position > self.position:
            self.position = position
            POSITION.pack_into(self._map, 0, position)

    def close(self) -> None:
        """Give the file up."""
        self._map.close()


class Lineage:
    """What ties an open projection to its source of truth: the opening under which it reads, and how far it came."""

    def __init__(self, home: ProjectionHome) -> None:
        self._home = home
        self.origin = home.origin(home.place.current)
        self.reached = home.reached()

    def confirm(self, source: TruthReader, newest: int) -> bool:
        """Compare the source with what was noted, and note a new opening of it before more of it is written.

        `newest` is the highest position that the projection was handed. Returns whether the source has been opened
        anew. Raises Diverged, and Unavailable.
        """
        with reading():
            openings, reached = source.timeline(), max(self.reached.position, newest)
            head = max(source.head(name) for name in source.domain.entities)
        last = openings[-1].id if openings else None
        there = self.origin.history is None or follows(openings, self.origin.history, reached, head)
        if not there or reached > head:
            what = "its source of truth is not the one that it was read from: another one, or an older state, is there"
            raise Diverged(f"{what} (it has come to position {reached}, the source to {head})")
        if last == self.origin.history:
            return False
        self._note(replace(self.origin, history=last))
        return True

    def begin(self) -> None:
        """Note that a checkpoint was written: from now on an empty projection has lost its content."""
        if not self.origin.begun:
            self._note(replace(self.origin, begun=True))

    def _note(self, origin: Origin) -> None:
        self._home.record(self._home.place.current, origin)
        self.origin = origin


class ProjectionHome:
    """The folder of one projection within a service's; `tell` gets what is done about it, in a sentence.

    In the file `journal`, if there is one, it is noted that a projection was set aside.
    """

    def __init__(
        self, plan: Plan, item: ProjectionPlan, folder: Path, tell: Callable[[str], None], journal: Path | None = None
    ) -> None:
        self.plan, self.item, self.folder, self.tell, self._journal = plan, item, folder, tell, journal
        kind = store_class(item.table.store)
        self.place = kind.placed(FolderPlace(folder).within(item.name, kind.files))

    @property
    def rebuildable(self) -> bool:
        """Whether it can be read again from the source of truth: messages that have gone by don't come again."""
        return self.item.table.subscribe != "channel"

    def open(self, renew: str = "") -> Projector:
        """Open the projection where it was left; what can't be gone on with is set aside, and an empty one is opened.

        `renew` is a reason to begin with an empty one at once. Raises BadInput for a folder made by other settings.
        Raises OSError for errors of the machine (full disk, rights); a later try may succeed.
        """
        self.place.sweep()
        if renew:
            self.set_aside(renew)
        place = self._own()
        try:
            return self._opened(place)
        except _Unfit as error:
            self.set_aside(str(error))
        return self._opened(self._own())

    def set_aside(self, reason: str) -> None:
        """Rename the current generation, if an empty one can be opened beside: else the machine is to blame."""
        if not self.place.current.path.is_dir():
            return
        trial = self.place.beside()
        try:
            store = self.claimed(trial)
            store.open()
            store.close()
        finally:
            trial.drop()
        reason = reason.replace(f"{self.place.folder.parent}/", "")
        name = self.place.current.put_aside(reason)
        self._reached.unlink(missing_ok=True)
        if self._journal is not None:
            renewed(self._journal)
        anew = "it is built anew" if self.rebuildable else "messages alone feed it, so it has what comes from now on"
        self.tell(f"{reason}: set aside as {name}, and {anew}")

    def claimed(self, place: FolderPlace) -> Store:
        """Claim a generation's folder; its store, not yet open. Raises BadInput where it was made by other settings."""
        wanted = projection_identity(self.plan, self.item)
        # An error of the machine is told as such, and not as an identity that is damaged.
        read_file(place.path / IDENTITY)
        try:
            found = identity.read(place)
        except BadInput as error:
            raise _Unfit(error.problems[0].what) from None
        if found is None:
            identity.claim(place, wanted)
        elif problems := differences(place, found, wanted):
            raise BadInput(problems)
        if links := [entry.name for entry in os.scandir(place.path) if entry.is_symlink() and place.owns(entry.name)]:
            raise _Unfit(f"{links[0]} is a symbolic link, which is not followed")
        return self.item.store(place)

    def point(self, winner: FolderPlace) -> None:
        """Make another generation the current one: it was read from the same history. Raises OSError."""
        self.record(winner, self.origin(self.place.current))
        self.place.point(winner)

    def origin(self, place: FolderPlace) -> Origin:
        """Return what is recorded of a generation; damaged records are as good as none."""
        try:
            return Origin(**json.loads(read_file(place.path / ORIGIN_FILE) or "{}"))
        except (ValueError, TypeError):
            return Origin()

    def reached(self) -> Reached:
        """The highest position of all generations since the last one was set aside. Raises OSError."""
        return Reached(self._reached)

    @property
    def _reached(self) -> Path:
        return self.place.folder.with_name(f".{self.place.namespace}{REACHED}")

    def record(self, place: FolderPlace, origin: Origin) -> None:
        """Write down of which history a generation's data are. Raises OSError."""
        replace_file(place.path / ORIGIN_FILE, json.dumps({"history": origin.history, "begun": origin.begun}))

    def _own(self) -> FolderPlace:
        """The current generation; the next free one where something lies that the lab didn't make."""
        place = self.place.current
        if place.strange:
            place = self.place.beside()
            self.place.point(place)
        return place

    def _opened(self, place: FolderPlace) -> Projector:
        store = self.claimed(place)
        try:
            projector = Projector(store, self.item.table.guard, self.item.table.hold)
            checkpoints = [store.checkpoint(name) for name in store.layout.entities]
            if self.rebuildable and self.origin(place).begun and not any(checkpoints):
                raise Damaged("its content is gone")
        except BaseException as error:
            if not store.damaged(error):
                raise
            store.close()
            raise _Unfit(reason_of(error)) from None
        return projector


class _Unfit(Exception):
    """A generation that can't be gone on with, and why."""


def differences(place: FolderPlace, found: identity.Identity, wanted: identity.Identity) -> list[Problem]:
    """One problem for each difference of a folder from what it is to go on as."""
    return [Problem(place.shown(), one, WAY_OUT) for one in found.differences(wanted)]


def reason_of(error: BaseException) -> str:
    """Return why a part has ended or can't be gone on with, in one line."""
    return printable(" ".join(str(error).split())) if isinstance(error, Damaged) else one_line(error)
