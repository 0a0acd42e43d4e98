"""The folder of a service as a whole: what made it, whether it may go on, and how it is begun anew.

Only what an identity or a ledger records as the lab's is removed; whatever lies beside or inside it stays.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from lab import identity
from lab.base import TRUTH, BadInput, LabError, MissingDriver, Problem
from lab.identity import Identity
from lab.place import IDENTITY, FolderPlace
from lab.running.spans import SPANS_SUFFIX
from lab.running.worklog import WORK_SUFFIX
from lab.scenario import NAME
from lab.service.locking import KILLED_SECONDS, owned
from lab.service.mending import POSITION, REACHED, differences
from lab.truth import ENGINES, truth_class
from lab.wiring import Plan
from lab.wiring.traits import FILES, PROJECTION, PROJECTIONS, projection_identity, service_identity

# Among a service's notes: that its source of truth was begun, and that its parts keep journals.
SOURCE, JOURNALS = "source of truth", "journals"
# A generation, or what was set aside, of a part.
PART = re.compile(rf"({NAME.strip('^$')})([.][0-9]+|[.]aside-[0-9]+)?")


def confirm(plan: Plan, folder: Path, journal: bool) -> None:
    """Raise BadInput with every difference between what a folder was made with and what it is to go on as.

    Damaged folders are reported by the part that owns them; the service's own is refused here.
    """
    home, problems = FolderPlace(folder), list[Problem]()
    service = _read(home)
    if service is not None:
        problems += differences(home, service, service_identity(plan))
    for item in plan.projections:
        place = home.within(item.name).current
        if not place.strange and (found := _found(place)) is not None:
            problems += differences(place, found, projection_identity(plan, item))
    notes = {} if service is None else service.notes
    truth = home.within(TRUTH)
    if SOURCE in notes and not truth.path.is_dir():
        problems.append(gone(truth))
    if journal and JOURNALS not in notes:
        problems += [
            Problem(str(file), "exists, and was not made by the lab", "move it away, or name another --folder")
            for file in _journals(folder, [TRUTH, *(item.name for item in plan.projections)])
        ]
    if problems:
        raise BadInput(problems)


def gone(truth: FolderPlace) -> Problem:
    """The problem of a source of truth that isn't there any more, where projections of it are or readers knew it."""
    way_out = "restore it from a backup, begin anew with --fresh, or name another --folder"
    return Problem(truth.shown(), "the source of truth that was served here is gone", way_out)


def enrol(plan: Plan, folder: Path, journal: bool) -> None:
    """Record what serves in a folder, and which projections it has had.

    Raises OSError, and BadInput for an identity that can't be read: it is not written over.
    """
    home = FolderPlace(folder)
    service = _read(home) or service_identity(plan)
    names = dict.fromkeys([*service.notes.get(PROJECTIONS, "").split(), *(item.name for item in plan.projections)])
    notes = {PROJECTIONS: " ".join(names)}
    if _found(home.within(TRUTH)) is not None:
        notes[SOURCE] = "begun"
    if journal:
        notes[JOURNALS] = "kept"
    if any(service.notes.get(name) != value for name, value in notes.items()):
        identity.note(home, service, notes)


def erase(plan: Plan, folder: Path) -> None:
    """Remove what the lab made in a folder. Raises BadInput while a part of a service is at work there."""
    home = FolderPlace(folder)
    if not folder.is_dir():
        return
    service = _found(home)
    notes = {} if service is None else service.notes
    names = {TRUTH, *notes.get(PROJECTIONS, "").split()}
    for entry in folder.iterdir():
        known = PART.fullmatch(entry.name)
        if known and entry.is_dir() and not entry.is_symlink() and (entry / IDENTITY).is_file():
            names.add(known[1])
    files = {item.name: projection_identity(plan, item).notes[FILES] for item in plan.projections}
    with contextlib.ExitStack() as held:
        for name in sorted(names):
            held.enter_context(owned(folder, name, KILLED_SECONDS))
        # The source of truth goes last: as long as it is there, projections can be built anew.
        for name in sorted(names - {TRUTH}):
            _erase_projection(home, name, files.get(name, ""))
        truth = home.within(TRUTH, _files_of_truth(home.within(TRUTH)))
        if not truth.strange:
            truth.drop()
        if JOURNALS in notes:
            for file in _journals(folder, names):
                file.unlink()
        for name in names:
            _remove_small(folder / f".{name}.lock", 0)
            _remove_small(folder / f".{name}{REACHED}", POSITION.size)
    for end in ("", ".partial"):
        (folder / f"{IDENTITY}{end}").unlink(missing_ok=True)


def _erase_projection(home: FolderPlace, name: str, files: str) -> None:
    """Remove what is recorded of a projection; which files are its own is noted in each of its folders."""
    there = [home.path / name, *home.path.glob(f"{name}.*")]
    found = [_found(FolderPlace(path)) for path in there if PART.fullmatch(path.name)]
    noted = [one.notes[FILES] for one in found if one is not None and one.what == PROJECTION and FILES in one.notes]
    patterns = {pattern for one in noted or [files] for pattern in one.split()}
    if patterns:
        home.within(name, tuple(sorted(patterns))).erase()


def _found(place: FolderPlace) -> Identity | None:
    """The identity of a folder, whatever else is in it; None where there is none or it can't be read."""
    with contextlib.suppress(BadInput, OSError):
        return _read(place)
    return None


def _read(place: FolderPlace) -> Identity | None:
    """The identity of a folder; None where there is none. Raises BadInput where it can't be read."""
    return identity.read(place) if os.path.lexists(place.path / IDENTITY) else None


def _files_of_truth(place: FolderPlace) -> tuple[str, ...]:
    """The patterns of the files of the engine that made a source of truth; of all engines if that can't be told."""
    found = _found(place)
    traits = {} if found is None else found.traits
    with contextlib.suppress(LabError, KeyError):
        return truth_class(str(traits["truth.engine"]), str(traits["truth.model"])).files
    patterns: list[str] = []
    for engine in ENGINES:
        # What an engine made whose driver is missing can't be told.
        with contextlib.suppress(MissingDriver):
            patterns += truth_class(engine, "history").files
    return tuple(patterns)


def _journals(folder: Path, names: Iterable[str]) -> list[Path]:
    ends = (".journal", WORK_SUFFIX, SPANS_SUFFIX)
    return [file for name in names for end in ends if (file := folder / f"{name}{end}").is_file()]


def _remove_small(file: Path, size_bytes: int) -> None:
    """Remove a file that has the size of the lab's own of this name."""
    with contextlib.suppress(OSError):
        if not file.is_symlink() and file.stat().st_size == size_bytes:
            file.unlink()
