"""`ladybug.graph`: records as nodes, with a link from each live record to its parent; queried in Cypher.

A link needs both of its ends. If the parent hasn't arrived yet, a stub (a node without a revision, invisible to
readers) stands in for it and is replaced by the record. Large batches are merged straight from Arrow, which is ten
times as fast as row by row; small ones row by row, by the primary key, since a merge from Arrow reads the whole table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import polars as pl

from lab.base import Batch, CannotTake, Entity, Key
from lab.queries.model import Query
from lab.stores import cypher
from lab.stores.cypher import quoted
from lab.stores.ladybug_file import FEW_ROWS, LadybugFile
from lab.stores.parked import changed, decoded
from lab.stores.prepared import Answering
from lab.stores.slices import tuples

CHECKPOINTS = "lab_checkpoint"
CHECKPOINT: Mapping[str, pl.DataType] = {"entity": pl.String(), "position": pl.Int64()}
PARKED: Mapping[str, pl.DataType] = {"position": pl.Int64(), "change": pl.Binary()}


class LadybugGraph(LadybugFile):
    """A node table for each entity, and one of links."""

    name = "ladybug.graph"
    answers = frozenset({"get", "get_many", "filter", "aggregate", "traverse"})
    gaps = MappingProxyType(
        {
            "join": "not yet: records of one entity are linked, those of two are not",
            "search": "never: words have an index of their own; see sqlite.search",
            "sql": "never: it speaks Cypher",
        }
        | dict.fromkeys(("as_of", "history"), "never: a graph is of what is now")
    )
    holds = ("records",)
    files = ("projection.lbug", "projection.lbug.*")

    def _make_tables(self) -> None:
        self._make_table(CHECKPOINTS, CHECKPOINT, "entity")
        for entity in self.layout.entities.values():
            self._make_table(entity.name, entity.schema, "key")
            if self.layout.memory:
                self._make_table(_table("memory", entity.name), self.layout.memory, "id")
            self._make_table(_table("parked", entity.name), PARKED, "position")
            if entity.parent:
                ends = f"FROM {quoted(entity.name)} TO {quoted(entity.name)}"
                self._rows(f"CREATE REL TABLE IF NOT EXISTS {cypher.links(entity.name)} ({ends})")

    def reset(self) -> None:
        """Drop the tables, the links first, and make them anew, in one transaction."""
        with self._transaction():
            tables = self._rows("CALL show_tables() RETURN name, type")
            for name, kind in sorted(tables, key=lambda row: row[1] != "REL"):
                assert kind in ("REL", "NODE")
                self._rows(f"DROP TABLE {quoted(name)}")
            self._make_tables()

    def checkpoint(self, entity: str) -> int:
        """Return the position that is stored with the data."""
        found = self._rows(f"MATCH (c:{CHECKPOINTS} {{entity: $entity}}) RETURN c.position", {"entity": entity})
        return int(found[0][0]) if found else 0

    def apply(self, batch: Batch) -> None:
        """Write nodes, links, the guard's memory and the checkpoint in one transaction."""
        try:
            with self._transaction():
                self._put(batch)
                self._note(batch)
            self._free_versions(batch.rows.height)
        except RuntimeError as error:
            if "Maximum length of strings" in str(error):
                raise CannotTake(f"{self.name}: {error}") from None
            raise

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Nodes are copied as they come, then the links, and last the guard's memory and the checkpoint.

        Three transactions, each of them settled in the file before the next: of what is copied the engine's log says
        nothing that could be read again after a kill. One that comes in between leaves records of position 0, which
        the next changes replace; an error leaves nothing.
        """
        found = self.layout.entities[entity]
        self.open()
        self._end_reading()
        self._remake(found)
        links, keys, notes = [], [], []
        try:
            for batch in frames:
                if batch.rows.height:
                    rows = batch.rows.select(list(found.schema))
                    self._load(f"COPY {quoted(entity)} FROM $incoming", rows)
                    links.append(_links(rows, found))
                    keys.append(rows["key"])
                notes.append(Batch(entity, batch.rows.clear(), batch.checkpoint, batch.memory))
            self._rows("CHECKPOINT")
            if links and found.parent:
                self._copy_links(found, pl.concat(links), pl.concat(keys))
                self._rows("CHECKPOINT")
            with self._transaction():
                for batch in notes:
                    self._note(batch)
        except BaseException:
            self._remake(found)
            raise

    def _remake(self, entity: Entity) -> None:
        """Throw away what there is of an entity."""
        if not self._rows(f"MATCH (n:{quoted(entity.name)}) RETURN n.key LIMIT 1"):
            return
        links = [cypher.links(entity.name)] if entity.parent else []
        memory = [quoted(_table("memory", entity.name))] if self.layout.memory else []
        for table in [*links, quoted(entity.name), *memory]:
            self._rows(f"DROP TABLE {table}")
        self._make_tables()

    def _put(self, batch: Batch) -> None:
        if not batch.rows.height:
            return
        entity = self.layout.entities[batch.entity]
        if batch.rows.height <= FEW_ROWS:
            self._put_few(entity, batch.rows)
            return
        rows = batch.rows.select(list(entity.schema)).unique("key", keep="last", maintain_order=True)
        self._merge(entity.name, rows, "key")
        if not entity.parent:
            return
        links, node = _links(rows, entity), quoted(entity.name)
        every = f"MATCH (n:{node})-[l:{cypher.links(entity.name)}]->() WHERE n.key = c0 DELETE l"
        self._load(f"LOAD FROM $incoming {every}", rows.select("key"))
        if links.height:
            self._merge(entity.name, links.select(key="above").unique(), "key")
            ends = f"MATCH (n:{node} {{key: c0}}) MATCH (above:{node} {{key: c1}})"
            self._load(f"LOAD FROM $incoming {ends} CREATE (n)-[:{cypher.links(entity.name)}]->(above)", links)

    def _put_few(self, entity: Entity, frame: pl.DataFrame) -> None:
        """Nodes and links of a few records, without an expression: one takes as long as to write some of them."""
        names = list(entity.schema)
        place = names.index("key")
        rows = {row[place]: (row[place], *row[:place], *row[place + 1 :]) for row in tuples(frame, names)}
        names = ["key", *names[:place], *names[place + 1 :]]
        self._merge_few(entity.name, {name: entity.schema[name] for name in names}, list(rows.values()))
        if entity.parent:
            gone, above = names.index("deleted"), names.index(entity.parent)
            links = {key: None if row[gone] else row[above] for key, row in rows.items()}
            self._link_few(entity, list(rows), links)

    def _link_few(self, entity: Entity, keys: list[Key], links: Mapping[Key, Key | None]) -> None:
        """Set the links of a few records; those that stay what they are aren't touched."""
        node, link = quoted(entity.name), cypher.links(entity.name)
        # Key by key, here too: links of a list of nodes are found by going through all links there are.
        found = f"MATCH (n:{node} {{key: $key}})-[:{link}]->(above:{node}) RETURN above.key"
        for key in keys:
            there = self._rows(found, {"key": key})
            above, former = links.get(key), there[0][0] if there else None
            if former is not None and above != former:
                self._rows(f"MATCH (n:{node} {{key: $key}})-[l:{link}]->() DELETE l", {"key": key})
            if above is not None and above != former:
                # Each key by itself: one out of a list is looked for in the whole table, not by the index.
                ends = f"MATCH (n:{node} {{key: $key}}) MERGE (above:{node} {{key: $above}})"
                self._rows(f"{ends} CREATE (n)-[:{link}]->(above)", {"key": key, "above": above})

    def _copy_links(self, entity: Entity, links: pl.DataFrame, keys: pl.Series) -> None:
        """Copied, into a table that has none: in a third of the time that it takes to create them one by one."""
        stubs = links.filter(~pl.col("above").is_in(keys.implode()))
        if stubs.height:
            with self._transaction():
                node = f"MERGE (n:{quoted(entity.name)} {{key: c0}})"
                self._load(f"LOAD FROM $incoming {node}", stubs.select("above").unique())
        if links.height:
            self._load(f"COPY {cypher.links(entity.name)} FROM $incoming", links.select("key", "above"))

    def _note(self, batch: Batch) -> None:
        """The guard's memory and the checkpoint."""
        if batch.memory is not None and batch.memory.height:
            memory = batch.memory.select(list(self.layout.memory)).cast(self.layout.memory)  # type: ignore[arg-type]
            self._merge(_table("memory", batch.entity), memory.unique("id", keep="last", maintain_order=True), "id")
        if batch.checkpoint is not None:
            self._merge_few(CHECKPOINTS, CHECKPOINT, [(batch.entity, batch.checkpoint)])
        added, removed = changed(self, batch)
        if removed:
            node = f"MATCH (n:{quoted(_table('parked', batch.entity))})"
            self._rows(f"{node} WHERE list_contains($removed, n.position) DELETE n", {"removed": removed})
        if added:
            rows = [(row.position, row.change) for row in added]
            self._merge(
                _table("parked", batch.entity), pl.DataFrame(rows, schema=dict(PARKED), orient="row"), "position"
            )

    def _answering(self, query: Query) -> Answering:
        """One statement in Cypher, which the reading connection keeps compiled."""
        statement = cypher.translate(query)
        if query.kind == "traverse" and query.walk == "path":
            return lambda ends: cypher.path(self._read(statement, cypher.bound(query, ends)), *ends)
        return lambda parameters: self._read(statement, cypher.bound(query, parameters))

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Every node that is not a stub."""
        return self.sliced(self._frame(entity, self.layout.schema(entity), "WHERE n.revision IS NOT NULL"))

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """By the nodes' primary key; a stub has no revision."""
        node = f"UNWIND $wanted AS wanted MATCH (n:{quoted(entity)} {{key: wanted}}) WHERE n.revision IS NOT NULL"
        found = self._rows(f"{node} RETURN n.key, n.revision", {"wanted": list(keys)}) if keys else []
        return {row[0]: row[1] for row in found}

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory."""
        if not self.layout.memory:
            return pl.DataFrame()
        if keys is None:
            return self._frame(_table("memory", entity), self.layout.memory, "")
        wanted = {"wanted": list(dict.fromkeys(keys))}
        return self._frame(_table("memory", entity), self.layout.memory, "WHERE list_contains($wanted, n.id)", wanted)

    def parked(self, entity: str) -> pl.DataFrame:
        """Decoded from their table."""
        return decoded(self._frame(_table("parked", entity), PARKED, "")["change"], self.layout.entities[entity])


def _links(rows: pl.DataFrame, entity: Entity) -> pl.DataFrame:
    """The links of live records to those above them: `key`, `above`."""
    if entity.parent is None:
        return pl.DataFrame()
    live = rows.filter(~pl.col("deleted") & pl.col(entity.parent).is_not_null())
    return live.select("key", above=pl.col(entity.parent))


def _table(kind: str, entity: str) -> str:
    return f"lab_{kind}_{entity}"
