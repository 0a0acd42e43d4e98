"""Where the environment says that a server is: a variable with its address, or one that names a file with it.

And what to do about one that is there and refuses.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab.base import BadInput, Problem
from lab.formatting import first_line
from lab.place import read_file


def said(variable: str, what: str) -> tuple[str, str] | None:
    """What `variable` says, or the first line of the file that `variable`_FILE names, and which of them; else None.

    `what` is what is to be there, in words. Raises BadInput for a file that can't be read or has nothing.
    """
    if text := os.environ.get(variable, "").strip():
        return text, variable
    by_file = f"{variable}_FILE"
    if not (name := os.environ.get(by_file, "").strip()):
        return None
    try:
        found = read_file(Path(name), "strict")
    except (OSError, ValueError) as error:
        raise BadInput([Problem(by_file, f"{name}: can't be read: {first_line(error)}")]) from None
    if found is None or not found.strip():
        reason = f"{name}: there is no such file" if found is None else f"{name}: the file is empty"
        raise BadInput([Problem(by_file, reason, f"write {what} into it")])
    return found.strip().splitlines()[0], by_file


# What servers and drivers say of a port that speaks no TLS; of a server that asks nobody who they are; of a wrong user
# or password; and of a certificate that nobody vouches for.
_PLAIN = (
    "speaks no tls",
    "wrong_version",
    "record_layer",
    "does not support ssl",
    "server doesn't support it",
    "plaintext broker",
)
_OPEN = ("asks for no password", "without any password configured")
_LOGIN = ("password", "access denied", "authorization", "authentication", "access_refused", "login was refused")
_TRUST = ("certificate", "ssl error", "[ssl")


def way_out(reason: str, variable: str, start: str) -> str:
    """What to do about a server that isn't reached: `start` tells how one is started."""
    said_of = reason.lower()
    if any(word in said_of for word in _PLAIN):
        where = f"{variable} or {variable}_FILE must name a port that speaks it, or must not ask for it"
        return f"it answers, and without TLS: {where}"
    if any(word in said_of for word in _OPEN):
        return f"it answers, and lets everybody in: leave user and password out of {variable} or {variable}_FILE"
    if any(word in said_of for word in _TRUST):
        return f"it answers, and TLS fails: {variable} or {variable}_FILE must name the authority of its certificate"
    if any(word in said_of for word in _LOGIN):
        return f"it answers, and refuses who connects: put user and password into {variable} or {variable}_FILE"
    return start
