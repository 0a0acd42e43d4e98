"""Rebuilds from the source of truth in SQLite; each limit writes the same rows by the engine's own bulk path."""

from __future__ import annotations

import marshal
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import ladybug
import lmdb
import polars as pl
import tantivy

from benchmarks.bench.apply import EQUAL, against_peer, dumped, empty_store
from benchmarks.bench.data import EMPLOYEE, ENTITY, LAYOUT, LISTED, Bench, everything, stream
from benchmarks.bench.harness import Attempt, Contestant, Row, Targets, differs
from lab.engines import duckdb as duckdb_engine
from lab.engines import sqlite
from lab.feed.reader import ChangeReader
from lab.place import FolderPlace
from lab.projection.rebuild import rebuild
from lab.queries.sql import quoted
from lab.stores import Store, store_class

Limit = Callable[[Bench, Path, int], Attempt]


def rows(bench: Bench) -> Iterator[Row]:
    """A row for each store that has a bulk path of its own."""
    changes = bench.size.changes
    for name, (store, limit, targets) in REBUILDS.items():
        contestants = contest(bench, store, limit, changes)
        note = ""
        if "vs_peer" in targets:
            contestants += against_peer(bench, store)
            note = (
                f"The peer is its ProjectionRunner into SQLite, given {bench.size.peer:,} events; {EQUAL} The lab "
                "applies there, since a rebuild is one transaction."
            )
        yield Row(name, "", "changes/s", changes, contestants, targets, note)


def contest(bench: Bench, store: str, limit: Limit, changes: int) -> list[Contestant]:
    """The lab and the limit."""
    return [
        Contestant("lab", changes, lambda folder: rebuilt(bench, folder, store, changes)),
        Contestant("limit", changes, lambda folder: limit(bench, folder, changes)),
    ]


def rebuilt(bench: Bench, folder: Path, name: str, changes: int, model: str = "history") -> Attempt:
    """The lab's own rebuild, opening and closing included."""
    truth = bench.truth(model, changes)
    store = store_class(name)(FolderPlace(folder / "lab"), LAYOUT)

    def run() -> None:
        store.open()
        rebuild(store, ChangeReader(truth), "revision")
        store.close()

    return Attempt(run, partial(_check, store, bench, changes), truth.close)


def _check(store: Store, bench: Bench, changes: int) -> str | None:
    return differs(dumped(store), bench.of(changes).last)


def _read(bench: Bench, changes: int) -> pl.DataFrame:
    """One ADBC stream, reduced to the last revision of each record, by key."""
    found = everything(bench.database(changes))
    return found.unique("key", keep="last", maintain_order=True).sort("key")


def duckdb_limit(bench: Bench, folder: Path, changes: int) -> Attempt:
    """One ADBC stream into the engine, and there the last revision of each record."""
    store = empty_store("duckdb.columnar", folder)
    database = bench.database(changes)

    def run() -> None:
        connection = duckdb_engine.connect(folder / "limit" / "projection.duckdb")
        source, cursor, reader = stream(database)
        connection.register("feed", reader)
        connection.execute("CREATE TEMP TABLE staged AS SELECT * FROM feed")
        connection.execute(
            f"INSERT INTO {ENTITY} SELECT s.* FROM staged AS s SEMI JOIN "
            "(SELECT MAX(position) AS position FROM staged GROUP BY key) AS l ON s.position = l.position"
        )
        connection.execute("INSERT INTO lab_checkpoint VALUES (?, ?)", (ENTITY, changes))
        cursor.close()
        source.close()
        connection.close()

    return Attempt(run, partial(_check, store, bench, changes))


def sqlite_limit(bench: Bench, folder: Path, changes: int) -> Attempt:
    """Inside the engine: the file attached, the last revisions grouped and inserted, indexes last."""
    store = empty_store("sqlite.table", folder)
    database = bench.database(changes)

    def run() -> None:
        connection = sqlite.connect(folder / "limit" / "projection.sqlite", "normal")
        connection.execute("ATTACH ? AS source", (str(database),))
        made = "SELECT name, sql FROM main.sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        indexes = connection.execute(made).fetchall()
        connection.execute("BEGIN IMMEDIATE")
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {quoted(name)}")
        last = LISTED.replace('"revision"', 'MAX("revision")')
        # The other columns of a group with one MAX are those of the row that has it: SQLite says so.
        connection.execute(
            f"INSERT INTO main.{ENTITY} ({LISTED}) SELECT {last} FROM source.{ENTITY} GROUP BY key ORDER BY key"
        )
        for _, statement in indexes:
            connection.execute(statement)
        connection.execute("INSERT INTO main.lab_checkpoint VALUES (?, ?)", (ENTITY, changes))
        connection.execute("COMMIT")
        connection.close()

    return Attempt(run, partial(_check, store, bench, changes))


def parquet_limit(bench: Bench, folder: Path, changes: int) -> Attempt:
    """One ADBC stream into Polars, one sorted file."""
    file = folder / "employees.parquet"

    def run() -> None:
        _read(bench, changes).write_parquet(file)

    return Attempt(run, lambda: differs(pl.read_parquet(file), bench.of(changes).last))


def lmdb_limit(bench: Bench, folder: Path, changes: int) -> Attempt:
    """One ADBC stream into Polars; then what LMDB is quickest at: pairs in the order of keys, appended."""
    path = str(folder / "map")

    def run() -> None:
        environment = lmdb.open(path, map_size=2**30, sync=False, metasync=False)
        pairs = [(struct.pack(">q", row[1]), marshal.dumps(row)) for row in _read(bench, changes).iter_rows()]
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(pairs, append=True)
        environment.sync(True)
        environment.close()

    def check() -> str | None:
        environment = lmdb.open(path, readonly=True)
        with environment.begin() as transaction, transaction.cursor() as cursor:
            found = [marshal.loads(value) for value in cursor.iternext(keys=False)]
        environment.close()
        return differs(pl.DataFrame(found, schema=EMPLOYEE.schema, orient="row"), bench.of(changes).last)

    return Attempt(run, check)


def search_limit(bench: Bench, folder: Path, changes: int) -> Attempt:
    """One ADBC stream into Polars; a document for each record: its key, its words and its row; one commit."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("words", stored=False, tokenizer_name="whitespace", index_option="freq")
    builder.add_bytes_field("row", stored=True)
    schema = builder.build()
    path = folder / "index"
    path.mkdir()

    def run() -> None:
        index = tantivy.Index(schema, path=str(path))
        writer = index.writer(heap_size=50_000_000, num_threads=1)
        words = pl.concat_str("name", "department", separator=" ").str.to_lowercase()
        live = pl.when("deleted").then(pl.lit("")).otherwise(words)
        rows = _read(bench, changes).select(
            pl.col("key").cast(pl.String), pl.struct(pl.all()).struct.json_encode().alias("row"), live.alias("words")
        )
        for key, row, text in rows.iter_rows():
            document = tantivy.Document()
            document.add_text("id", key)
            document.add_bytes("row", row.encode())
            document.add_text("words", text)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()

    def check() -> str | None:
        searcher = tantivy.Index.open(str(path)).searcher()
        found = searcher.search(tantivy.Query.all_query(), max(1, searcher.num_docs), count=False).hits
        lines = b"\n".join(searcher.doc(address)["row"][0] for _, address in found)
        return differs(pl.read_ndjson(lines, schema=EMPLOYEE.schema), bench.of(changes).last)

    return Attempt(run, check)


GRAPH_TYPES = {"int": "INT64", "float": "DOUBLE", "str": "STRING", "bool": "BOOL"}


def graph_limit(bench: Bench, folder: Path, changes: int) -> Attempt:
    """One ADBC stream into Polars; nodes and links copied from Arrow."""
    file = folder / "graph.lbug"
    columns = ", ".join(f"{name} {GRAPH_TYPES[EMPLOYEE.kind(name)]}" for name in EMPLOYEE.schema)

    def opened() -> tuple[ladybug.Database, ladybug.Connection]:
        # The same bounds as the lab's own: the engine would take most of the machine by itself.
        database = ladybug.Database(file, buffer_pool_size=2**30, max_db_size=2**36, max_num_threads=2)
        return database, ladybug.Connection(database)

    def run() -> None:
        database, connection = opened()
        connection.execute(f"CREATE NODE TABLE {ENTITY} ({columns}, PRIMARY KEY (key))")
        connection.execute(f"CREATE REL TABLE below (FROM {ENTITY} TO {ENTITY})")
        rows = _read(bench, changes)
        connection.execute(f"COPY {ENTITY} FROM $rows", {"rows": rows.to_arrow()})
        live = rows.filter(~pl.col("deleted") & pl.col("manager").is_not_null())
        links = live.select(pl.col("key").alias("from"), pl.col("manager").alias("to"))
        connection.execute("COPY below FROM $links", {"links": links.to_arrow()})
        connection.execute("CHECKPOINT")
        connection.close()
        database.close()

    def check() -> str | None:
        database, connection = opened()
        names = ", ".join(f"n.{name} AS {name}" for name in EMPLOYEE.schema)
        answer = connection.execute(f"MATCH (n:{ENTITY}) RETURN {names}")
        assert not isinstance(answer, list)
        found = pl.from_arrow(answer.get_as_arrow())
        answer.close()
        counted = connection.execute("MATCH ()-[l:below]->() RETURN COUNT(*)")
        assert not isinstance(counted, list)
        count = counted.get_as_arrow().column(0)[0].as_py()
        counted.close()
        connection.close()
        database.close()
        last = bench.of(changes).last
        must = last.filter(~pl.col("deleted") & pl.col("manager").is_not_null()).height
        assert isinstance(found, pl.DataFrame)
        return f"{count} links, must be {must}" if count != must else differs(found, last)

    return Attempt(run, check)


BULK: Targets = {"vs_limit": ("least", 0.8)}
REBUILDS: dict[str, tuple[str, Limit, Targets]] = {
    "rebuild_duckdb": ("duckdb.columnar", duckdb_limit, {"vs_peer": ("least", 400.0), "vs_limit": ("least", 0.8)}),
    "rebuild_sqlite": ("sqlite.table", sqlite_limit, {"vs_peer": ("least", 150.0), "vs_limit": ("least", 0.5)}),
    "rebuild_parquet": ("parquet.files", parquet_limit, BULK),
    "rebuild_lmdb": ("lmdb.keyvalue", lmdb_limit, BULK),
    "rebuild_search": ("tantivy.search", search_limit, BULK),
    "rebuild_graph": ("ladybug.graph", graph_limit, BULK),
}
