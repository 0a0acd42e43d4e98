"""The stores: one file each, and one line each here.

The registry holds lazy strings: a driver that is not installed breaks nothing, and `lab stores` says how to get it.
"""

from __future__ import annotations

from importlib import import_module

from lab.base import BadInput, MissingDriver, Problem, nearest
from lab.stores.port import Layout, Store, dump

STORES: dict[str, str] = {
    "memory": "lab.stores.memory:Memory",
    "null": "lab.stores.null:Null",
    "sqlite.table": "lab.stores.sqlite_table:SqliteTable",
    "duckdb.columnar": "lab.stores.duckdb_columnar:DuckdbColumnar",
    "sqlite.document": "lab.stores.sqlite_document:SqliteDocument",
    "duckdb.document": "lab.stores.duckdb_document:DuckdbDocument",
    "lmdb.keyvalue": "lab.stores.lmdb_keyvalue:LmdbKeyvalue",
    "parquet.files": "lab.stores.parquet_files:ParquetFiles",
    "duckdb.files": "lab.stores.duckdb_files:DuckdbFiles",
    "parquet.log": "lab.stores.parquet_log:ParquetLog",
    "sqlite.search": "lab.stores.sqlite_search:SqliteSearch",
    "ladybug.graph": "lab.stores.ladybug_graph:LadybugGraph",
    "sqlite.graph": "lab.stores.sqlite_graph:SqliteGraph",
    "sqlite.log": "lab.stores.sqlite_log:SqliteLog",
    "tantivy.search": "lab.stores.tantivy_search:TantivySearch",
}

# How to get the driver of a store that is not part of the core.
EXTRAS: dict[str, str] = {"ladybug.graph": "graph", "lmdb.keyvalue": "keyvalue", "tantivy.search": "search"}


def store_class(name: str) -> type[Store]:
    """The store's class. Raises BadInput for an unknown name, MissingDriver where its library is missing."""
    if name not in STORES:
        raise BadInput([Problem("store", f"no store is called `{name}`", nearest(name, STORES))])
    module, _, attribute = STORES[name].partition(":")
    try:
        found: type[Store] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(name, "")
        raise MissingDriver(f"{name}: {error}; get it with: pip install 'polyglot-lab[{extra}]'") from None
    return found


__all__ = ["EXTRAS", "STORES", "Layout", "Store", "dump", "store_class"]
