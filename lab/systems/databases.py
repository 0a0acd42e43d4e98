"""Relational databases, document databases, key/value, columnar and wide-column stores."""

from __future__ import annotations

from lab.systems.system import System

TRUTH, STORE = "source of truth", "store"
_NO_SERVER = "it has neither a server nor an emulator that the tests could run"
_WRITTEN = f"{_NO_SERVER}; `lab statements` prints what it would be sent"
_STATED = f"{_NO_SERVER}; `lab statements` prints what it would be sent, which nothing has parsed"
_TABLES = ("sqlite.table", "duckdb.columnar")

DATABASES = (
    System(
        "PostgreSQL", "relational", (TRUTH, STORE), "real", ("sqlite.table",),
        "transactions; commit order differs from the order of positions, so a feed needs a strategy for gaps",
        "by position, or from its log (logical decoding)",
        "a text has no NUL; a name has at most 63 bytes",
        used_as=(
            'store = "postgres.table"', 'store = "postgres.document"', 'store = "postgres.search"',
            'truth.engine = "postgres"',
        ),
        runs="postgres",
        proof=(
            "tests/stores/test_postgres.py::test_every_store_on_a_server_keeps_the_contract",
        ),
    ),
    System(
        "MySQL", "relational", (TRUTH, STORE), "dialect", ("sqlite.table",),
        "transactions; positions are given before commits, so a feed needs a strategy for gaps",
        "by position, or from its binary log",
        "a name has at most 64 characters; -0.0 loses its sign",
        used_as=('store = "mariadb.table"', 'truth.engine = "mariadb"'),
        runs="mariadb", on="MariaDB",
        proof=("tests/stores/test_mariadb.py::test_every_store_on_mariadb_keeps_the_contract",),
        why="the tests run on MariaDB, which MySQL's clients and statements reach",
    ),
    System(
        "SQL Server", "relational", (TRUTH, STORE), "written", ("sqlite.table",),
        "transactions; readers wait for writers unless snapshots are switched on",
        "by position, or change tracking",
        "a key of an index has at most 1,700 bytes",
        why=_WRITTEN,
    ),
    System(
        "Oracle", "relational", (TRUTH, STORE), "written", ("sqlite.table",),
        "transactions; an empty text is null",
        "by position, or from its redo log",
        "a text has at most 4,000 bytes, unless it is set to more",
        why=_WRITTEN,
    ),
    System(
        "MongoDB", "document", (TRUTH, STORE), "emulated", ("sqlite.document",),
        "a document at a time; transactions over several on replica sets; secondaries can be read, and lag",
        "by a position of one's own, or change streams that can be resumed",
        "a document has at most 16 MB",
        used_as=('store = "mongodb.document"',),
        runs="mongodb", on="SecantusDB",
        proof=("tests/stores/test_mongodb.py::test_documents_in_mongodb_keep_the_contract",),
        why="the emulator has one member, no search, and nothing that lags; the lab has no source of truth in it",
    ),
    System(
        "CouchDB", "document", (TRUTH, STORE), "family", ("sqlite.document",),
        "a document at a time, by its revision; replicas conflict, and both revisions stay",
        "the feed of changes, which shows the last revision of each document alone",
        "a whole number of more than 53 bits is rounded",
        why="no store is made for it; its emulators run on Node, and round whole numbers of more than 53 bits",
    ),
    System(
        "RavenDB", "document", (TRUTH, STORE), "family", ("sqlite.document",),
        "transactions over documents; queries ask indexes that lag behind (stale until they are waited for)",
        "subscriptions, or by the change vector",
        "an index that lags answers with what was",
        why=_NO_SERVER,
    ),
    System(
        "DynamoDB", "key/value", (TRUTH, STORE), "emulated", ("lmdb.keyvalue",),
        "an item at a time, by conditions; transactions of at most 100 items; reads are eventual unless they are asked "
        "to be consistent",
        "a partition by its sort key; the whole table by scan; streams keep a day",
        "an item has at most 400 KB; a partition takes 1,000 writes a second, and throttles",
        used_as=('store = "dynamodb.keyvalue"',),
        runs="ministack", on="ministack",
        proof=("tests/stores/test_dynamodb.py::test_the_store_in_dynamodb_keeps_the_contract",),
        why="the emulator has neither eventual reads nor throttling, and the lab has no source of truth in it",
    ),
    System(
        "Redis", "key/value", (STORE, "channel"), "real", ("lmdb.keyvalue",),
        "a batch in one MULTI; a restart takes what its append-only file hadn't",
        "keys by scan, in no order",
        "all of it in memory; a server that evicts is refused",
        used_as=('store = "redis.keyvalue"', 'store = "redis.document"', 'channel.broker = "redis"'),
        runs="redis",
        proof=(
            "tests/stores/test_redis.py::test_every_store_in_redis_keeps_the_contract",
            "tests/stores/test_redis_document.py::test_documents_keep_the_contract",
            "tests/channel/test_brokers.py::test_redis",
        ),
    ),
    System(
        "Memcached", "key/value", (STORE,), "real", ("lmdb.keyvalue",),
        "an entry at a time, by compare-and-swap: data first, checkpoint after",
        "none: rows are looked up by keys that are known from elsewhere",
        "an entry has at most 1 MB; any entry can be evicted, and nobody is told",
        used_as=('store = "memcached.keyvalue"',),
        runs="memcached",
        proof=("tests/stores/test_memcached.py::test_the_store_in_memcached_keeps_the_contract",),
    ),
    System(
        "Cassandra", "wide column", (STORE,), "family", ("lmdb.widecolumn",),
        "a row of one partition at a time; replicas agree in time, and the last clock wins",
        "a partition in its clustering order; the table by ranges of tokens",
        "what is deleted leaves a tombstone that expires, and a replica that missed it brings the row back",
        why=_STATED,
    ),
    System(
        "HBase", "wide column", (STORE,), "family", ("lmdb.widecolumn",),
        "a row at a time; a row is served by one region at a time",
        "by ranges of row keys, in order",
        "while a region moves, it can't be reached",
        why=_STATED,
    ),
    System(
        "Vertica", "columnar", (STORE,), "written", _TABLES[1:],
        "transactions; small writes are costly",
        "by position",
        "a statement at a time loads badly: batches only",
        why=_WRITTEN,
    ),
    System(
        "Redshift", "columnar", (STORE,), "dialect", _TABLES[1:],
        "transactions, serialised by table; a key is declared, and not enforced",
        "by position",
        "no upsert: a staging table, delete and insert",
        runs="postgres", on="PostgreSQL",
        proof=(
            "tests/systems/test_statements.py::test_what_redshift_is_sent_lands_and_answers_right_on_postgresql",
        ),
        why="its statements run on PostgreSQL, which it comes from; `lab statements` prints them",
    ),
    System(
        "ClickHouse", "columnar", (STORE,), "family", _TABLES[1:],
        "a block at a time; replaced rows are there until they are merged, so queries ask for the last revision",
        "by position",
        "no transaction over tables; small inserts make many parts",
        why="its embedded engine takes half a gigabyte and has one place open in a process; no store is made for it",
    ),
)  # fmt: skip
