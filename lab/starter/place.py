"""Write a new scenario file: never over an existing one, and only if it is valid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lab.base import BadInput, Problem
from lab.scenario import NAME, Source
from lab.wiring import plan


def free_path(folder: Path, name: str, overrides: Sequence[str]) -> Path:
    """Return the path of `name`.toml in the folder. Raises BadInput if it exists, or if the name is not valid."""
    path = folder / f"{name}.toml"
    if overrides:
        raise BadInput(
            [Problem("--set", "there is no scenario yet to set it in", "edit the file that `lab new` writes")]
        )
    if not re.fullmatch(NAME, name):
        what = "not a scenario's name: a letter, then letters, digits, - and _"
        raise BadInput([Problem(f"NAME {name!r}", what, "for example `lab new mine`")])
    if path.exists() or path.is_symlink():
        raise BadInput([Problem(str(path.name), "is there already", "choose another name, or move it away")])
    return path


def write_valid(path: Path, text: str) -> None:
    """Write a new scenario file. Raises BadInput, and writes nothing, if the scenario is not valid."""
    plan(Source.of_text(text, path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadInput([Problem(path.name, "is there already", "choose another name, or move it away")]) from None
    except BaseException:
        # A full disk, or a Ctrl-C: not half a scenario.
        path.unlink(missing_ok=True)
        raise
