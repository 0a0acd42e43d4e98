"""Shared by the shapes in LMDB: one environment with a map for each entity, in transactions that can start again."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import lmdb

from lab.base import CannotTake
from lab.engines import lmdb as engine
from lab.ports import Capabilities
from lab.stores.prepared import PreparedQueries

CHECKPOINTS, TOTALS, MEMORY, PARKED = b"lab_checkpoint", b"totals", "lab_memory_", "lab_parked_"


class LmdbFile(PreparedQueries):
    """A projection in one LMDB environment; readers see the last commit."""

    durability = "full or normal; data and checkpoint in one transaction"
    capabilities = Capabilities(concurrent_readers=True)
    files = ("data.mdb", "lock.mdb")

    _environment: lmdb.Environment | None = None

    def open(self) -> None:
        """Open the environment; maps are made where they are missing. A commit is synced in class `full` only."""
        if self._environment is None:
            self.path.mkdir(parents=True, exist_ok=True)
            full = self.layout.durability == "full"
            entities = self.layout.entities
            beside = [(prefix + name).encode() for name in entities for prefix in (MEMORY, PARKED)]
            names = [CHECKPOINTS, TOTALS, *map(_map_name, entities), *beside, *self._further_maps()]
            self._environment = engine.connect(self.path, len(names), full)
            self._maps = {name: self._environment.open_db(name) for name in names}
            self._of = {name: self._maps[TOTALS if self.layout.totals else _map_name(name)] for name in entities}

    def _further_maps(self) -> list[bytes]:
        """The names of maps beside those that every shape has."""
        return []

    def close(self) -> None:
        """Sync, and close the file."""
        super().close()
        if self._environment is not None:
            self._environment.sync(True)
            self._environment.close()
            self._environment = None

    def _opened(self) -> lmdb.Environment:
        if self._environment is None:
            self.open()
        assert self._environment is not None
        return self._environment

    def reset(self) -> None:
        """Empty every map."""

        def empty(transaction: lmdb.Transaction) -> None:
            for database in self._maps.values():
                transaction.drop(database, delete=False)

        self._commit(empty)

    def _commit(self, work: Callable[[lmdb.Transaction], None]) -> None:
        """Do the work in one transaction; when the map is too small, in a larger one, from the start."""
        environment = self._opened()
        while True:
            try:
                with environment.begin(write=True) as transaction:
                    work(transaction)
                return
            except lmdb.MapFullError:
                environment.set_mapsize(2 * environment.info()["map_size"])
            except lmdb.BadValsizeError:
                raise CannotTake(f"{self.name}: a key of more than {environment.max_key_size()} bytes") from None

    def checkpoint(self, entity: str) -> int:
        """Return the position in the map of checkpoints."""
        with self._opened().begin() as transaction:
            found = transaction.get(entity.encode(), db=self._maps[CHECKPOINTS])
        return int(struct.unpack(">q", found)[0]) if found else 0

    def size_bytes(self) -> int:
        """The pages that are in use; the file itself may be larger, and grows by leaps."""
        environment = self._opened()
        return int((environment.info()["last_pgno"] + 1) * environment.stat()["psize"])

    def settings(self) -> dict[str, Any]:
        """The library, and the environment's flags as it has them."""
        environment = self._opened()
        durable = "full" if all(environment.flags().get(one) for one in ("sync", "metasync")) else "normal"
        library = ".".join(map(str, lmdb.version()))
        return {"library": library, "map_size": environment.info()["map_size"], "durability": durable}


def _map_name(entity: str) -> bytes:
    return b"of_" + entity.encode()
