"""Identity of a data folder: what made it, with which settings, and a random id.

A hidden file in the folder says so, and a copy of the folder takes it along. It is written before anything else is
made there: a folder with data but without this file is not the lab's. Stores and write models know nothing of it: it is
claimed where their places are opened.
"""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem
from lab.place import IDENTITY, FolderPlace, read_file, replace_file

FORMAT = 1
# Items of a list that an error shows at most.
SHOWN_MAX = 6
WAY_OUT = "set it back, begin anew with --fresh, or name another --folder"
NOT_OURS = "name another --folder, or restore the whole folder from a backup"

Trait = str | int | tuple[str, ...]


@dataclass(frozen=True)
class Identity:
    """What a folder is. `traits` are compared, in their order; `notes` (versions) are not.

    A trait is named as the user knows it (`truth.model`); a number that is no integer is a text. `epoch` is drawn once,
    so that two folders made alike differ. `begun`: data were made, and an empty folder has lost them.
    """

    what: str
    traits: Mapping[str, Trait]
    notes: Mapping[str, str] = field(default_factory=dict)
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    begun: bool = False

    def differences(self, wanted: Identity) -> list[str]:
        """Say in words how this identity differs from another that was asked for; empty if it doesn't."""
        if self.what != wanted.what:
            return [f"holds {self.what}, and {wanted.what} was asked for"]
        names = dict.fromkeys([*self.traits, *wanted.traits])
        # An empty list is as good as none.
        pairs = [(name, self.traits.get(name, ()), wanted.traits.get(name, ())) for name in names]
        different = [(name, one, other) for name, one, other in pairs if one != other]
        # What only one of the two has often follows from the rest, and is told where nothing else differs.
        both = [pair for pair in different if () not in pair[1:]]
        return [_difference(*pair) for pair in both or different]


def claim(place: FolderPlace, wanted: Identity) -> Identity:
    """Return the identity of a folder that may go on as `wanted`; in a folder without data it is written first.

    Raises BadInput, with one line, for a folder made with other traits, for data of unknown origin, for an identity
    that can't be read, and for data that are gone; OSError when it can't be written.
    """
    found = confirm(place, wanted)
    if found is not None:
        return found
    return _write(place, wanted)


def confirm(place: FolderPlace, wanted: Identity) -> Identity | None:
    """Do what `claim` does, and write nothing: None for a folder without data. Raises BadInput as `claim` does."""
    found = read(place)
    if found is not None:
        agree(place, found, wanted)
    return found


def agree(place: FolderPlace, found: Identity, wanted: Identity) -> None:
    """Raise BadInput, with one line, if what a place was found to be is not what was asked for."""
    if differences := found.differences(wanted):
        raise BadInput([Problem(place.shown(), "; ".join(differences), WAY_OUT)])


def begin(place: FolderPlace, identity: Identity) -> Identity:
    """Record that data were made: from now on the folder without them is refused. Raises OSError."""
    if identity.begun:
        return identity
    return _write(place, replace(identity, begun=True))


def note(place: FolderPlace, identity: Identity, notes: Mapping[str, str]) -> Identity:
    """Add notes to an identity and write it. Raises OSError."""
    return _write(place, replace(identity, notes={**identity.notes, **notes}))


def read(place: FolderPlace) -> Identity | None:
    """Return a folder's identity; None if there is no folder or nothing in it. Raises BadInput as `claim` does."""
    folder, shown = place.path, place.shown()
    try:
        # Looked for before the identity is read: a maker beside this reader writes it before anything else.
        found_first = _others(folder)
        text = read_file(folder / IDENTITY, "strict")
        others = found_first or _others(folder)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput([Problem(shown, f"{IDENTITY} can't be read: {reason}", NOT_OURS)]) from None
    if text is None:
        if found_first:
            what = f"holds {found_first[0]} and no {IDENTITY}: made by an older version of the lab, or not by it"
            raise BadInput([Problem(shown, what, "name another --folder")])
        return None
    found = _parsed(text, shown)
    if found.begun and not others:
        what = f"{found.what} was made here, and its data are gone"
        raise BadInput([Problem(shown, what, "restore them, begin anew with --fresh, or name another --folder")])
    return found


def _others(folder: Path) -> list[str]:
    """The names of what is in a folder besides the identity, in order; none of a folder that isn't there."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.name.removesuffix(".partial") != IDENTITY)
    except FileNotFoundError:
        return []


def _parsed(text: str, shown: str) -> Identity:
    try:
        said: dict[str, Any] = json.loads(text)
        number, digest = said.pop("format"), said.pop("sha256")
        if number == FORMAT and digest != _digest(said):
            raise ValueError("digest")
        if number == FORMAT:
            said["traits"] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in said["traits"].items()
            }
            return Identity(**said)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadInput([Problem(shown, f"{IDENTITY} is damaged", NOT_OURS)]) from None
    what = f"was made by another version of the lab: its {IDENTITY} has format {number!r}, this one knows {FORMAT}"
    raise BadInput([Problem(shown, what, "name another --folder, or install the version that made it")])


def _write(place: FolderPlace, identity: Identity) -> Identity:
    written = replace(identity, notes=_versions() | dict(identity.notes), traits=dict(identity.traits))
    said = asdict(written)
    document = {"format": FORMAT, **said, "sha256": _digest(said)}
    replace_file(place.path / IDENTITY, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return written


def _digest(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _versions() -> dict[str, str]:
    try:
        lab = version("polyglot-lab")
    except PackageNotFoundError:
        lab = "0"
    return {"lab": lab, "python": platform.python_version()}


def _difference(name: str, found: Trait, wanted: Trait) -> str:
    if isinstance(found, tuple) and isinstance(wanted, tuple) and set(found) != set(wanted):
        found, wanted = _without(found, wanted), _without(wanted, found)
    made = "was made without" if found == () else "was made with"
    value = "" if found == () else f" = {_value(found)}"
    return f"{made} {name}{value}, and {_value(wanted)} was asked for"


def _value(value: Trait) -> str:
    if isinstance(value, tuple):
        more = len(value) - SHOWN_MAX
        return (", ".join(value[:SHOWN_MAX]) or "none") + (f" and {more} more" if more > 0 else "")
    return str(value)


def _without(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    known = set(others)
    return tuple(one for one in some if one not in known)
