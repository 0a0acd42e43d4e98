"""The stores: one file and one `StoreSpec` each.

A spec names its class in a lazy string: a driver that is not installed breaks nothing, and `lab stores` says how to get
it. Other packages add stores of their own through the entry point group `lab.stores`.
"""

from __future__ import annotations

from lab.base import BadInput
from lab.registry import Registry
from lab.stores.layout import Layout
from lab.stores.port import Store
from lab.stores.spec import StoreSpec, problem
from lab.stores.whole import dump

_SHIPPED = (
    StoreSpec("memory", "lab.stores.memory:Memory", "reference", "dictionary", "#948665", compared=False),
    StoreSpec("null", "lab.stores.null:Null", "harness", "nothing", "#B5B5B5", compared=False),
    StoreSpec("sqlite.table", "lab.stores.sqlite_table:SqliteTable", "relational", "relational table", "#0072B2"),
    StoreSpec(
        "duckdb.columnar", "lab.stores.duckdb_columnar:DuckdbColumnar", "columnar", "columnar table", "#E69F00",
        packages=("duckdb",),
    ),
    StoreSpec("sqlite.document", "lab.stores.sqlite_document:SqliteDocument", "document", "JSON documents", "#5BB7F7"),
    StoreSpec(
        "duckdb.document", "lab.stores.duckdb_document:DuckdbDocument", "document", "JSON documents", "#C06200",
        packages=("duckdb",),
    ),
    StoreSpec(
        "lmdb.keyvalue", "lab.stores.lmdb_keyvalue:LmdbKeyvalue", "key/value", "sorted key/value map", "#00602F",
        extra="keyvalue", packages=("lmdb",),
    ),
    StoreSpec(
        "lmdb.widecolumn", "lab.stores.lmdb_widecolumn:LmdbWidecolumn", "wide column", "partitions in clustering order",
        "#B4E454", extra="keyvalue", packages=("lmdb",),
    ),
    StoreSpec(
        "parquet.files", "lab.stores.parquet_files:ParquetFiles", "flat files", "Parquet files, by ranges of keys",
        "#781FBF", packages=("polars",),
    ),
    StoreSpec(
        "duckdb.files", "lab.stores.duckdb_files:DuckdbFiles", "flat files", "Parquet files, asked in SQL", "#E4C87A",
        packages=("duckdb", "polars"),
    ),
    StoreSpec(
        "parquet.log", "lab.stores.parquet_log:ParquetLog", "event log", "append-only segments of revisions", "#9172EE",
        packages=("polars",),
    ),
    StoreSpec("sqlite.search", "lab.stores.sqlite_search:SqliteSearch", "search index", "inverted index", "#092C73"),
    StoreSpec(
        "ladybug.graph", "lab.stores.ladybug_graph:LadybugGraph", "graph", "property graph", "#7E0009",
        extra="graph", packages=("ladybug",),
    ),
    StoreSpec("sqlite.graph", "lab.stores.sqlite_graph:SqliteGraph", "graph", "nodes and adjacency list", "#82A0C1"),
    StoreSpec("sqlite.log", "lab.stores.sqlite_log:SqliteLog", "event log", "append-only log of revisions", "#A7D8F2"),
    StoreSpec(
        "tantivy.search", "lab.stores.tantivy_search:TantivySearch", "search index", "inverted index", "#A46884",
        extra="search", packages=("tantivy",),
    ),
    StoreSpec(
        "postgres.table", "lab.stores.postgres_table:PostgresTable", "relational", "relational table", "#5D0DF6",
        extra="postgresql", packages=("psycopg",), server="postgres",
    ),
    StoreSpec(
        "mariadb.table", "lab.stores.mariadb_table:MariadbTable", "relational", "relational table", "#774477",
        extra="mysql", packages=("PyMySQL",), server="mariadb",
    ),
    StoreSpec(
        "postgres.search", "lab.stores.postgres_search:PostgresSearch", "search index", "inverted index", "#35020E",
        extra="postgresql", packages=("psycopg",), server="postgres",
    ),
    StoreSpec(
        "postgres.document", "lab.stores.postgres_document:PostgresDocument", "document", "JSON documents", "#442244",
        extra="postgresql", packages=("psycopg",), server="postgres",
    ),
    StoreSpec(
        "redis.keyvalue", "lab.stores.redis_keyvalue:RedisKeyvalue", "key/value", "map of keys in memory", "#44AA44",
        extra="redis", packages=("redis",), server="redis",
    ),
    StoreSpec(
        "redis.document", "lab.stores.redis_document:RedisDocument", "document", "JSON documents", "#000036",
        extra="redis", packages=("redis",), server="redis",
    ),
    StoreSpec(
        "memcached.keyvalue", "lab.stores.memcached_keyvalue:MemcachedKeyvalue", "key/value", "cache of entries",
        "#AA33FF", extra="memcached", packages=("pymemcache",), server="memcached",
    ),
    StoreSpec(
        "dynamodb.keyvalue", "lab.stores.dynamodb_keyvalue:DynamodbKeyvalue", "key/value", "items of a table",
        "#C00CA8", extra="aws", packages=("boto3", "ministack"), server="aws",
    ),
    StoreSpec(
        "elasticsearch.search", "lab.stores.elasticsearch_search:ElasticsearchSearch", "search index", "inverted index",
        "#3F008D", extra="elasticsearch", packages=("elasticsearch", "noida-db"), server="elasticsearch",
    ),
    StoreSpec(
        "opensearch.search", "lab.stores.opensearch_search:OpensearchSearch", "search index", "inverted index",
        "#FF6F48", extra="opensearch", packages=("opensearch-py", "osmem-server"), server="opensearch",
    ),
    StoreSpec(
        "s3.files", "lab.stores.s3_files:S3Files", "flat files", "Parquet objects, by ranges of keys", "#54E4A8",
        extra="aws", packages=("boto3", "ministack"), server="aws",
    ),
    StoreSpec(
        "mongodb.document", "lab.stores.mongodb_document:MongodbDocument", "document", "BSON documents", "#904800",
        extra="mongodb", packages=("pymongo",), server="mongodb",
    ),
)  # fmt: skip

STORES: Registry[StoreSpec] = Registry("lab.stores", {spec.name: spec for spec in _SHIPPED}, problem)


def embedded() -> list[str]:
    """The names of the stores that need no server."""
    return [name for name, spec in STORES.items() if not spec.server]


def store_class(name: str) -> type[Store]:
    """The store's class. Raises BadInput for an unknown name, MissingDriver where its library is missing."""
    if name not in STORES:
        raise BadInput([STORES.unknown(name, "store")])
    return STORES[name].load()


__all__ = ["STORES", "Layout", "Store", "StoreSpec", "dump", "embedded", "store_class"]
