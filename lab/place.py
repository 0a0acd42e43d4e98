"""Places on disk: a folder for each store and write model, with generations beside it while one is rebuilt.

The first generation lies in the folder itself, `directory`; later ones in `directory.1`, `directory.2`, ... Two hidden
files stand next to them: `.directory.generation` holds the number of the current one, and `.directory.generations` one
line for each generation that the lab made. Only folders that are recorded there are ever removed.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

# The hidden file in a folder that says whose data it holds; see `lab.identity`.
IDENTITY = ".lab-identity.json"

# Opens no symbolic link, where the system can tell.
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True)
class FolderPlace:
    """One generation of the data in `folder`. The namespace is the folder: two places never share a file."""

    folder: Path
    generation: int = 0

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

    def within(self, name: str) -> Self:
        """A place of its own below this one, for another store or write model."""
        return replace(self, folder=self.path / name, generation=0)

    @property
    def current(self) -> Self:
        """The generation that the pointer file names; without such a file, the first."""
        return replace(self, generation=int(self._pointer.read_text()) if self._pointer.exists() else 0)

    def beside(self, generation: int | None = None) -> Self:
        """Record another generation and return its place, emptied of what an interrupted rebuild left there.

        None takes the next number that is free. Raises FileExistsError where a folder lies that the lab didn't make.
        """
        recorded = self._recorded()
        if generation is None:
            generation = max({self.current.generation} | recorded) + 1
            while replace(self, generation=generation).path.exists():
                generation += 1
        place = replace(self, generation=generation)
        if generation not in recorded:
            if place.path.exists():
                raise FileExistsError(f"{place.path}: exists, and was not made by the lab")
            self._write(self._ledger, recorded | {generation})
        place.drop()
        return place

    def swap(self, winner: Self) -> None:
        """Point at `winner` in one step that survives a power cut, then remove the other recorded generations."""
        self.point(winner)
        self.sweep()

    def point(self, winner: Self) -> None:
        """Make `winner` the current generation and remove nothing yet. Raises OSError when the disk is full."""
        self._write(self._ledger, self._recorded() | {self.current.generation, winner.generation})
        self._write(self._pointer, {winner.generation})

    def sweep(self) -> None:
        """Remove the recorded generations that are not current: swapped out, or left by an interrupted rebuild."""
        recorded, current = self._recorded(), self.current.generation
        for generation in recorded - {current}:
            replace(self, generation=generation).drop()
        if recorded - {current}:
            self._write(self._ledger, {current})

    def drop(self) -> None:
        """Remove the folder of this generation with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def size_bytes(self) -> int:
        """The sum of the sizes of all files of this generation but the one that says whose it is."""
        files = (file for file in self.path.rglob("*") if file.name != IDENTITY)
        return sum(file.stat().st_size for file in files if file.is_file())

    @property
    def _pointer(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.generation")

    @property
    def _ledger(self) -> Path:
        return self.folder.with_name(f".{self.folder.name}.generations")

    def _recorded(self) -> set[int]:
        return set(map(int, self._ledger.read_text().split())) if self._ledger.exists() else set()

    def _write(self, file: Path, numbers: set[int]) -> None:
        replace_file(file, "\n".join(map(str, sorted(numbers))))


def replace_file(file: Path, text: str) -> None:
    """Replace a file in one step that survives a power cut; its folder is made if need be.

    A symbolic link in its place is replaced, and one in the place of the partial file is refused: nothing is written
    through either. Raises OSError.
    """
    made = [folder for folder in (file.parent, *file.parents) if not folder.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    opened = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_LINK, 0o666)
    with os.fdopen(opened, "w", encoding="utf-8") as writer:
        writer.write(text)
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
