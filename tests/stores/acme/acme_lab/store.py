"""A projection in one pickle, which is written anew with every batch and replaced in one step."""

import pickle

import polars as pl

from lab.ports import Capabilities
from lab.queries.kinds import KINDS
from lab.stores import Store
from lab.stores.parked import parked_frame, with_parked

ANSWERS = frozenset({"get", "get_many"})
GAPS = dict.fromkeys(KINDS.keys() - ANSWERS, "not yet: a toy")


class Pickled(Store):
    name = "acme.pickle"
    answers = ANSWERS
    gaps = GAPS
    holds = ("records",)
    durability = "what the system has not written yet"
    capabilities = Capabilities(durability="interval")
    _tables = None

    @property
    def _file(self):
        return self.path / "projection.pickle"

    def open(self):
        if self._tables is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._tables = pickle.loads(self._file.read_bytes()) if self._file.exists() else self._empty()

    def close(self):
        self._tables = None

    def reset(self):
        self._replace(self._empty())

    def _empty(self):
        kinds = self.layout.entities.items()
        rows = {name: entity.empty() for name, entity in kinds}
        memory = {name: pl.DataFrame(schema=self.layout.memory) for name, _ in kinds}
        parked = {name: parked_frame(entity) for name, entity in kinds}
        return {"rows": rows, "memory": memory, "parked": parked, "at": {}}

    def _replace(self, tables):
        beside = self._file.with_suffix(".next")
        beside.write_bytes(pickle.dumps(tables))
        beside.replace(self._file)
        self._tables = tables

    def checkpoint(self, entity):
        self.open()
        return self._tables["at"].get(entity, 0)

    def apply(self, batch):
        self.bulk(batch.entity, [batch])

    def bulk(self, entity, frames):
        self.open()
        tables = {kind: dict(frames) for kind, frames in self._tables.items()}
        for batch in frames:
            tables["rows"][entity] = self._merged(tables["rows"][entity], batch.rows, "key")
            if batch.memory is not None and self.layout.memory:
                tables["memory"][entity] = self._merged(tables["memory"][entity], batch.memory, "id")
            tables["parked"][entity] = with_parked(tables["parked"][entity], batch)
            if batch.checkpoint is not None:
                tables["at"][entity] = pl.Series([batch.checkpoint], dtype=pl.Int64).item()
        self._replace(tables)

    def _merged(self, there, rows, key):
        new = rows.select(there.columns).cast(dict(there.schema))
        return pl.concat([there, new]).unique(key, keep="last", maintain_order=True)

    def query(self, query, parameters):
        self.refuse(query)
        self.open()
        rows = self._tables["rows"][query.entity.name]
        found = rows.filter(pl.col("key").is_in(list(parameters)) & ~pl.col("deleted"))
        return found.sort("key").select(query.entity.row).rows()

    def pages(self, entity):
        self.open()
        return self.sliced(self._tables["rows"][entity])

    def revisions(self, entity, keys):
        self.open()
        rows = self._among(self._tables["rows"][entity], "key", keys)
        return dict(rows.select("key", "revision").rows())

    def memory(self, entity, keys=None):
        self.open()
        kept = self._tables["memory"][entity]
        return kept if keys is None or not kept.width else self._among(kept, "id", keys)

    def _among(self, rows, key, keys):
        return rows.filter(pl.col(key).is_in(pl.Series(keys, dtype=rows.schema[key]).implode()))

    def parked(self, entity):
        self.open()
        return self._tables["parked"][entity]

    def size_bytes(self):
        return self._file.stat().st_size if self._file.exists() else 0

    def settings(self):
        return {"library": pickle.format_version}
