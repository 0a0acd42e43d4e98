"""The files of a source of truth: that they are there, that they are one's own, and that they stay in their place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lab.base import BadInput, Problem, SourceLost
from lab.identity import Identity
from lab.place import FolderPlace
from lab.truth.timeline import Opening


def present(file: Path, identity: Identity | None) -> None:
    """Check the file before an engine opens it: a missing one would be made anew, and logs beside it be lost.

    Raises SourceLost for a missing file in a folder that had one. Raises BadInput for a file with a second name: the
    logs are named after the first, so a writer through the second would destroy it.
    """
    if not os.path.lexists(file):
        if identity is not None and identity.begun:
            raise SourceLost(f"{file.parent}: the source of truth was here, and {file.name} is gone")
        return
    if file.is_symlink():
        what = "is a symbolic link, and an engine writes its logs beside the one or the other name"
        raise BadInput([Problem(str(file), what, "put the file itself here, or link the whole folder")])
    if file.stat().st_nlink > 1:
        what = "has a second name (a hard link), under which it would change too"
        raise BadInput([Problem(str(file), what, "put a copy in its place: cp it, and mv the copy over it")])


def belonging(openings: Sequence[Opening], identity: Identity | None, place: FolderPlace) -> None:
    """Raise SourceLost if these are not the openings of a file that was made in the folder of this identity."""
    if identity is None or (not openings and not identity.begun):
        return
    if not openings:
        raise SourceLost(f"{place.shown()}: the source of truth was here, and an empty file is in its place")
    if openings[0].id != identity.epoch:
        raise SourceLost(f"{place.shown()}: the file of another source of truth is in the place of this folder's own")


class Watch:
    """Files as they were opened, to see whether they are still in their place. Two or three system calls each time."""

    def __init__(self, *files: Path) -> None:
        self.opened = {file: file.stat() for file in files}

    def lost(self) -> str | None:
        """Return what became of the first file that isn't in its place any more; None if all are."""
        for file, then in self.opened.items():
            try:
                now = file.stat()
            except FileNotFoundError:
                return f"{file.name} was deleted"
            except OSError as error:
                return f"{file.name} can't be reached: {error.strerror}"
            if (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino):
                return f"{file.name} was replaced by another file"
            # A log is emptied by the engine; and DuckDB gives back space at the end of its file.
            if not now.st_size and then.st_size and not file.name.endswith("-wal"):
                return f"{file.name} was emptied"
        return None
