"""Format changes, states and exceptions for witnesses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb

from lab.formatting import first_line, printable
from lab.kit.history import META, Change, Row

HERE = Path(__file__).parent
# Characters of a value that are shown.
SHOWN_MAX = 60


def told(error: BaseException) -> str:
    """An exception in one line: its type, its text, and where in the projector's own code it came from."""
    frames = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).parent != HERE]
    own = [frame for frame in frames if "site-packages" not in frame.filename and "lib/python" not in frame.filename]
    place = (own or frames)[-1:]
    name, text = type(error).__name__, first_line(error)
    shown = printable(name if text == name else f"{name}: {text}")
    return shown + "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in place)


def describe(change: Change) -> str:
    """A change with its state: what the source of truth says."""
    if change["deleted"]:
        return f"position {change['position']}: {brief(change, False)}, a delete"
    return f"position {change['position']}: {brief(change, False)}, {state(change)}"


def brief(change: Change, place: bool = True) -> str:
    """A change by its name."""
    text = f"revision {change['revision']} of key {shown(change['key'])}"
    if place:
        return f"{text} (position {change['position']}{', deleted' if change['deleted'] else ''})"
    return text


def in_all(changes: Sequence[Change]) -> str:
    """Many changes in a few words."""
    keys = list(dict.fromkeys(change["key"] for change in changes))
    of = f"of key {shown(keys[0])}" if len(keys) == 1 else f"of {len(keys):,} other keys"
    places = [change["position"] for change in changes]
    return f"{len(changes):,} changes {of} (positions {min(places)} to {max(places)})"


def shown(value: object) -> str:
    """A value as Python writes it; of a long text the beginning, and how long it is."""
    if isinstance(value, str) and len(value) > SHOWN_MAX:
        return f"{value[:20]!r}... ({len(value):,} characters)"
    return repr(value)


def state(row: Row) -> str:
    """The columns of a state, in words."""
    names = [name for name in row if name not in META]
    return ", ".join(f"{name} {shown(row[name])}" for name in names) or "nothing but the key"
