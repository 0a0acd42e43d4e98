"""Format changes, states and exceptions for witnesses."""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb

from lab.formatting import first_line, printable
from lab.kit.history import META, Change, Row

HERE = Path(__file__).parent


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
    text = f"revision {change['revision']} of key {change['key']!r}"
    if place:
        return f"{text} (position {change['position']}{', deleted' if change['deleted'] else ''})"
    return text


def state(row: Row) -> str:
    """The columns of a state, in words."""
    names = [name for name in row if name not in META]
    return ", ".join(f"{name} {row[name]!r}" for name in names) or "nothing but the key"
