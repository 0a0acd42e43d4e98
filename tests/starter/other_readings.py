"""What a case holds by another reading of it: csv, json, sqlite3 and decimal of Python, DuckDB for Parquet.

Each returns rows in exactly the values that must be in the source of truth, given the kinds that were found.
"""

from __future__ import annotations

import base64
import csv
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from known_cases import CASES, Case

Rows = list[tuple[Any, ...]]


def number(text: str, kind: str) -> Any:
    """The number of a text in its kind: exactly that number, or an error."""
    if kind.startswith("decimal"):
        return Decimal(text)
    found = int(text) if kind == "int" else float(text)
    assert Decimal(repr(found)) == Decimal(text)
    return found


# --- text with delimiters --------------------------------------------------------------------------------------------


def header_and_lines(case: Case) -> tuple[list[str], list[list[str]]]:
    """The header and the rows, as Python's reader has them."""
    with (CASES / case.file).open(encoding=case.encoding, newline="") as file:
        for _ in range(case.above):
            file.readline()
        rows = list(csv.reader(file, delimiter=case.delimiter))
    return ([""] * len(rows[0]), rows) if case.above < 0 else (rows[0], rows[1:])


def of_text(case: Case, kinds: Sequence[str]) -> Rows:
    header, lines = header_and_lines(case)
    kept = [place for place in range(len(header)) if case.names.get(place, "") is not None]
    null = {"": case.blank, **dict.fromkeys(case.null)}

    def convert(value: str | None, kind: str) -> Any:
        if value is None or kind == "str":
            return value
        return {"true": True, "false": False}[value.lower()] if kind == "bool" else number(case.plain(value), kind)

    return [
        tuple(convert(null.get(row[place], row[place]), kind) for place, kind in zip(kept, kinds, strict=True))
        for row in lines
    ]


# --- Parquet ---------------------------------------------------------------------------------------------------------


def parquet_schema(case: Case) -> dict[str, pl.DataType]:
    path = CASES / case.file
    return dict(pl.scan_parquet(path, hive_partitioning=path.is_dir(), try_parse_hive_dates=False).collect_schema())


def of_parquet(case: Case, columns: Sequence[str], kinds: Sequence[str]) -> Rows:
    """The rows as DuckDB reads them, with text for what the lab has no type for; times in nanoseconds since 1970."""
    wanted, schema = [], parquet_schema(case)
    for name in columns:
        dtype = schema[name]
        quoted = '"' + name.replace('"', '""') + '"'
        text = f"CAST({quoted} AS VARCHAR)"
        if isinstance(dtype, pl.Datetime):
            wanted.append(f"epoch_ns({quoted} AT TIME ZONE 'UTC')" if dtype.time_zone else f"epoch_ns({quoted})")
        elif isinstance(dtype, pl.Binary):
            wanted.append(f"lower(hex({quoted}))")
        elif dtype.is_nested():
            wanted.append(f"CAST(to_json({quoted}) AS VARCHAR)")
        elif isinstance(dtype, pl.Duration):
            wanted.append(f"{quoted} / 1e6")
        elif dtype.is_float():
            wanted.append(f"CASE WHEN isnan({quoted}) THEN NULL ELSE {quoted} END")
        else:
            wanted.append(quoted if (dtype.is_integer() or dtype == pl.Boolean) and name != "big" else text)
    path = CASES / case.file
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT * FROM read_parquet(?)", [f"{path}/*/*.parquet" if path.is_dir() else str(path)]
        )
        rows = connection.execute(f"SELECT {', '.join(wanted)} FROM t").fetchall()
    exact = [kind.startswith("decimal") for kind in kinds]
    return [
        tuple(Decimal(one) if fixed and one is not None else one for fixed, one in zip(exact, row, strict=True))
        for row in rows
    ]


def nanoseconds(text: str | None) -> int | None:
    """ISO 8601 as nanoseconds since 1970."""
    if text is None:
        return None
    whole, _, part = text.removesuffix("Z").partition(".")
    second = datetime.fromisoformat(whole).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (second.days * 86_400 + second.seconds) * 10**9 + int(part.ljust(9, "0") or 0)


# --- databases and JSON ----------------------------------------------------------------------------------------------


def stored(case: Case) -> tuple[list[str], Rows]:
    """The columns and rows of a table, as SQLite has them."""
    with closing(sqlite3.connect(CASES / case.file)) as connection:
        cursor = connection.execute('SELECT * FROM "' + (case.table or case.entity).replace('"', '""') + '"')
        return [one[0] for one in cursor.description], cursor.fetchall()


def of_database(case: Case, kinds: Sequence[str]) -> Rows:
    return [tuple(map(_as_stored, row, kinds)) for row in stored(case)[1]]


def _as_stored(value: Any, kind: str) -> Any:
    if isinstance(value, bytes):
        return value.hex().upper()
    if value is None or isinstance(value, str):
        return value
    return str(value) if kind == "str" else number(repr(value), kind) if kind.startswith("decimal") else value


def objects(case: Case) -> list[dict[str, Any]]:
    text = (CASES / case.file).read_text()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


def of_json(case: Case, columns: Sequence[str]) -> Rows:
    """The rows as Python reads them; what is nested in a canonical text."""
    return [tuple(canonical(row[name]) for name in columns) for row in objects(case)]


def canonical(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


# --- change logs: every state that a log tells, taken out of its lines by the standard library alone -----------------


def log_states(case: Case, key: str) -> list[dict[str, Any]]:
    """Every state after a change; a large value that didn't change is the record's last."""
    found = [state for one in _messages(CASES / case.file) for state in _states(one)]
    last: dict[Any, dict[str, Any]] = {}
    for state in found:
        for name, value in state.items():
            if value == "__debezium_unavailable_value":
                state[name] = last[state[key]][name]
        last[state[key]] = state
    return found


def _messages(path: Path) -> Iterator[Any]:
    text = path.read_text()
    lines = json.loads(text, parse_float=Decimal) if text.startswith("[") else text.splitlines()
    for line in lines:
        yield _parsed(line.rpartition("\t")[2] if isinstance(line, str) else line)


def _parsed(value: Any) -> Any:
    """JSON inside of text, however deep."""
    if isinstance(value, str) and value[:1] in ("{", "[", "n"):
        try:
            return _parsed(json.loads(value, parse_float=Decimal))
        except ValueError:
            return value
    return {name: _parsed(one) for name, one in value.items()} if isinstance(value, dict) else value


def _states(value: Any) -> Iterator[dict[str, Any]]:
    """The states after a change, whatever the format."""
    if not isinstance(value, dict):
        return
    if "schema" in value and "payload" in value:
        fields = {one["field"]: one for one in value["schema"]["fields"]}
        types = {one["field"]: one for one in fields["after"]["fields"]} if "after" in fields else {}
        for state in _states(value["payload"]):
            yield {name: _typed(one, types.get(name, {})) for name, one in state.items()}
    elif "after" in value:
        if value["after"] is not None:
            yield _unions(value["after"])
    elif "columns" in value:
        yield {one["name"]: one["value"] for one in value["columns"]}
    elif value.get("type") == "RECORD":
        yield value["record"]
    elif "mysqlType" in value:
        for row in value["data"] if value["type"] != "DELETE" else ():
            yield {name: int(one) if value["mysqlType"][name] == "int" else one for name, one in row.items()}
    elif "data" in value and value.get("type") != "delete":
        inner = value["data"]
        yield from _states(inner) if "op" in inner or "after" in inner else iter([inner])
    elif "__op" in value:
        if value["__deleted"] == "false":
            yield {name: one for name, one in value.items() if not name.startswith("__")}
    else:
        for name in ("value", "payload", "content"):
            yield from _states(value.get(name))


def _unions(value: dict[str, Any]) -> dict[str, Any]:
    inner = next(iter(value.values()))
    state = inner if len(value) == 1 and isinstance(inner, dict) else value
    return {name: _identifier(one) for name, one in state.items()}


def _identifier(value: Any) -> Any:
    return next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else value


def _typed(value: Any, schema: Mapping[str, Any]) -> Any:
    name = schema.get("name", "")
    if name.endswith("connect.data.Decimal"):
        scale = int(schema["parameters"]["scale"])
        return Decimal(int.from_bytes(base64.b64decode(value), "big", signed=True)).scaleb(-scale)
    if name.endswith("time.Date"):
        return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
    if name.endswith("MicroTimestamp"):
        return (datetime(1970, 1, 1) + timedelta(microseconds=value)).isoformat()
    return value
