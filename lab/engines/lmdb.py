"""Open LMDB so that a truncated file is reported as damaged."""

from __future__ import annotations

import os
from pathlib import Path

import lmdb

# How large the map is at first, in bytes. It is address space: the file is as large as what is in it.
MAP_BYTES = 64 * 2**20


def connect(folder: Path, maps: int, synced: bool) -> lmdb.Environment:
    """Open the environment in a folder, with room for so many maps; `synced`: a commit survives a power cut."""
    # Without a sync the system still has every commit when the process dies; a power cut may take the last.
    environment = lmdb.open(str(folder), map_size=MAP_BYTES, max_dbs=maps, sync=synced, metasync=synced)
    # To read beyond the end of a file that was cut off kills the process; zeros there are refused as damaged.
    file, needed = folder / "data.mdb", (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if file.stat().st_size < needed:
        os.truncate(file, needed)
    return environment
