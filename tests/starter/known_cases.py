"""The table of the cases: of each file in `cases/` what must come of it, and how another reader reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"
State = tuple[int, bool, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A file, or an entity of a database, and what must come of it.

    `refused` has words of what is said of a file that can't be read; then nothing else is said of it. Else there are so
    many `records` of so many `changes`, `deletions` among them, and the `key` (several columns: with a comma between).
    `types` are kinds of columns, `last` values of the last state of a record by its key (None: it is deleted), `states`
    the whole last states: revision, whether it is deleted, columns. `gaps` are the seconds between its changes, `lasts`
    those from the first to the last one, `roles` the columns of roles, `said` patterns of the notes and reasons.

    The other reading: `encoding`, `delimiter`, lines `above` the header (-1: there is none), `null` words, what an
    empty field is (`blank`), `names` for columns without a name (None: left out), how numbers are rewritten (`plain`),
    and the `table` of the entity.
    """

    file: str
    records: int = 0
    changes: int = 0
    deletions: int = 0
    key: str = "id"
    refused: str = ""
    form: str = ""
    entity: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    last: Mapping[Any, Mapping[str, Any] | None] = field(default_factory=dict)
    states: Mapping[Any, State] = field(default_factory=dict)
    gaps: tuple[float, ...] = ()
    lasts: float | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    encoding: str = "utf-8-sig"
    delimiter: str = ","
    above: int = 0
    null: tuple[str, ...] = ()
    blank: str | None = None
    names: Mapping[int, str | None] = field(default_factory=dict)
    plain: Callable[[str], str] = str
    table: str = ""

    def __str__(self) -> str:
        return " ".join([self.file, *self.options, self.entity, "is refused" * bool(self.refused)]).strip()


def german(text: str) -> str:
    return text.replace(".", "").replace(",", ".")


def english(text: str) -> str:
    return text.replace(",", "")


DAY = 86_400.0
LONG = "long text long text long text "
FIRST, SECOND = "65f0aa000000000000000001", "65f0aa000000000000000002"
LOGS = (
    Case("a01_truncate.ndjson", 6, 11, 5, form="debezium", lasts=9.0,
         states={n: (2, True, {"id": n, "sku": f"s{n}", "qty": n}) for n in range(1, 6)}
         | {9: (1, False, {"id": 9, "sku": "s9", "qty": 9})},
         said=("Records that a truncation deleted: 5",)),
    Case("a02_message.ndjson", 2, 3, form="debezium", lasts=3.0,
         states={1: (2, False, {"id": 1, "sku": "a", "qty": 2}), 2: (1, False, {"id": 2, "sku": "b", "qty": 2})},
         said=(r"messages of the database \(op m\): 1",)),
    Case("a03_toast.ndjson", 2, 3, form="debezium", lasts=2.0,
         states={1: (2, False, {"id": 1, "name": "Ada L", "bio": LONG}),
                 2: (1, False, {"id": 2, "name": "Bob", "bio": "short"})},
         said=("`bio`: values that the log leaves out as unchanged: the record's last was taken: 1",)),
    Case("a04_mongodb.ndjson", 2, 4, 1, "_id", form="debezium", lasts=3.0,
         states={FIRST: (2, False, {"_id": FIRST, "name": "Ada", "n": 5}),
                 SECOND: (2, True, {"_id": SECOND, "name": "Bob", "n": 2})},
         said=("Deletions that tell their key alone",)),
    Case("a05_sourcets.ndjson", 10, 40, form="debezium", gaps=(60.0,) * 39),
    Case("a07_unwrapped.ndjson", 6, 8, 1, form="flattened", lasts=20.0,
         roles={"time": "__source_ts_ms", "deleted": "__deleted", "revision": "__lsn"},
         states={n: (2 if n in (2, 3) else 1, n == 3, {
             "id": n, "customer": f"c{n}", "amount": 99.0 if n == 2 else 1.5 * n,
             "created_at": f"2024-01-0{n}T09:00:00Z"}) for n in range(1, 7)}),
    Case("a08_decimal.ndjson", 5, 6, form="debezium", lasts=8.0, types={"price": "decimal(2)"},
         states={1: (2, False, {"id": 1, "price": Decimal("99.99"), "born": "2022-01-09",
                                "seen_at": "2023-11-14T22:28:20"}),
                 **{n: (1, False, {"id": n, "price": Decimal("10.25") * n, "born": f"2022-01-{8 + n:02}",
                                   "seen_at": f"2023-11-14T22:13:{20 + n}"}) for n in range(2, 6)}},
         said=("`price` has decimal numbers", "`born` has dates", "`seen_at` has times without a zone")),
    Case("a09_avrojson.ndjson", 2, 3, 1, "f1", form="debezium", lasts=2.0,
         states={1: (2, True, {"f1": 1, "v": "x"}), 2: (1, False, {"f1": 2, "v": "y"})},
         said=("tombstones without a key: 1",)),
    Case("a10_kcatJ.ndjson", 2, 4, 1, form="debezium", lasts=3.0,
         states={1: (3, True, {"id": 1, "q": 2}), 2: (1, False, {"id": 2, "q": 7})},
         said=("Tombstones of records that are gone already, or never were there: 1",)),
    Case("a11_redelivered.ndjson", 2, 4, 1, form="debezium", lasts=3.0,
         states={1: (3, True, {"id": 1, "q": 2}), 2: (1, False, {"id": 2, "q": 1})},
         said=("Changes that were sent again, and left out: 3",)),
    Case("a12_tx.ndjson", 2, 2, form="debezium", lasts=1.0,
         states={1: (1, False, {"id": 1, "q": 1}), 2: (1, False, {"id": 2, "q": 1})},
         said=("lines of BEGIN and END: 2",)),
    Case("a13_maxwell.ndjson", 2, 4, 1, form="maxwell", lasts=33.0,
         states={1: (3, True, {"id": 1, "m": 5.5, "c": "2016-10-21 05:33:54"}),
                 2: (1, False, {"id": 2, "m": 1.0, "c": "2016-10-21 05:34:00"})}),
    Case("a14_canal.ndjson", 1, 3, 1, form="canal", lasts=2.0, states={1: (3, True, {"id": 1, "name": "b"})}),
    Case("a15_wal2json2.ndjson", 1, 3, 1, form="wal2json", lasts=2.0, states={1: (3, True, {"id": 1, "v": "b"})},
         said=("lines of BEGIN and COMMIT: 4",)),
    Case("a16_singer.ndjson", 2, 3, form="singer", lasts=2.0,
         states={1: (2, False, {"id": 1, "name": "c"}), 2: (1, False, {"id": 2, "name": "b"})},
         said=("lines of STATE: 1",)),
    Case("a20_kv_tombstone.ndjson", 2, 4, 1, form="debezium", lasts=0.02,
         states={1: (2, True, {"id": 1, "q": 1}), 2: (2, False, {"id": 2, "q": 3})}),
    Case("a21_compacted.ndjson", 2, 3, 1, form="debezium", lasts=0.001,
         states={2: (1, False, {"id": 2, "q": 1}), 3: (2, True, {"id": 3, "q": 1})},
         said=("Tombstones that deleted a record: 1",)),
    Case("a22_console.ndjson", 2, 2, form="debezium", lasts=0.005,
         states={1: (1, False, {"id": 1, "q": 1}), 2: (1, False, {"id": 2, "q": 1})}),
    Case("a23_defaults.ndjson", 2, 3, 1, form="debezium", lasts=0.02,
         states={1: (2, True, {"id": 1, "name": "Ada", "qty": 7}), 2: (1, False, {"id": 2, "name": "B", "qty": 1})},
         said=("Deletions that tell their key alone: the record's last state was taken: 1",)),
    Case("a24_evolve.ndjson", 2, 3, form="debezium", lasts=0.02,
         states={1: (2, False, {"id": 1, "name": None, "full_name": "Ada L", "age": 36}),
                 2: (1, False, {"id": 2, "name": None, "full_name": "B", "age": None})}),
    Case("a25_cloudevents.ndjson", 1, 2, form="cloudevents", lasts=0.0, states={1: (2, False, {"id": 1, "q": 2})}),
    Case("a26_kafkaui.json", 3, 3, form="debezium", lasts=0.002,
         states={n: (1, False, {"id": n, "q": 1}) for n in range(3)}),
)  # fmt: skip

JSON = (
    Case("a17_gharchive.json", 20, 20, form="ndjson", said=("JSON text",)),
    Case("a18_array.json", 5, 5, form="ndjson"),
    Case("a18_array1.json", 5, 5, form="ndjson"),
)
TEXTS = (
    Case("b02_dms_header.csv", 3, 5, 1, last={2: None, 1: {"balance": 11.5}}, gaps=(1, 1, 1, 1),
         names={0: None, 1: None}, said=("`Op` says", "`dms_timestamp` says")),
    Case("b02_dms_noheader.csv", 3, 5, 1, "column_2", last={2: None, 3: {"column_3": "eve"}},
         options=("--header", "no"), above=-1,
         names={0: None} | {n: f"column_{n + 1}" for n in range(1, 5)}, said=("no header", "`column_1` says")),
    Case("b03_yyyymmdd.csv", 3, 10, key="service_id", types={"date": "int"}, said=("YYYYMMDD",),
         gaps=(DAY, DAY, DAY, DAY, DAY, 26 * DAY, DAY, 305 * DAY, DAY)),
    Case("b04_pandas_index.csv", 2, 3, key="order_id", last={"A1": {"column_1": 2, "amount": 3.5}},
         names={0: "column_1"}, said=("Column 1 has no name",)),
    Case("b05_excel_de.csv", 3, 3, key="Nr", types={"Betrag": "float"}, delimiter=";", plain=german,
         last={1: {"Betrag": 1234.5, "Kunde": "Müller", "Datum": "31.01.2024"}, 3: {"Betrag": 7.25}},
         gaps=(DAY, DAY), said=("like 1.234,50", "day, month, year", "Is it?")),
    Case("b06_latin1.csv", 3, 3, options=("--encoding", "latin-1"), encoding="latin-1",
         last={1: {"city": "Köln"}, 2: {"city": "Málaga"}}),
    Case("b06_latin1_late.csv", 301, 301, options=("--encoding", "latin-1"), encoding="latin-1"),
    Case("b07_utf16.csv", 2, 2, encoding="utf-16", delimiter="\t", last={1: {"amount": 1.5}}),
    Case("b08_mysql_N.csv", 40, 40, types={"qty": "int"}, null=("\\N",), last={3: {"qty": 3, "note": None}},
         said=(r"`note`: 13 words .*\\N",)),
    Case("b08_na.csv", 40, 40, types={"dep_time": "int", "delay": "int"}, null=("NA",),
         last={5: {"dep_time": None, "delay": None}}, said=("`dep_time`: 8 values NA", "`delay`: 8 values NA")),
    Case("b09_newlines.csv", 3, 3, blank="", last={1: {"note": 'first line\nsecond "quoted" line'}}, gaps=(DAY, DAY)),
    Case("b10_header_newline.csv", 2, 2, types={"Amount (EUR)": "float"}, last={2: {"Amount (EUR)": 2.5}},
         names={1: "Amount (EUR)"}),
    Case("b13_us_dates.csv", 2, 3, last={1: {"amount": 3.5}}, said=("month, day, year",)),
    Case("b14_recreate.csv", 2, 5, 1, last={1: {"name": "reborn"}}, gaps=(DAY,) * 4,
         said=("`version` comes twice within a record.*`updated_at` decides",)),
    Case("b15_zones.csv", 3, 6, last={3: {"v": "e"}, 1: {"v": "b"}, 2: {"v": "d"}}),
    Case("b16_javazone.csv", 2, 3, last={1: {"v": "b"}}, gaps=(3600, DAY)),
    Case("b17_phone.csv", 24, 24, types={"phone": "str", "code": "str"},
         last={1: {"phone": "+4915112345001", "code": "1E2"}}),
    Case("b19_zero_date.csv", 3, 3, 1, last={2: None, 1: {"deleted_at": "0000-00-00 00:00:00"}}),
    Case("b20_agency.txt", 2, 2, key="stop_id", types={"stop_lat": "float"}),
    Case("b21_crlf_cr.csv", 2, 2, last={2: {"name": "b"}}),
    Case("b22_excel_serial.csv", 2, 3, types={"date": "float"}, gaps=(0.75 * DAY, 0.75 * DAY), said=("Excel",)),
    Case("b24_sep.csv", 2, 2, delimiter=";", above=1, types={"qty": "int"}),
    Case("b25_blankfirst.csv", 2, 2, above=1),
    Case("b26_trailing.csv", 2, 2, names={2: None}, said=("Column 3 has neither a name nor a value",)),
    Case("b27_case.csv", 2, 2, key="ID"),
    Case("b28_thousands.csv", 2, 2, types={"amount": "float"}, last={1: {"amount": 1234.5}}, plain=english,
         gaps=(DAY,)),
    Case("b29_shortdate.csv", 2, 3, last={1: {"v": "b"}}, gaps=(7 * DAY, 22 * DAY)),
)  # fmt: skip
PARQUET = (
    Case("d01_decimal.parquet", 3, 6, types={"amount": "str"}, last={2: {"amount": "12345678901234567890.13"}}),
    Case("d02_uuid.parquet", 3, 6, said=("hexadecimal",)),
    Case("d03_dict_nested.parquet", 3, 6, said=("JSON text",)),
    Case("d04_int96.parquet", 3, 6),
    Case("d06_rowgroups.parquet", 100, 100, said=("Is it?",)),
    Case("d08_naninf.parquet", 6, 6, said=("NaN 1 times",)),
    Case("d09_dms.parquet", 4, 6, 1, names={0: None, 3: None}, gaps=(1,) * 5),
    Case("d10_types.parquet", 3, 6, types={"big": "str", "n": "str"}),
    Case("d11_zone_mixed.parquet", 3, 6, said=("in UTC",)),
    Case("d07_hive", 4, 4, form="parquet", roles={"time": "day"}),
)  # fmt: skip
DATABASES = (
    Case("c01_broken_view.db", 10, 10, entity="orders", said=("`big` is passed over",)),
    Case("c02_missing_module.db", 10, 10, entity="orders", said=("`vec_items` is passed over",)),
    Case("c03_fts.db", 5, 5, entity="docs", said=("`docs_fts` is passed over",)),
    Case("c03_fts.db", 9, 9, key="body", entity="notes"),
    Case("c04_generated.db", 5, 5, entity="lines"),
    Case("c05_withoutrowid_strict.db", 8, 8, key="region,sku", entity="kv"),
    Case("c06_names.db", 4, 4, key="Order No", entity="order__items___", table='order "items" é'),
    Case("c07_blobkey.db", 5, 5, key="uid", entity="t", said=("hexadecimal",)),
    Case("c08_numbers.db", 3, 3, entity="t", said=("`txt` holds integer and text",)),
)  # fmt: skip
ACCEPTED = (*LOGS, *JSON, *TEXTS, *PARQUET, *DATABASES)
REFUSED = (
    Case("b02_dms_noheader.csv", refused="line 1: it looks like data"),
    Case("b06_latin1.csv", refused="line 2: not text in UTF-8"),
    Case("b06_latin1_late.csv", refused="line 302: not text in UTF-8"),
    Case("b11_dup_header.csv", refused="two columns are called `name`"),
    Case("b12_empty.csv", refused="an empty file"),
    Case("b12_header_only.csv", refused="no rows"),
    Case("b18_exactdup.csv", refused="`order_id` comes nearest"),
    Case("d05_zero.parquet", refused="no rows"),
    Case("d12_dupnames.parquet", refused="more than one"),
)
