"""Write a long table of the run folder piece by piece, so that it is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from lab.tables import TABLES


def write_pieces(place: Path, name: str, pieces: Iterable[pl.DataFrame]) -> list[Path]:
    """Write pieces of the table of this name as files into the folder `place`; return the files in order.

    Raises WrongColumns unless each has exactly its columns. `lab.runs.gather_table` makes one table of the files.
    """
    place.mkdir(parents=True, exist_ok=True)
    files = []
    for number, piece in enumerate(pieces):
        files.append(place / f"{number}.parquet")
        TABLES[name].typed(piece).write_parquet(files[-1], compression="zstd")
    return files
