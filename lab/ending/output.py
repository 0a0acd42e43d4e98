"""Write to standard output and standard error, which may be closed, full, or not able to show every character."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TextIO

from lab.formatting import printable

# What stands for the lab's own signs on a terminal that isn't Unicode; other characters are escaped.
_PLAIN = {"✓": "+", "✗": "x", "–": "-", "−": "-", "—": "-", "→": "->", "×": "x", "µ": "u", "…": "...", "\u00a0": " "}
_PLAIN |= {"≤": "<=", "≥": ">=", "·": "-", "’": "'", "‘": "'", "“": '"', "”": '"'}


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    shown = [_PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text]
    return "".join(shown), error.end


codecs.register_error("lab.plain", _plain)


def prepare() -> None:
    """Make the standard streams ready: closed ones lead nowhere, and no character is an error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened gets the number, and what is printed goes into it.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.open(os.devnull, os.O_WRONLY), "w"), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="lab.plain")


def say(text: str, err: bool = False, end: str = "\n") -> None:
    """Print text with its control characters escaped, except line ends. Does nothing if the reader has closed the pipe.

    Raises OSError when a stream can't be written for another reason: a full disk behind a redirection.
    """
    send("\n".join(map(printable, text.split("\n"))) + end, err)


def send(text: str, err: bool = False) -> None:
    """Print text that needs no escaping, styled text for instance. Does nothing if the reader has closed the pipe."""
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        give_up(stream)
    except ValueError:
        # Closed by code of the user's own.
        if not getattr(stream, "closed", False):
            raise


def give_up(stream: TextIO) -> None:
    """Lead a stream nowhere after its reader has gone, so that the interpreter's last flush doesn't fail."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
