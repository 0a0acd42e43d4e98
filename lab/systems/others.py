"""Graphs, search, flat files, and logs of events."""

from __future__ import annotations

from lab.systems.databases import STORE, TRUTH
from lab.systems.system import System

CHANNEL = "channel"
_NO_SERVER = "it has neither a server nor an emulator that the tests could run"

OTHERS = (
    System(
        "Neo4j", "graph", (STORE,), "family", ("ladybug.graph", "sqlite.graph"),
        "transactions",
        "all nodes of a label, by an index in order",
        "a query that passes a node with many edges visits them all",
        why="no store is made for it; the emulator of its protocol is a package of 70 MB with a Java machine",
    ),
    System(
        "HyperGraphDB", "graph", (STORE,), "family", ("ladybug.graph",),
        "transactions, in the process that embeds it",
        "all atoms of a type",
        "for Java; an edge joins any number of nodes, which no other graph here does",
        why="it is a library for Java",
    ),
    System(
        "InfiniteGraph", "graph", (STORE,), "family", ("ladybug.graph",),
        "transactions, or eventual",
        "all objects of a type",
        "edges cross partitions, at the cost of a look-up each",
        why=_NO_SERVER,
    ),
    System(
        "Lucene", "search index", (STORE,), "family", ("tantivy.search",),
        "one writer; a commit is a whole, and a reader sees it once it is opened anew",
        "all documents of a segment, in no order",
        "a term has at most 32,766 bytes",
        why="it is a library for Java; tantivy is made after it",
    ),
    System(
        "Elasticsearch", "search index", (STORE,), "emulated", ("tantivy.search",),
        "a document at a time, by an external version; what is written is seen after a refresh (1 s)",
        "by a point in time and search_after",
        "no transaction; a page of a search ends at 10,000; a deleted document's version is forgotten after a minute",
        used_as=('store = "elasticsearch.search"',),
        runs="noida-db", on="noida-db",
        proof=("tests/stores/test_elasticsearch.py::test_the_store_in_elasticsearch_keeps_the_contract",),
        why="the emulator has one node and no replicas, and forgets the version of a deleted document at once",
    ),
    System(
        "OpenSearch", "search index", (STORE,), "emulated", ("tantivy.search",),
        "as Elasticsearch, which it comes from",
        "as Elasticsearch",
        "as Elasticsearch",
        used_as=('store = "opensearch.search"',),
        runs="osmem-server", on="osmem-server",
        proof=("tests/stores/test_opensearch.py::test_the_store_in_opensearch_keeps_the_contract",),
        why="the emulator shows at once what is written, so no refresh could be tried; it has one node",
    ),
    System(
        "S3", "flat files", (TRUTH, STORE), "emulated", ("parquet.files", "duckdb.files"),
        "an object at a time, by If-Match; what was written is read at once",
        "objects by name, 1,000 to a page",
        "an object is written whole; each request takes tens of milliseconds and is paid for",
        used_as=('store = "s3.files"',),
        runs="ministack", on="ministack",
        proof=("tests/stores/test_s3.py::test_the_store_in_s3_keeps_the_contract",),
        why="the emulator's latency is not that of S3, and the lab has no source of truth in it",
    ),
    System(
        "Kafka", "log", (CHANNEL,), "emulated", (),
        "in order within a partition; at least once",
        "from an offset, as far back as it keeps",
        "what is older than its retention is gone; a message has at most 1 MB",
        used_as=('channel.broker = "kafka"',),
        runs="confluent-kafka", on="the mock broker of its client",
        proof=("tests/channel/test_brokers.py::test_kafka",),
        why="the mock makes no topics, and its groups have been tried, no broker's storage",
    ),
    System(
        "Kinesis", "log", (CHANNEL,), "emulated", (),
        "in order within a shard; at least once",
        "from a sequence number, a day back unless it is set to more",
        "a shard takes 1,000 records or 1 MB a second, and throttles; five reads a second",
        used_as=('channel.broker = "kinesis"',),
        runs="ministack", on="ministack",
        proof=("tests/channel/test_kinesis.py::test_kinesis",),
        why="the emulator throttles nobody, and forgets a shard that is split: tests replace its answers",
    ),
)  # fmt: skip
