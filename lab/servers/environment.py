"""Where the environment says that a server is: a variable with its address, or one that names a file with it."""

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
