"""Places on disk: a folder for each store and write model, with generations beside it while one is rebuilt.

The first generation lies in the folder itself, `directory`; later ones in `directory.1`, `directory.2`, ... Two hidden
files stand next to them: `.directory.generation` holds the number of the current one, and `.directory.generations` one
line for each generation that the lab made, and for each that was set aside as damaged, `directory.aside-1`. Only what
is recorded there is ever removed, and of a folder's contents only what the place's `files` name.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

# The hidden file in a folder that says whose data it holds; see `lab.identity`. Others of the lab's begin alike.
IDENTITY = ".lab-identity.json"
HIDDEN = ".lab-*"
NUMBER = re.compile("[0-9]{1,9}")
# A longer file is none of those that the lab keeps about a place.
BYTES_MAX = 4 * 2**20

# Opens no symbolic link, and waits for no pipe, where the system can tell.
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True)
class FolderPlace:
    """One generation of the data in `folder`. The namespace is the folder: two places never share a file.

    `files` are patterns of the names that a store makes there; what is called otherwise is not the lab's.
    """

    folder: Path
    generation: int = 0
    files: tuple[str, ...] = ("*",)

    @property
    def namespace(self) -> str:
        """The name of the folder, the same for all generations."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The folder of this generation; it need not exist."""
        return self.folder.with_name(f"{self.folder.name}.{self.generation}") if self.generation else self.folder

    def shown(self) -> str:
        """The path: a folder has no credentials to hide."""
        return str(self.path)

    def within(self, name: str, files: tuple[str, ...] = ("*",)) -> Self:
        """A place of its own below this one, for another store or write model."""
        return replace(self, folder=self.path / name, generation=0, files=files)

    @property
    def current(self) -> Self:
        """The generation that the pointer file names; without such a file, the first.

        If the file can't be understood, the last generation that was recorded and is there: a generation is complete up
        to its own checkpoint.
        """
        said = read_file(self._pointer)
        if said is None:
            return replace(self, generation=0)
        if NUMBER.fullmatch(said.strip()):
            return replace(self, generation=int(said))
        there = [number for number in self._recorded() if replace(self, generation=number).path.is_dir()]
        return replace(self, generation=max(there, default=0))

    def beside(self, generation: int | None = None) -> Self:
        """Record another generation and return its place, emptied of what an interrupted rebuild left there.

        None takes the next number that is free. Raises FileExistsError where a folder lies that the lab didn't make.
        """
        recorded = self._recorded()
        if generation is None:
            generation = max({self.current.generation} | recorded) + 1
            while os.path.lexists(replace(self, generation=generation).path):
                generation += 1
        place = replace(self, generation=generation)
        if generation not in recorded:
            if os.path.lexists(place.path):
                raise FileExistsError(errno.EEXIST, "exists, and was not made by the lab", str(place.path))
            self._record(recorded | {generation}, self.set_aside)
        place.drop()
        return place

    def swap(self, winner: Self) -> None:
        """Point at `winner`, then remove the other recorded generations. Raises OSError as `point` does."""
        self.point(winner)
        self.sweep()

    def point(self, winner: Self) -> None:
        """Make `winner` the current generation, in one step that survives a power cut, and remove nothing yet.

        Raises OSError when the disk is full.
        """
        self._record(self._recorded() | {self.current.generation, winner.generation}, self.set_aside)
        replace_file(self._pointer, str(winner.generation))

    def sweep(self) -> None:
        """Remove the recorded generations that are not current: swapped out, or left by an interrupted rebuild."""
        recorded, current = self._recorded(), self.current.generation
        for generation in recorded - {current}:
            place = replace(self, generation=generation)
            # A folder that another one made there since is no generation.
            if not place.strange:
                place.drop()
        if recorded - {current}:
            self._record({current}, self.set_aside)

    def drop(self) -> None:
        """Remove what the lab made in the folder of this generation; the folder too, if nothing else is in it.

        With the default `files`, ("*",), which a foreign store has, everything in the folder is removed.
        """
        if self.files == ("*",):
            shutil.rmtree(self.path, ignore_errors=True)
            return
        # A link in the folder's place is not followed.
        with suppress(OSError):
            if self.path.is_symlink():
                return
            # What says whose the folder is goes last: until then an interrupted removal can be repeated.
            for entry in sorted(os.scandir(self.path), key=lambda entry: fnmatchcase(entry.name, HIDDEN)):
                if self.owns(entry.name):
                    _remove(Path(entry.path))
            self.path.rmdir()

    def owns(self, name: str) -> bool:
        """Return whether a file or folder of this name, in a folder of this place, is one that the lab makes there."""
        return any(fnmatchcase(name, pattern) for pattern in (*self.files, HIDDEN))

    @property
    def strange(self) -> bool:
        """Whether something is in this generation's place that the lab didn't make: a file, a link, or a folder in use
        that doesn't say whose it is."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(found.st_mode):
            return True
        names = {entry.name for entry in os.scandir(self.path)}
        return bool(names) and IDENTITY not in names and not all(fnmatchcase(name, HIDDEN) for name in names)

    @property
    def set_aside(self) -> Mapping[str, str]:
        """The names of the folders that were set aside, and the reason of each; one that has been moved is left out."""
        lines = (line.partition(" ") for line in self._lines() if not NUMBER.fullmatch(line))
        return {name: why for name, _, why in lines if self.folder.with_name(name).is_dir()}

    def put_aside(self, reason: str) -> str:
        """Rename this generation's folder, so that it is kept and never opened again; returns its new name.

        Raises OSError. What is recorded and was not renamed, since the process died, is renamed by the next one.
        """
        number = 1
        while os.path.lexists(self.folder.with_name(f"{self.namespace}.aside-{number}")):
            number += 1
        name = f"{self.namespace}.aside-{number}"
        self._record(self._recorded(), {**self.set_aside, name: " ".join(reason.split())})
        self.path.rename(self.folder.with_name(name))
        return name

    def erase(self) -> None:
        """Remove every generation, current or not, everything that was set aside, and what is recorded of them."""
        for generation in self._recorded() | {self.current.generation, 0}:
            place = replace(self, generation=generation)
            if not place.strange:
                place.drop()
        for name in self.set_aside:
            place = replace(self, folder=self.folder.with_name(name), generation=0)
            if not place.strange:
                place.drop()
        for file in (self._pointer, self._ledger):
            for one in (file, file.with_name(f"{file.name}.partial")):
                one.unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """The sum of the sizes of all files of this generation but those that say whose it is."""
        files = (file for file in self.path.rglob("*") if not fnmatchcase(file.name, HIDDEN))
        return sum(file.stat().st_size for file in files if file.is_file())

    def within_reach(self) -> bool:
        """Return whether every file of this generation can be opened for reading and writing, now and by this user."""
        try:
            for file in self.path.rglob("*"):
                if not file.is_dir():
                    os.close(os.open(file, os.O_RDWR | NO_LINK | NO_WAIT))
        except OSError:
            return False
        return True

    @property
    def _pointer(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.generation")

    @property
    def _ledger(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.generations")

    def _lines(self) -> list[str]:
        """The ledger's lines, as far as the lab can have written them."""
        own = re.compile(rf"{NUMBER.pattern}|{re.escape(self.namespace)}\.aside-{NUMBER.pattern}( .*)?")
        return [line for line in (read_file(self._ledger) or "").splitlines() if own.fullmatch(line)]

    def _recorded(self) -> set[int]:
        return {int(line) for line in self._lines() if NUMBER.fullmatch(line)}

    def _record(self, generations: Iterable[int], aside: Mapping[str, str]) -> None:
        lines = [*map(str, sorted(generations)), *(f"{name} {why}" for name, why in aside.items())]
        replace_file(self._ledger, "\n".join(lines))


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; what can't be removed stays."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def read_file(file: Path, errors: str = "replace") -> str | None:
    """Return a small file's text; None if there is no such file. No link is followed and no pipe waited for.

    `errors` says what becomes of bytes that are no UTF-8, as for `bytes.decode`. Raises OSError.
    """
    try:
        opened = os.open(file, os.O_RDONLY | NO_LINK | NO_WAIT)
    except FileNotFoundError:
        return None
    with os.fdopen(opened, "rb") as reader:
        found = os.fstat(reader.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > BYTES_MAX:
            raise OSError(errno.EINVAL, "it is no file that the lab wrote", str(file))
        return reader.read().decode(errors=errors)


def replace_file(file: Path, content: str | bytes) -> None:
    """Replace a file in one step that survives a power cut; its folder is made if need be.

    A symbolic link in its place is replaced, and one in the place of the partial file is refused: nothing is written
    through either. Raises OSError.
    """
    made = [folder for folder in (file.parent, *file.parents) if not folder.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_LINK, 0o666)
    with os.fdopen(opened, "wb") as writer:
        writer.write(content.encode() if isinstance(content, str) else content)
        writer.flush()
        os.fsync(writer.fileno())
    partial.replace(file)
    for folder in dict.fromkeys([file.parent, *(folder.parent for folder in made)]):
        _sync(folder)


def _sync(folder: Path) -> None:
    if os.name == "nt":  # A folder can't be opened there, and its entries are journalled.
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
