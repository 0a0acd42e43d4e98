"""LMDB by hand: a value for each key, and a read transaction, which the library renews, for each question."""

from __future__ import annotations

import marshal
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import polars as pl

from benchmarks.bench.by_hand import Answer, Ask

PACK = struct.Struct(">q").pack
# Address space, and more than any history needs: the file is as large as what is in it.
MAP_BYTES = 2**36


class Pairs:
    """A map of records, by keys that are above 0, and one of the checkpoint, which is no record."""

    def __init__(self, folder: Path, rows: pl.DataFrame) -> None:
        self.environment = lmdb.open(str(folder), map_size=MAP_BYTES, max_dbs=2, sync=False, metasync=False)
        self.records, self.checkpoints = map(self.environment.open_db, (b"records", b"checkpoints"))
        self.write(rows.rows(), 0)
        begin, loads, records = self.environment.begin, marshal.loads, self.records

        def get(parameters: tuple[Any, ...]) -> Answer:
            with begin(records) as transaction:
                found = transaction.get(PACK(parameters[0]))
            row = None if found is None else loads(found)
            return [] if row is None or row[3] else [(row[1], row[2], *row[5:])]

        def get_many(parameters: tuple[Any, ...]) -> Answer:
            with begin(records) as transaction, transaction.cursor() as cursor:
                found = cursor.getmulti(map(PACK, sorted(set(parameters))))
            rows = [loads(value) for _, value in found]
            return [(row[1], row[2], *row[5:]) for row in rows if not row[3]]

        self.asks: dict[str, Ask] = {"employee": get, "team_sheet": get_many}

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """One transaction."""
        with self.environment.begin(self.records, write=True) as transaction:
            with transaction.cursor() as cursor:
                cursor.putmulti([(PACK(row[1]), marshal.dumps(row)) for row in rows])
            transaction.put(b"employee", PACK(position), db=self.checkpoints)

    def close(self) -> None:
        """Close the environment."""
        self.environment.close()
