"""What comes with the lab beside its code: the scenarios, found by their names from any folder."""

from __future__ import annotations

import os
from pathlib import Path


def scenario_folder() -> Path:
    """Return the folder of the shipped scenarios: within the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    # A checkout on a system without symbolic links has a file in the folder's place.
    inside = here / "scenarios"
    return inside if inside.is_dir() else here.parent.parent / "scenarios"


def scenario_files() -> dict[str, Path]:
    """Return the files of the shipped scenarios by name, in order."""
    return {file.stem: file for file in sorted(scenario_folder().glob("*.toml"))}


def scenario_file(named: str | Path) -> Path:
    """Return the file that is meant: a shipped scenario's if it is given by a bare name, and no such file is here."""
    path = Path(named)
    bare = path.suffix == "" and path.name == str(named) and os.sep not in str(named)
    if bare and not path.is_file() and (found := scenario_files().get(str(named))) is not None:
        return found
    return path
