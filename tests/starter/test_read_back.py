"""Read back: what a file holds by another reading of it (sqlite3, json, DuckDB) is what the source of truth holds.

Tables of text and Parquet are read back in `test_table_cases.py`. Here are databases, JSON, folders and change logs.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import test_table_cases as tables
from owndata import new, sound, trace

from lab.domain.trace.frame import entity_names

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick")

CASES = Path(__file__).parent / "cases"
LOGS = Path(__file__).parents[1] / "domain" / "logs"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True)
class Database:
    """A database: its tables by the names of their entities, the key of each, and what must be said."""

    file: str
    tables: dict[str, str]
    keys: dict[str, list[str]]
    said: tuple[str, ...] = ()


DATABASES = (
    Database("c01_broken_view.db", {"orders": "orders"}, {"orders": ["id"]}, ("`big` is passed over",)),
    Database("c02_missing_module.db", {"orders": "orders"}, {"orders": ["id"]}, ("`vec_items` is passed over",)),
    Database(
        "c03_fts.db",
        {"docs": "docs", "notes": "notes"},
        {"docs": ["id"], "notes": ["body"]},
        ("`docs_fts` is passed over",),
    ),
    Database("c04_generated.db", {"lines": "lines"}, {"lines": ["id"]}),
    Database("c05_withoutrowid_strict.db", {"kv": "kv"}, {"kv": ["region", "sku"]}),
    Database("c06_names.db", {"order__items___": 'order "items" é'}, {"order__items___": ["Order No"]}),
    Database("c07_blobkey.db", {"t": "t"}, {"t": ["uid"]}, ("hexadecimal",)),
    Database("c08_numbers.db", {"t": "t"}, {"t": ["id"]}, ("`txt` holds integer and text",)),
)  # fmt: skip
ROWS = ("a17_gharchive.json", "a18_array.json", "a18_array1.json")


def test_every_case_is_read_back_or_refused() -> None:
    here = {one.file for one in (*tables.TABLES, *DATABASES)} | {file for file, _ in tables.REFUSED} | {*ROWS}
    assert {path.name for path in CASES.iterdir()} == here | {"d07_hive"}


def as_stored(value: Any, found: Any) -> Any:
    """A value of SQLite in the type that was found: exact, or as text if the column holds several types."""
    if isinstance(value, bytes):
        return value.hex().upper()
    return str(value) if isinstance(found, str) and value is not None else value


def rows_of(entity: str, columns: list[str]) -> list[tuple[Any, ...]]:
    made, _ = trace()
    sound(made)
    names = entity_names(columns)
    return made.frames[entity].select(names.values()).rows()


def same(found: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> None:
    """Rows are the same whatever their order: values and types."""
    exact = sorted(((tuple((type(one), one) for one in row)) for row in found), key=repr)
    assert exact == sorted(((tuple((type(one), one) for one in row)) for row in other), key=repr)


@pytest.mark.parametrize("case", DATABASES, ids=lambda case: case.file)
def test_tables_of_a_database_hold_what_sqlite_says(case: Database) -> None:
    shutil.copy(CASES / case.file, case.file)
    told = new(case.file)
    assert {one["entity"]: one["guessed"]["key"]["columns"] for one in told["entities"]} == case.keys
    for words in case.said:
        assert words in "\n".join(told["notes"])
    for entity, table in case.tables.items():
        with closing(sqlite3.connect(case.file)) as connection:
            quoted = '"' + table.replace('"', '""') + '"'
            cursor = connection.execute(f"SELECT * FROM {quoted}")
            columns, stored = [one[0] for one in cursor.description], cursor.fetchall()
        found = rows_of(entity, columns)
        by_key = {repr(row[0]): row for row in found}
        texts = [any(isinstance(row[place], str) for row in by_key.values()) for place in range(len(columns))]
        same(
            found,
            [
                tuple(as_stored(one, "" if text else None) for one, text in zip(row, texts, strict=True))
                for row in stored
            ],
        )


@pytest.mark.parametrize("file", ROWS)
def test_rows_of_json_hold_what_json_says(file: str) -> None:
    shutil.copy(CASES / file, file)
    told = new(file)
    text = Path(file).read_text()
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    columns = list(rows[0])
    found = rows_of(told["entities"][0]["entity"], columns)
    nested = [isinstance(value, dict | list) for value in rows[0].values()]
    same(
        [tuple(json.dumps(json.loads(one)) if deep else one for one, deep in zip(row, nested, strict=True)) for row
         in found],
        [tuple(json.dumps(row[name]) if deep else row[name] for name, deep in zip(columns, nested, strict=True)) for row
         in rows],
    )  # fmt: skip


def test_a_folder_of_partitions_holds_what_duckdb_says() -> None:
    shutil.copytree(CASES / "d07_hive", "d07_hive")
    assert new("d07_hive")["guessed"]["time"]["columns"] == ["day"]
    with duckdb.connect() as connection:
        read = connection.execute(
            "SELECT * REPLACE (CAST(day AS VARCHAR) AS day) FROM read_parquet('d07_hive/*/*.parquet')"
        )
        columns, rows = [one[0] for one in read.description], read.fetchall()
    same(rows_of("d07_hive", columns), rows)


# --- change logs: every state that a log tells, taken out of its lines by the standard library alone -----------------


def messages(path: Path) -> Iterator[Any]:
    text = path.read_text()
    lines = json.loads(text, parse_float=Decimal) if text.startswith("[") else text.splitlines()
    for line in lines:
        yield parsed(line.rpartition("\t")[2] if isinstance(line, str) else line)


def parsed(value: Any) -> Any:
    """JSON inside of text, however deep."""
    if isinstance(value, str) and value[:1] in ("{", "[", "n"):
        try:
            return parsed(json.loads(value, parse_float=Decimal))
        except ValueError:
            return value
    return {name: parsed(one) for name, one in value.items()} if isinstance(value, dict) else value


def states(value: Any) -> Iterator[dict[str, Any]]:
    """The states after a change, whatever the format."""
    if not isinstance(value, dict):
        return
    if "schema" in value and "payload" in value:
        fields = {one["field"]: one for one in value["schema"]["fields"]}
        types = {one["field"]: one for one in fields["after"]["fields"]} if "after" in fields else {}
        for state in states(value["payload"]):
            yield {name: typed(one, types.get(name, {})) for name, one in state.items()}
    elif "after" in value:
        if value["after"] is not None:
            yield unions(value["after"])
    elif "columns" in value:
        yield {one["name"]: one["value"] for one in value["columns"]}
    elif value.get("type") == "RECORD":
        yield value["record"]
    elif "mysqlType" in value:
        for row in value["data"] if value["type"] != "DELETE" else ():
            yield {name: int(one) if value["mysqlType"][name] == "int" else one for name, one in row.items()}
    elif "data" in value and value.get("type") != "delete":
        inner = value["data"]
        yield from states(inner) if "op" in inner or "after" in inner else iter([inner])
    elif "__op" in value:
        if value["__deleted"] == "false":
            yield {name: one for name, one in value.items() if not name.startswith("__")}
    else:
        for name in ("value", "payload", "content"):
            yield from states(value.get(name))


def unions(value: dict[str, Any]) -> dict[str, Any]:
    inner = next(iter(value.values()))
    state = inner if len(value) == 1 and isinstance(inner, dict) else value
    return {name: identifier(one) for name, one in state.items()}


def identifier(value: Any) -> Any:
    return next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else value


def typed(value: Any, schema: dict[str, Any]) -> Any:
    name = schema.get("name", "")
    if name.endswith("connect.data.Decimal"):
        scale = int(schema["parameters"]["scale"])
        return Decimal(int.from_bytes(base64.b64decode(value), "big", signed=True)).scaleb(-scale)
    if name.endswith("time.Date"):
        return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
    if name.endswith("MicroTimestamp"):
        return (datetime(1970, 1, 1) + timedelta(microseconds=value)).isoformat()
    return value


@pytest.mark.parametrize("path", sorted(LOGS.glob("a*")), ids=lambda path: path.name)
def test_a_log_holds_every_state_that_its_lines_tell_and_no_other(path: Path) -> None:
    shutil.copy(path, path.name)
    told = new(path.name)
    wanted = [state for one in messages(path) for state in states(one)]
    assert wanted
    made, _ = trace()
    ((_, frame),) = made.frames.items()
    columns = list(dict.fromkeys(name for state in wanted for name in state))
    key = told["guessed"]["key"]["columns"][0]
    last: dict[Any, dict[str, Any]] = {}
    for state in wanted:
        # A large value that didn't change is the record's last.
        for name, value in state.items():
            if value == "__debezium_unavailable_value":
                state[name] = last[state[key]][name]
        last[state[key]] = state
    alive = frame.filter(~frame["deleted"]).select(columns).rows()
    found = {tuple(exact(one) for one in row) for row in alive}
    assert found == {tuple(exact(state.get(name)) for name in columns) for state in wanted}
    # Deletions have the last state of their record.
    gone = frame.filter(frame["deleted"]).select(columns).rows()
    assert {tuple(exact(one) for one in row) for row in gone} <= found


def exact(value: Any) -> Any:
    """Numbers as decimals, which compare exactly; a floating-point number by its shortest text."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
